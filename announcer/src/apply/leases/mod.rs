//! Writes of Leases: this node's heartbeat, the leader of a VIP, the allocator.
//!
//! Nothing here waits in the agent's loop: each write runs in a task of its own. What came of it is learnt from the
//! watch, like everything else.

mod heartbeat;
mod holder;

pub use heartbeat::{Beat, spawn_heartbeat};
pub use holder::{HolderWrite, HolderWriter};

/// Field manager of what a node writes for itself.
pub const FIELD_MANAGER: &str = "announcer-node";
