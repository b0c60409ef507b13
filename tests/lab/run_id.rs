use std::{fmt, path::PathBuf, str::FromStr};

/// Names one lab on the machine: the process that answers for it, and a number that this process gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    owner: u32,
    number: u32,
}

impl RunId {
    #[must_use]
    pub fn new(owner: u32, number: u32) -> Self {
        Self { owner, number }
    }

    /// The process that removes this lab; when it is gone, anybody may.
    #[must_use]
    pub fn owner(self) -> u32 {
        self.owner
    }

    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Name of this lab's namespace `part` (`lan`, `n1`, `p1`, `c1`).
    #[must_use]
    pub fn namespace(self, part: &str) -> String {
        format!("an{self}-{part}")
    }

    /// Where the lab's processes keep their files. On a tmpfs, so that etcd waits for no disk.
    #[must_use]
    pub fn directory(self) -> PathBuf {
        PathBuf::from(format!("{}/{self}", super::reaper::STATE))
    }

    /// The lab's part of the BPF file system; each node has a directory in it.
    #[must_use]
    pub fn bpffs(self) -> PathBuf {
        PathBuf::from(format!("{}{self}", super::reaper::PINS))
    }

    /// The id in a namespace's name; None: not a lab's namespace.
    #[must_use]
    pub fn of_namespace(name: &str) -> Option<Self> {
        name.strip_prefix("an")?.split_once('-')?.0.parse().ok()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.owner, self.number)
    }
}

/// A text that is no run id.
#[derive(Debug)]
pub struct NoRunId(String);

impl fmt::Display for NoRunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a run id (like 4711x1)", self.0)
    }
}

impl std::error::Error for NoRunId {}

impl FromStr for RunId {
    type Err = NoRunId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('x')
            .and_then(|(owner, number)| Some(Self::new(owner.parse().ok()?, number.parse().ok()?)))
            .ok_or_else(|| NoRunId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_name_leads_back_to_its_run() {
        let run = RunId::new(4711, 3);
        assert_eq!(RunId::of_namespace(&run.namespace("n1")), Some(run));
        for foreign in ["an-n1", "announcer", "an12-n1", "cni-1", "an1x2"] {
            assert_eq!(RunId::of_namespace(foreign), None, "{foreign}");
        }
    }
}
