//! What is known, and the tasks that find it out.
//!
//! Each task sends [`Message`]s into one channel; [`take`](model::World::take) folds them into the
//! [`World`](model::World). Must not know: what is decided from it, and what is written.

pub mod beats;
mod fold;
pub mod kube;
pub mod links;
pub mod message;
pub mod model;
pub mod pattern;

pub use message::{Change, Kind, Lease, Message, Slice, Update};
