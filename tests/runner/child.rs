use std::{
    fs::File,
    io::Write,
    os::fd::{AsRawFd, FromRawFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::Context;

use super::{Case, Scope, Skip};
use crate::lab::{RunId, logs, reaper};

/// The descriptor on which a child reports to the runner.
pub(super) const REPORT_FD: i32 = 3;

/// File name of a case's log.
pub(super) fn log_name(run: &RunId, case: &str) -> String {
    let safe: String =
        case.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    format!("{}-{safe}.log", run.number())
}

/// What a child tells the runner of a case. Names are sentences, so blanks do not separate them.
fn report_line(verb: &str, name: &str, text: &str) -> String {
    format!("{verb}\t{name}\t{text}")
}

/// Verb, name and text of a child's line.
pub(super) fn read_report(line: &str) -> (&str, &str, &str) {
    let mut parts = line.splitn(3, '\t');
    (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Runs `names` one after another and reports each; stops at the first failure. Called in a process that the runner
/// started: standard output and error become the case's log.
pub fn run_child(
    registry: Vec<Case>,
    run: RunId,
    keep: bool,
    log_directory: &Path,
    names: &[String],
) -> anyhow::Result<()> {
    // SAFETY: the runner opened this descriptor for us and nothing else in this process knows of it.
    let mut report = unsafe { File::from_raw_fd(REPORT_FD) };
    nix::fcntl::fcntl(&report, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))
        .context("the report descriptor is not open: `case` is started by `announcer-tests run` only")?;
    logs::save_on_drop(log_directory);
    let mut scope = Scope { run, keep, logs: log_directory.to_owned(), shared: None };
    for name in names {
        let case = registry.iter().find(|c| c.name == *name).with_context(|| format!("no case {name:?}"))?;
        redirect(&log_directory.join(log_name(&scope.run, name)))?;
        writeln!(report, "{}", report_line("start", name, ""))?;
        let result = catch_unwind(AssertUnwindSafe(|| (case.body)(&mut scope)));
        let line = match &result {
            Ok(Ok(())) => report_line("pass", name, ""),
            Ok(Err(error)) => match error.downcast_ref::<Skip>() {
                Some(Skip(why)) => report_line("skip", name, &one_line(why)),
                None => {
                    eprintln!("failed: {error:#}");
                    report_line("fail", name, &one_line(&format!("{error:#}")))
                }
            },
            Err(_) => report_line("fail", name, "panicked"),
        };
        let failed = line.starts_with("fail");
        if failed {
            show_agents(&run, log_directory);
            // The lab is removed before the verdict is out, or stays with all that runs in it.
            if keep && reaper::keep(run).is_ok() {
                std::mem::forget(scope);
            } else {
                drop(scope);
            }
            writeln!(report, "{line}")?;
            std::process::exit(1);
        }
        writeln!(report, "{line}")?;
    }
    Ok(())
}

/// Writes what the lab's agents logged last to the case's log.
fn show_agents(run: &RunId, saved: &Path) {
    const ENOUGH: usize = 15;
    let mut paths = logs::agents(&run.directory());
    if paths.is_empty() {
        // The lab went with the error.
        let own = format!("{}-agent", run.number());
        paths = logs::agents(saved);
        paths.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&own)));
    }
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        eprintln!("--- {} ends:", path.display());
        for line in &lines[lines.len().saturating_sub(ENOUGH)..] {
            eprintln!("{line}");
        }
    }
}

/// The text on one line, cut where a reader has enough: the whole of it is in the log.
fn one_line(text: &str) -> String {
    const ENOUGH: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(ENOUGH) {
        Some((at, _)) => format!("{} ...", &line[..at]),
        None => line,
    }
}

/// Sends this process's standard output and error to `path`.
fn redirect(path: &Path) -> anyhow::Result<()> {
    let file =
        File::options().create(true).append(true).open(path).with_context(|| format!("log {}", path.display()))?;
    for fd in [1, 2] {
        // SAFETY: dup2 onto the standard descriptors, which this process owns; nothing holds them as owned values.
        if unsafe { libc::dup2(file.as_raw_fd(), fd) } < 0 {
            return Err(std::io::Error::last_os_error()).context("redirecting output to the case's log");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_brings_a_name_with_blanks_back_whole() {
        let name = "the echo reply's checksum is right";
        let why = one_line("not this one:\n\tgot 1");
        assert_eq!(read_report(&report_line("fail", name, &why)), ("fail", name, "not this one: got 1"));
        assert_eq!(read_report(&report_line("start", name, "")), ("start", name, ""));
    }
}
