//! A real API server for the lab: etcd and kube-apiserver in the LAN's namespace, RBAC on, the project's own manifests.

mod binaries;
mod client;
mod files;
mod keys;
pub mod objects;
mod server;

pub use binaries::Binaries;
pub use client::{Api, Kind};
pub use server::ControlPlane;
