//! What the lab shows, one sentence a case.

mod addresses;
mod agents;
mod attach_modes;
mod bad_input;
mod changes;
mod control_plane;
mod data_path;
mod deploy;
mod disorder;
mod lost_node;
mod not_ours;
mod plain_lab;
mod runner;
mod served;
mod traces;
mod traffic;

pub use plain_lab::hold_lab;

use crate::runner::Case;

/// The cases of suite `lab`. The long ones come first, so that the others run beside them.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        runner::cases(),
        plain_lab::cases(),
        lost_node::cases(),
        disorder::cases(),
        addresses::cases(),
        traffic::cases(),
        changes::cases(),
        not_ours::cases(),
        agents::cases(),
        control_plane::cases(),
        deploy::cases(),
        data_path::cases(),
        attach_modes::cases(),
        bad_input::cases(),
        traces::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
