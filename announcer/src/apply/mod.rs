//! Writes the difference between what should be and what is: BPF maps, Leases, statuses, announcements. Safe to repeat,
//! to interrupt, and to start over what an earlier run left.

pub mod allocator;
pub mod announce;
mod claims;
pub mod error;
mod events;
pub mod leases;
pub mod maps;
mod status;
