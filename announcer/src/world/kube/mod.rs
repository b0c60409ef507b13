//! Watches on the API server, turned into plain data.
//!
//! One task for each kind. A watch that breaks goes on from where it was, or lists anew; what was told before stands.

mod cluster;
pub mod connect;
mod convert;
mod count;
mod leases;
mod nodes;
mod own;
mod services;
mod slices;
mod trouble;
mod watcher;

use std::sync::Arc;

pub use connect::{ApiServer, ConnectError, check, connect};
pub use count::Count;
use kube::{Api, api::DynamicObject};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use self::watcher::{Watched, run};
use super::{
    beats::BEAT_EVERY,
    message::{Kind, Message},
};

/// Starts a task for each kind; they end when `to` is closed or the set is dropped.
#[must_use]
pub fn watch(api: &ApiServer, namespace: &str, to: mpsc::Sender<Message>) -> JoinSet<()> {
    let client = &api.client;
    // A connection that has silently died is found by the Leases, where every node beats; the others then start anew
    // with it.
    let (stalled, _) = watch::channel(0_u64);
    let stalled = Arc::new(stalled);
    let mut tasks = JoinSet::new();
    tasks.spawn(run(
        Watched {
            kind: Kind::Services,
            api: Api::all(client.clone()),
            id: convert::object_name,
            read: services::read,
            wrap: Message::Services,
            idle: None,
        },
        Arc::clone(&stalled),
        to.clone(),
    ));
    tasks.spawn(run(
        Watched {
            kind: Kind::Slices,
            api: Api::all(client.clone()),
            id: convert::object_name,
            read: slices::read,
            wrap: Message::Slices,
            idle: None,
        },
        Arc::clone(&stalled),
        to.clone(),
    ));
    tasks.spawn(run(
        Watched {
            kind: Kind::Nodes,
            api: Api::all(client.clone()),
            id: convert::name,
            read: nodes::read,
            wrap: Message::Nodes,
            idle: None,
        },
        Arc::clone(&stalled),
        to.clone(),
    ));
    tasks.spawn(run(
        Watched {
            kind: Kind::Pools,
            api: Api::<DynamicObject>::all_with(client.clone(), &own::pools()),
            id: convert::name,
            read: own::read_pool,
            wrap: Message::Pools,
            idle: None,
        },
        Arc::clone(&stalled),
        to.clone(),
    ));
    tasks.spawn(run(
        Watched {
            kind: Kind::Policies,
            api: Api::<DynamicObject>::all_with(client.clone(), &own::policies()),
            id: convert::name,
            read: own::read_policy,
            wrap: Message::Policies,
            idle: None,
        },
        Arc::clone(&stalled),
        to.clone(),
    ));
    tasks.spawn(run(
        Watched {
            kind: Kind::Leases,
            api: Api::namespaced(client.clone(), namespace),
            id: convert::name,
            read: leases::read,
            wrap: Message::Leases,
            idle: Some(2 * BEAT_EVERY),
        },
        stalled,
        to.clone(),
    ));
    tasks.spawn(cluster::run(client.clone(), api.addresses.clone(), to));
    tasks
}
