//! Asking the running agent and printing its answer.

use std::io::{ErrorKind, Write};

use serde::{Serialize, de::DeserializeOwned};

use super::{Ask, Output};
use crate::observe::control;

/// Prints the agent's answer to `path`, as JSON or by `table`.
pub(super) fn show<T: Serialize + DeserializeOwned>(
    ask: &Ask,
    path: &str,
    table: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    let answer = control::ask::<T>(&ask.paths.load()?.control_socket(), path)?;
    print(ask.output, &answer, table)
}

/// Prints `value`; a reader that goes away early (`| head`) is no error.
pub(super) fn print<T: Serialize>(output: Output, value: &T, table: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = match output {
        Output::Json => serde_json::to_string_pretty(value)?,
        Output::Table => table(value),
    };
    match writeln!(std::io::stdout().lock(), "{}", text.trim_end()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
