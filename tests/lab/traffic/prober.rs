use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Answer, Stop, block_on};
use crate::lab::Namespace;

/// A client that makes a request on a new connection at a fixed pace, whatever became of the one before.
#[derive(Debug)]
pub struct Prober {
    stop: Stop,
    seen: Arc<Mutex<Vec<Probe>>>,
    thread: JoinHandle<anyhow::Result<()>>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Probe {
    pub begun: Instant,
    pub took: Duration,
    /// Who answered, or why nobody did.
    pub result: Result<Answer, String>,
}

impl Prober {
    /// `timeout`: when a request counts as lost. Below a second, a lost SYN is not mended by its retransmission.
    #[must_use]
    pub fn start(from: &Namespace, to: SocketAddr, pace: Duration, timeout: Duration) -> Self {
        let stop = Stop::default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (stopped, probes) = (stop.clone(), Arc::clone(&seen));
        let thread = from.spawn(move || {
            block_on(async move {
                let mut tick = tokio::time::interval(pace);
                let mut under_way = tokio::task::JoinSet::new();
                while !stopped.is_set() {
                    tick.tick().await;
                    let probes = Arc::clone(&probes);
                    under_way.spawn(async move {
                        let probe = probe(to, timeout).await;
                        probes.lock().unwrap_or_else(PoisonError::into_inner).push(probe);
                    });
                    while under_way.try_join_next().is_some() {}
                }
                under_way.join_all().await;
            })
        });
        Self { stop, seen, thread }
    }

    /// What was seen so far, in the order of beginning.
    #[must_use]
    pub fn so_far(&self) -> ProberReport {
        let mut probes = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        probes.sort_by_key(|p| p.begun);
        ProberReport { probes }
    }

    pub fn finish(self) -> anyhow::Result<ProberReport> {
        self.stop.set();
        let Self { seen, thread, .. } = self;
        thread.join().map_err(|_| anyhow::anyhow!("the prober panicked"))??;
        let mut probes = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
        probes.sort_by_key(|p| p.begun);
        Ok(ProberReport { probes })
    }
}

async fn probe(to: SocketAddr, timeout: Duration) -> Probe {
    let begun = Instant::now();
    let result = match tokio::time::timeout(timeout, ask(to)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{error:#}")),
        Err(_) => Err(format!("no answer within {timeout:?}")),
    };
    Probe { begun, took: begun.elapsed(), result }
}

async fn ask(to: SocketAddr) -> anyhow::Result<Answer> {
    let mut stream = TcpStream::connect(to).await.context("connecting")?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.context("sending the request")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.context("reading the answer")?;
    Answer::parse(&text)
}

/// What a prober saw.
#[derive(Debug, Clone)]
pub struct ProberReport {
    pub probes: Vec<Probe>,
}

impl ProberReport {
    /// Requests without an answer.
    #[must_use]
    pub fn lost(&self) -> Vec<&Probe> {
        self.probes.iter().filter(|p| p.result.is_err()).collect()
    }

    /// The longest time during which no request that was begun got its answer; zero when none was lost.
    #[must_use]
    pub fn longest_outage(&self) -> Duration {
        let mut longest = Duration::ZERO;
        let mut since = None;
        for probe in &self.probes {
            match (&probe.result, since) {
                (Err(_), None) => since = Some(probe.begun),
                (Err(_), Some(_)) => {}
                (Ok(_), Some(start)) => {
                    longest = longest.max(probe.begun - start);
                    since = None;
                }
                (Ok(_), None) => {}
            }
        }
        match (since, self.probes.last()) {
            (Some(start), Some(last)) => longest.max(last.begun + last.took - start),
            _ => longest,
        }
    }

    /// Answers for each pod.
    #[must_use]
    pub fn pods(&self) -> std::collections::BTreeMap<String, usize> {
        let mut pods = std::collections::BTreeMap::new();
        for answer in self.probes.iter().filter_map(|p| p.result.as_ref().ok()) {
            *pods.entry(answer.pod.clone()).or_default() += 1;
        }
        pods
    }

    /// "412 requests, 0 lost, slowest 3 ms".
    #[must_use]
    pub fn summary(&self) -> String {
        let slowest = self.probes.iter().map(|p| p.took).max().unwrap_or_default();
        let reasons: std::collections::BTreeSet<&str> =
            self.probes.iter().filter_map(|p| p.result.as_ref().err().map(String::as_str)).collect();
        format!(
            "{} requests, {} lost, longest outage {:.2} s, slowest {} ms {}",
            self.probes.len(),
            self.lost().len(),
            self.longest_outage().as_secs_f64(),
            slowest.as_millis(),
            reasons.into_iter().collect::<Vec<_>>().join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_lasts_from_the_first_lost_request_to_the_next_answered_one() {
        let zero = Instant::now();
        let answer = Answer { pod: "p".to_owned(), client: ([10, 0, 0, 1], 1).into() };
        let at = |ms: u64, good: bool| Probe {
            begun: zero + Duration::from_millis(ms),
            took: Duration::from_millis(5),
            result: if good { Ok(answer.clone()) } else { Err("lost".to_owned()) },
        };
        let report = |probes: &[Probe]| ProberReport { probes: probes.to_vec() }.longest_outage().as_millis();
        assert_eq!(report(&[at(0, true), at(20, true)]), 0);
        assert_eq!(
            report(&[at(0, true), at(20, false), at(40, false), at(60, true), at(80, false), at(100, true)]),
            40
        );
        assert_eq!(report(&[at(0, true), at(20, false), at(40, false)]), 25);
    }
}
