//! Pure decisions: from what is known ([`crate::world::model::World`]) to what should be. No clock, no I/O, no
//! randomness: the same World gives the same plan on every node, which is what makes all nodes agree.
//!
//! Must not know: the Kubernetes client, BPF maps, sockets, the time of day.

pub mod election;
pub mod forwarding;
pub mod ipam;
pub mod maglev;
pub mod tables;
