//! Long commands with a line that says what runs and for how long; what they print is shown only when they fail.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How much of a failed command's output is shown.
const TAIL_LINES: usize = 200;
/// On a terminal the line is redrawn this often; elsewhere a new line is printed.
const REDRAW: Duration = Duration::from_millis(200);
const STILL_RUNNING: Duration = Duration::from_secs(20);

/// Runs a command to its end under a label.
///
/// # Errors
/// It does not start, or fails: then with the end of its output.
pub(crate) fn step(label: &str, command: &mut Command) -> Result<()> {
    let started = Instant::now();
    let (mut child, output) = spawn(command)?;
    let mut line = StatusLine::new(label, started);
    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    let lines = lines_of(output);
    loop {
        match lines.recv_timeout(REDRAW) {
            Ok(text) => {
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                line.latest = text.trim().to_string();
                tail.push_back(text);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        line.draw();
    }
    let status = child.wait().with_context(|| format!("{label}: cannot wait for it"))?;
    line.finish(status.success());
    if !status.success() {
        let output: Vec<String> = tail.into();
        bail!("{label} failed ({status}):\n{}\n\nThe command was: {command:?}", output.join("\n"));
    }
    Ok(())
}

/// Runs a command whose output is for the reader. `pass` sees each line first and says whether to print it.
///
/// # Errors
/// It does not start.
pub(crate) fn stream(command: &mut Command, mut pass: impl FnMut(&str) -> bool) -> Result<ExitStatus> {
    let (mut child, output) = spawn(command)?;
    for line in lines_of(output) {
        if pass(&line) {
            // A reader that went away (`| head`) is no reason to stop the tests.
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
    child.wait().with_context(|| format!("cannot wait for {command:?}"))
}

/// Elapsed time as one reads it: `4.2 s`, `2 min 05 s`.
pub(crate) fn elapsed(time: Duration) -> String {
    if time.as_secs() < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// One pipe for both of its outputs, so that they stay in order.
fn spawn(command: &mut Command) -> Result<(Child, PipeReader)> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    let errors = writer.try_clone().context("cannot make a pipe")?;
    let child = command
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    // Our copies of the pipe's end must go, or its reader never sees the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((child, reader))
}

fn lines_of(output: PipeReader) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // What is not UTF-8 is shown as well as it can be.
        for line in BufReader::new(output).split(b'\n').map_while(io::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

struct StatusLine<'a> {
    label: &'a str,
    started: Instant,
    drawn: Instant,
    latest: String,
    terminal: bool,
}

impl<'a> StatusLine<'a> {
    fn new(label: &'a str, started: Instant) -> Self {
        let terminal = io::stderr().is_terminal();
        if !terminal {
            eprintln!("  {label} ...");
        }
        Self { label, started, drawn: started, latest: String::new(), terminal }
    }

    fn draw(&mut self) {
        let every = if self.terminal { REDRAW } else { STILL_RUNNING };
        if self.drawn.elapsed() < every {
            return;
        }
        self.drawn = Instant::now();
        let latest: String = self.latest.chars().filter(|c| !c.is_control()).take(60).collect();
        let text = format!("  {} ({}) {latest}", self.label, elapsed(self.started.elapsed()));
        if self.terminal {
            eprint!("\r\x1b[K{text}");
        } else {
            eprintln!("{text}");
        }
    }

    fn finish(&self, success: bool) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        let word = if success { "done" } else { "FAILED" };
        eprintln!("{clear}  {}: {word} in {}", self.label, elapsed(self.started.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_shows_what_the_command_said_on_both_outputs() {
        let error = step("fails", Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("out\nerr"), "{text}");
    }

    #[test]
    fn a_command_that_does_not_exist_is_named() {
        let error = step("absent", &mut Command::new("/nonexistent/tool")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/tool"), "{error}");
    }

    #[test]
    fn streamed_lines_are_seen_in_order_and_the_status_is_the_commands() {
        let mut seen = Vec::new();
        let status = stream(Command::new("sh").args(["-c", "echo 1; echo 2; exit 4"]), |line| {
            seen.push(line.to_string());
            false
        });
        assert_eq!(status.unwrap().code(), Some(4));
        assert_eq!(seen, ["1", "2"]);
    }

    #[test]
    fn minutes_are_written_with_their_seconds() {
        assert_eq!(elapsed(Duration::from_millis(4240)), "4.2 s");
        assert_eq!(elapsed(Duration::from_secs(125)), "2 min 05 s");
    }
}
