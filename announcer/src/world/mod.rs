//! What is known, and the tasks that find it out.

pub mod kube;
pub mod links;
pub mod model;
