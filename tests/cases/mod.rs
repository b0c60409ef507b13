//! What the lab shows, one sentence a case.

mod control_plane;
mod plain_lab;
mod runner;

pub use plain_lab::hold_lab;

use crate::runner::Case;

/// The cases of suite `lab`.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut all = Vec::new();
    all.extend(runner::cases());
    all.extend(plain_lab::cases());
    all.extend(control_plane::cases());
    all
}
