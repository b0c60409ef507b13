//! The runner itself and what it cleans up.

use crate::runner::{Case, Suite};

pub(super) fn cases() -> Vec<Case> {
    vec![Case::new(Suite::Lab, "a_case_runs_in_a_process_of_its_own", |scope| {
        anyhow::ensure!(std::process::id() != scope.run.owner(), "the case runs in the runner's process");
        Ok(())
    })]
}
