//! Works off the allocator's plan: claims, statuses, Events. A task of its own, so a slow API server holds nobody up.

mod memory;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use futures::stream::{FuturesUnordered, StreamExt};
use kube::Client;
use tokio::{sync::watch, task::JoinHandle};
use tracing::{debug, info, warn};

use self::memory::Memory;
use super::{claims::Claims, error::WriteError, events::Events, status::Statuses};
use crate::plan::ipam::{IpamPlan, Step, Write};

/// Steps under way at once.
const AT_ONCE: usize = 16;

/// Handle of the task that writes what the allocator decides.
#[derive(Debug)]
pub struct Allocator {
    plans: watch::Sender<Option<Arc<IpamPlan>>>,
    trouble: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Allocator {
    /// Starts the task, which writes nothing until it has a plan. `namespace` is where the Leases are, `node` names this
    /// agent in Events. The task ends with this handle.
    ///
    /// Must be called within a tokio runtime.
    #[must_use]
    pub fn start(client: Client, namespace: String, node: String) -> Self {
        let (plans, receiver) = watch::channel(None);
        let trouble = Arc::default();
        let worker = Worker {
            claims: Claims::new(client.clone(), &namespace),
            statuses: Statuses::new(client.clone()),
            events: Events::start(client, node),
            memory: Memory::default(),
            trouble: Arc::clone(&trouble),
        };
        let task = tokio::spawn(worker.run(receiver));
        Self { plans, trouble, task }
    }

    /// The newest plan replaces whatever is not written yet; None: this node is not the allocator and writes nothing.
    pub fn set(&self, plan: Option<Arc<IpamPlan>>) {
        self.plans.send_if_modified(|old| {
            let changed = *old != plan;
            *old = plan;
            changed
        });
    }

    /// Why the last attempt to write failed, with the remedy; None: all is well.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    claims: Claims,
    statuses: Statuses,
    events: Events,
    memory: Memory,
    trouble: Arc<Mutex<Option<String>>>,
}

/// What came of one step.
struct Outcome<'p> {
    step: &'p Step,
    /// How many of its writes are made, counting those that were made before.
    made: usize,
    /// At least one was made now.
    news: bool,
    error: Option<WriteError>,
}

type Plans = watch::Receiver<Option<Arc<IpamPlan>>>;

impl Worker {
    async fn run(mut self, mut plans: Plans) {
        loop {
            let plan = plans.borrow_and_update().clone().filter(|plan| !plan.is_done());
            let Some(plan) = plan else {
                self.tell_trouble(None);
                if plans.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.memory.forget(Instant::now());
            self.work_off(&plan, &plans).await;
            // The plan stays until the watch has told of what was written; should it stay longer, it is tried again.
            let again = self.memory.look_again(Instant::now());
            tokio::select! {
                changed = plans.changed() => if changed.is_err() { return },
                () = tokio::time::sleep_until(again.into()) => {}
            }
        }
    }

    /// Writes what is in the plan, until a newer one is there.
    async fn work_off(&mut self, plan: &IpamPlan, plans: &Plans) {
        let current = || !plans.has_changed().unwrap_or(true);
        let mut trouble = None;
        for steps in [&plan.releases, &plan.grants, &plan.statuses] {
            let mut due = steps.iter().filter(|step| step_is_due(&self.memory, step)).collect::<Vec<_>>().into_iter();
            let (claims, statuses) = (self.claims.clone(), self.statuses.clone());
            let mut under_way = FuturesUnordered::new();
            loop {
                while under_way.len() < AT_ONCE && current() {
                    let Some(step) = due.next() else { break };
                    let now = Instant::now();
                    let skip = step.writes.iter().map(|write| self.memory.is_made(write, now)).collect();
                    under_way.push(run_step(&claims, &statuses, step, skip));
                }
                let Some(outcome) = under_way.next().await else { break };
                trouble = self.note(&outcome).or(trouble);
            }
            if !current() {
                break;
            }
        }
        self.tell_trouble(trouble);
    }

    /// Takes note of what was written; what is wrong, if it is worth telling.
    fn note(&mut self, outcome: &Outcome<'_>) -> Option<String> {
        let now = Instant::now();
        outcome.step.writes[..outcome.made].iter().for_each(|write| self.memory.made(write, now));
        let Some(error) = &outcome.error else {
            if outcome.news {
                for notice in &outcome.step.notices {
                    info!(subject = %notice.subject, reason = notice.reason, "{}", notice.note);
                    self.events.tell(notice);
                }
            }
            return None;
        };
        if let Some(write) = outcome.step.writes.get(outcome.made) {
            self.memory.failed(write, now);
        }
        if error.is_stale() {
            debug!("{error}");
            return None;
        }
        Some(error.to_string())
    }

    fn tell_trouble(&self, trouble: Option<String>) {
        let mut told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(new) = trouble.as_ref().filter(|_| *told != trouble) {
            warn!("{new}");
        }
        *told = trouble;
    }
}

/// Whether the step has something to write now: not left alone after a failure, nor made a moment ago.
fn step_is_due(memory: &Memory, step: &Step) -> bool {
    let now = Instant::now();
    step.writes.iter().all(|write| memory.blocked(write, now).is_none())
        && !step.writes.iter().all(|write| memory.is_made(write, now))
}

/// Makes the writes of a step in their order, but for those that were made already (`skip`).
async fn run_step<'p>(claims: &Claims, statuses: &Statuses, step: &'p Step, skip: Vec<bool>) -> Outcome<'p> {
    let mut outcome = Outcome { step, made: 0, news: false, error: None };
    for (write, skip) in step.writes.iter().zip(skip) {
        if !skip {
            if let Err(error) = make(claims, statuses, write).await {
                outcome.error = Some(error);
                return outcome;
            }
            outcome.news = true;
        }
        outcome.made += 1;
    }
    outcome
}

async fn make(claims: &Claims, statuses: &Statuses, write: &Write) -> Result<(), WriteError> {
    match write {
        Write::CreateClaim { address, service } => claims.create(*address, service).await,
        Write::DeleteClaim { address, resource_version } => claims.delete(*address, resource_version).await,
        Write::SetService { service, uid, status } => statuses.set_service(service, uid, status).await,
        Write::ClearService { service, uid, addresses } => statuses.clear_service(service, uid, *addresses).await,
        Write::SetPool { name, uid, status } => statuses.set_pool(name, uid, status).await,
        Write::SetPolicy { name, uid, status } => statuses.set_policy(name, uid, status).await,
    }
}
