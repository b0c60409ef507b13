//! announcer's own Kubernetes types and the names it uses.

pub mod names;
