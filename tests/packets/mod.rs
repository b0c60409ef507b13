//! Single packets through the real programs by `BPF_PROG_TEST_RUN`: verdict, bytes and counters of each.

pub mod frames;
pub mod fuzz;
pub mod rig;
pub mod row;
pub mod rows;
pub mod scene;

use std::collections::BTreeSet;

use announcer_ebpf::abi::Outcome;
use anyhow::{Result, ensure};

use crate::runner::{Case, Scope, Suite, skip};

/// The cases of this suite share a process, and the rows of its tables a loaded object.
const GROUP: &str = "packets";

/// Every case of suite `packets`.
#[must_use]
pub fn all() -> Vec<Case> {
    let rows = rows::all().into_iter().map(|row| {
        let name = row.name;
        case(name, move |scope| row.play(scope.shared(|_| rig::Rig::lan())?))
    });
    let checks = rows::CHECKS.iter().map(|(name, check)| case(name, |_| check()));
    let mut all: Vec<_> = rows.chain(checks).collect();
    all.push(case("random and mutated frames get no strange verdict", |_| fuzz::random_frames()));
    all.push(
        Case::new(Suite::Packets, "every outcome of both programs has a row", |_| every_outcome_has_a_row())
            .group(GROUP),
    );
    all
}

/// A case that is skipped where the programs cannot be loaded.
fn case(name: &'static str, body: impl Fn(&mut Scope) -> Result<()> + 'static) -> Case {
    Case::new(Suite::Packets, name, move |scope| match rig::unavailable() {
        Some(why) => skip(why),
        None => body(scope),
    })
    .group(GROUP)
}

/// Outcomes that a check shows and no row can, each with the reason.
const SHOWN_BY_CHECKS: &[(Outcome, &str)] =
    &[(Outcome::DropFlowTableFull, "an LRU map always makes room; the check puts another kind in its place")];

fn every_outcome_has_a_row() -> Result<()> {
    let shown: BTreeSet<_> = rows::all().iter().flat_map(row::Row::outcomes).collect::<Vec<_>>().into_iter().collect();
    let missing: Vec<_> = Outcome::ALL
        .iter()
        .filter(|outcome| !shown.contains(outcome) && SHOWN_BY_CHECKS.iter().all(|(known, _)| known != *outcome))
        .map(|outcome| outcome.name())
        .collect();
    ensure!(missing.is_empty(), "no row shows {missing:?}");
    Ok(())
}
