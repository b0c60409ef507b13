//! Servers in pods and clients on the LAN, and what the clients saw.

mod bulk;
mod held;
mod prober;
mod request;
pub mod server;
mod udp;

pub use bulk::{Transfer, download, upload};
pub use held::{Held, HeldReport};
pub use prober::{Probe, Prober, ProberReport};
pub use request::{Answer, fetch};
pub use udp::{UdpReport, UdpStream, udp_ask};

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Tells a client in the background that it is enough.
#[derive(Debug, Clone, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `work` on a runtime of this thread alone, so that its sockets belong to this thread's namespace.
fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work))
}
