use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::{Stop, block_on};
use crate::{lab::Namespace, wait::wait_for};

/// How long a numbered message may take before its connection counts as broken: longer than any retransmission that a
/// short loss needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Many TCP connections that stay open, each sending a number now and then and waiting for it to come back.
#[derive(Debug)]
pub struct Held {
    stop: Stop,
    connected: Arc<AtomicU64>,
    exchanged: Arc<AtomicU64>,
    thread: JoinHandle<anyhow::Result<HeldReport>>,
}

#[derive(Debug)]
pub struct HeldReport {
    /// Connections that worked to the end, for each pod.
    pub whole: BTreeMap<String, usize>,
    /// Why and after how many exchanges the others broke.
    pub broken: Vec<String>,
    /// Numbers that came back right, on all connections together.
    pub exchanged: u64,
}

impl Held {
    /// Opens `count` connections to `to` and waits until every one has a pod.
    pub fn open(from: &Namespace, to: SocketAddr, count: usize, pace: Duration) -> anyhow::Result<Self> {
        Self::open_patiently(from, to, count, pace, PATIENCE)
    }

    /// The same with another patience than [`PATIENCE`].
    pub fn open_patiently(
        from: &Namespace,
        to: SocketAddr,
        count: usize,
        pace: Duration,
        patience: Duration,
    ) -> anyhow::Result<Self> {
        let stop = Stop::default();
        let (connected, exchanged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (stopped, opened, counted) = (stop.clone(), Arc::clone(&connected), Arc::clone(&exchanged));
        let thread = from.spawn(move || block_on(run(to, count, (pace, patience), stopped, opened, counted)));
        let held = Self { stop, connected, exchanged, thread };
        wait_for(&format!("{count} connections to {to} are open"), Duration::from_secs(20), || {
            if held.thread.is_finished() {
                bail!("the client ended early");
            }
            Ok(held.connected.load(Ordering::Relaxed) == count as u64)
        })?;
        Ok(held)
    }

    /// Numbers that came back so far.
    #[must_use]
    pub fn exchanged(&self) -> u64 {
        self.exchanged.load(Ordering::Relaxed)
    }

    /// Lets every connection do one more exchange, then counts.
    pub fn finish(self) -> anyhow::Result<HeldReport> {
        self.stop.set();
        self.thread.join().map_err(|_| anyhow::anyhow!("the held connections' client panicked"))?
    }
}

async fn run(
    to: SocketAddr,
    count: usize,
    (pace, patience): (Duration, Duration),
    stop: Stop,
    connected: Arc<AtomicU64>,
    exchanged: Arc<AtomicU64>,
) -> HeldReport {
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..count {
        let (stop, connected, exchanged) = (stop.clone(), Arc::clone(&connected), Arc::clone(&exchanged));
        tasks.spawn(async move {
            // Spread over the pace, so that exchanges do not come in bursts.
            tokio::time::sleep(pace * u32::try_from(number).unwrap_or(0) / u32::try_from(count).unwrap_or(1)).await;
            let mut done = 0;
            let result = hold(to, (pace, patience), &stop, &connected, &exchanged, &mut done).await;
            result.map_err(|error| format!("connection {number} after {done} exchanges: {error:#}"))
        });
    }
    let mut report = HeldReport { whole: BTreeMap::new(), broken: Vec::new(), exchanged: 0 };
    while let Some(result) = tasks.join_next().await {
        match result {
            Ok(Ok(pod)) => *report.whole.entry(pod).or_default() += 1,
            Ok(Err(why)) => report.broken.push(why),
            Err(error) => report.broken.push(error.to_string()),
        }
    }
    report.exchanged = exchanged.load(Ordering::Relaxed);
    report
}

/// Gives the pod's name when the connection worked to the end.
async fn hold(
    to: SocketAddr,
    (pace, patience): (Duration, Duration),
    stop: &Stop,
    connected: &AtomicU64,
    exchanged: &AtomicU64,
    done: &mut u64,
) -> anyhow::Result<String> {
    let stream = tokio::time::timeout(patience, TcpStream::connect(to)).await.context("connecting")??;
    let local = stream.local_addr()?;
    stream.set_nodelay(true)?;
    let mut stream = BufStream::new(stream);
    stream.write_all(b"ECHO\n").await?;
    stream.flush().await?;
    let mut pod = String::new();
    tokio::time::timeout(patience, stream.read_line(&mut pod)).await.context("waiting for the pod's name")??;
    let pod = pod.trim().to_owned();
    connected.fetch_add(1, Ordering::Relaxed);
    loop {
        let last = stop.is_set();
        let number = done.to_be_bytes();
        let mut back = [0; 8];
        let exchange = async {
            stream.write_all(&number).await?;
            stream.flush().await?;
            stream.read_exact(&mut back).await
        };
        tokio::time::timeout(patience, exchange)
            .await
            .with_context(|| format!("{local} to {pod}: no echo within {patience:?}"))?
            .with_context(|| format!("{local} to {pod}"))?;
        if back != number {
            bail!("{local} to {pod}: sent {number:?}, got {back:?}");
        }
        *done += 1;
        exchanged.fetch_add(1, Ordering::Relaxed);
        if last {
            return Ok(pod);
        }
        tokio::time::sleep(pace).await;
    }
}
