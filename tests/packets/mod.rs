//! Single packets through the real programs by `BPF_PROG_TEST_RUN`: verdict, bytes and counters of each.

pub mod frames;
pub mod rig;
pub mod row;
pub mod scene;

use anyhow::Result;

use crate::runner::{Case, Scope, Suite, skip};

/// The cases of this suite share a process: each has maps of its own, and none can hang.
const GROUP: &str = "packets";

/// Every case of suite `packets`.
#[must_use]
pub fn all() -> Vec<Case> {
    rows()
        .into_iter()
        .map(|row| {
            let name = row.name;
            case(name, move |_| row.play())
        })
        .collect()
}

/// Every row of every table.
fn rows() -> Vec<row::Row> {
    Vec::new()
}

/// A case that is skipped where the programs cannot be loaded.
fn case(name: &'static str, body: impl Fn(&mut Scope) -> Result<()> + 'static) -> Case {
    Case::new(Suite::Packets, name, move |scope| match rig::unavailable() {
        Some(why) => skip(why),
        None => body(scope),
    })
    .group(GROUP)
}
