//! The lab (network namespaces with real parts), the API server, the cases that run on them, and what runs the cases.

pub mod bench;
pub mod cases;
pub mod cluster;
pub mod demo;
pub mod kube;
pub mod lab;
pub mod objects;
pub mod packets;
pub mod runner;
pub mod wait;

use runner::Case;

/// Every case of every suite.
#[must_use]
pub fn registry() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(cases::all());
    all.extend(packets::all());
    all
}
