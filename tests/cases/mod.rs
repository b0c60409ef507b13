//! What the lab shows, one sentence a case.

mod runner;

use crate::runner::Case;

/// The cases of suite `lab`.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(runner::cases());
    all
}
