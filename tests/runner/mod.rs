//! Runs the cases: each in a child process with a time limit, what it leaves behind is removed.
//!
//! A case that panics, hangs or is killed costs only itself. Cases of one group share a process (and with it a lab)
//! until one of them fails: a failed case hands its lab to nobody, the rest of the group starts afresh.

mod child;
mod parent;

use std::{any::Any, fmt, path::PathBuf, time::Duration};

pub use child::run_child;
pub use parent::{Options, run};

use crate::lab::RunId;

/// Which part of the tests a case belongs to: the first argument of `announcer-tests run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Suite {
    /// Network namespaces, a real API server, real agents.
    Lab,
    /// Single packets through the programs by `BPF_PROG_TEST_RUN`.
    Packets,
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lab => "lab",
            Self::Packets => "packets",
        })
    }
}

type Body = Box<dyn Fn(&mut Scope) -> anyhow::Result<()>>;

/// A case: a name that is a sentence about behaviour, and what shows it.
pub struct Case {
    pub suite: Suite,
    pub name: String,
    /// The child is killed after this time (the set-up of a shared lab counts for the first case of its group).
    pub limit: Duration,
    /// Cases of one group run one after another in one process.
    pub group: Option<&'static str>,
    /// Runs while no other case does: it measures time or load.
    pub alone: bool,
    body: Body,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.suite, self.name)
    }
}

impl Case {
    /// A case with a limit of a minute; `body` fails by an error or a panic and skips by [`skip`].
    pub fn new(
        suite: Suite,
        name: impl Into<String>,
        body: impl Fn(&mut Scope) -> anyhow::Result<()> + 'static,
    ) -> Self {
        Self {
            suite,
            name: name.into(),
            limit: Duration::from_secs(60),
            group: None,
            alone: false,
            body: Box::new(body),
        }
    }

    #[must_use]
    pub fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    #[must_use]
    pub fn group(mut self, group: &'static str) -> Self {
        self.group = Some(group);
        self
    }

    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// What a case is given: its run's name, and what the cases of its group share.
pub struct Scope {
    /// Names everything that this process makes on the machine.
    pub run: RunId,
    /// Leave the lab of a failed case for looking around.
    pub keep: bool,
    /// Where the case may leave files that stay after a failure (packet captures, agents' logs).
    pub logs: PathBuf,
    shared: Option<Box<dyn Any>>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("run", &self.run).field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Scope {
    /// What the group shares, made by `make` for the first case that asks (or after one of another type).
    pub fn shared<T: Any>(&mut self, make: impl FnOnce(&Self) -> anyhow::Result<T>) -> anyhow::Result<&mut T> {
        if !self.shared.as_ref().is_some_and(|s| s.is::<T>()) {
            self.shared = None;
            self.shared = Some(Box::new(make(self)?));
        }
        self.shared
            .as_mut()
            .and_then(|s| s.downcast_mut())
            .ok_or_else(|| anyhow::anyhow!("the group's shared value has another type"))
    }
}

/// The case does not apply here.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Ends a case as skipped: `return skip("tcpdump is not installed")`. Say why in words that a reader can act on.
pub fn skip<T>(why: impl Into<String>) -> anyhow::Result<T> {
    Err(Skip(why.into()).into())
}
