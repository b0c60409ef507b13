//! A LAN in one kernel: network namespaces joined by a bridge, nodes with agents, pods behind them, clients.
//!
//! Everything that a lab makes carries its run's id in its name, so that whoever finds it can tell whose it is and
//! remove it: see [`reaper`].

pub mod reaper;
mod run_id;

pub use run_id::RunId;
