//! A LAN in one kernel: network namespaces joined by a bridge, nodes with agents, pods behind them, clients.
//!
//! Everything that a lab makes carries its run's id in its name, so that whoever finds it can tell whose it is and
//! remove it: see [`reaper`]. Several labs run side by side, with the same addresses.

mod guard;
pub mod logs;
mod namespace;
mod network;
mod pass;
mod ping;
mod plan;
mod pod;
mod process;
pub mod reaper;
mod run_id;
pub mod traffic;
pub mod wire;

pub use guard::guard;
pub use namespace::Namespace;
pub use network::{Lab, Node, Shape, mount_bpffs};
pub use ping::ping;
pub use plan::{API_SERVER, GATEWAY, LAN, PREFIX, client_address, node_address, node_mac, pod_address};
pub use pod::{POD_PORT, Pod};
pub use process::Process;
pub use run_id::RunId;
