//! Bringing the parts up in their order, then the loop.

use std::sync::Arc;

use announcer_ebpf::abi::DEFAULT_SLOTS;
use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};
use tracing::{info, warn};

use super::{clock::Clock, events::Events, state::Agent, turn};
use crate::{
    apply::{
        announce::Announcer,
        maps::{self, Forwarder},
    },
    config::Settings,
    observe::{Observer, control, health::Health, http, metrics::Metrics},
    world::{
        Message,
        kube::{self, ConnectError},
        links,
    },
};

/// Messages of the watches that may wait for the loop; a full channel slows the watches down, nothing is lost.
const MESSAGES: usize = 1_024;
/// Questions that may wait for the loop.
const QUERIES: usize = 16;

/// Starts everything and runs the loop until a signal.
///
/// What the settings got wrong is found first, before the data path is touched.
pub(super) async fn run(settings: Settings) -> anyhow::Result<()> {
    let clock = Clock::start();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let ends = async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };

    let (queries, questions) = mpsc::channel(QUERIES);
    let observer = Observer { queries, health: Arc::new(Health::default()), metrics: Arc::new(Metrics::default()) };
    tokio::spawn(http::serve(settings.listen, observer.clone()).await?);
    let socket = settings.paths.control_socket();
    tokio::spawn(control::serve(&socket, observer.clone())?);

    let metrics = Arc::clone(&observer.metrics);
    let count: kube::Count =
        Arc::new(move |method, code| metrics.api_request(method.as_str(), code.map(|code| code.as_u16())));
    let api = kube::connect(settings.kubeconfig.clone(), count).await?;
    let forwarder = Forwarder::open(maps::Settings {
        bpffs: settings.paths.bpffs.clone(),
        run_dir: settings.paths.run_dir.clone(),
        me: settings.node_name.clone(),
        flows: settings.flows,
        slots: DEFAULT_SLOTS,
    })?;
    let adopted = !forwarder.attached().is_empty();
    let events = Events::of(&forwarder).context("cannot wait for the programs' events")?;
    let (messages, inbox) = mpsc::channel::<Message>(MESSAGES);
    let links = links::watch(settings.interfaces.clone(), messages.clone()).await?;
    match kube::check(&api).await {
        Ok(()) => info!(server = api.url, "the API server answers"),
        // What an earlier run programmed goes on, and the watches try again.
        Err(error) if adopted => warn!("{error}"),
        Err(ConnectError::Unreachable { url, reason }) => anyhow::bail!(
            "the API server {url} does not answer ({reason}), and this node has no data path yet that could go on: check \
             the server, the way to it and its address in the kubeconfig, then start the agent again"
        ),
        Err(error) => return Err(error.into()),
    }
    let _watches = kube::watch(&api, &settings.namespace, messages);
    let announcer = Announcer::start().context("cannot start the thread that announces VIPs")?;
    info!(node = settings.node_name, adopted, version = env!("CARGO_PKG_VERSION"), "the agent runs");
    let mut agent = Agent::new(settings, clock, forwarder, announcer, &api, &observer);
    let signal = turn::until(&mut agent, ends, inbox, questions, &events).await?;
    info!(signal, "the agent ends; the data path goes on");
    links.abort();
    drop(std::fs::remove_file(socket));
    Ok(())
}
