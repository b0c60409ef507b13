//! The programs' debug lines. An object that was built without them (feature `ebpf-log` is off, as in every release) has
//! none, and then nothing here runs.

use std::{io, os::fd::AsRawFd, thread};

use announcer_ebpf::abi::Outcome;
use aya::Ebpf;
use aya_log::{EbpfLogger, Error};
use log::{Log, Metadata, Record};
use tracing::{debug, warn};

/// Longest wait for a line, in ms.
const POLL_MS: libc::c_int = 1_000;

/// Follows the lines of a loaded object for as long as the process lives.
pub(super) fn follow(object: &mut Ebpf, link: &str) {
    let mut lines = match EbpfLogger::init_with_logger(object, Lines { link: link.to_owned() }) {
        Ok(lines) => lines,
        Err(Error::MapNotFound) => return,
        Err(error) => {
            warn!(link, %error, "the programs' debug lines cannot be read");
            return;
        }
    };
    // A thread, since attaching is synchronous and this is for debugging only.
    let started = thread::Builder::new().name(format!("log-{link}")).spawn(move || {
        loop {
            let mut wait = libc::pollfd { fd: lines.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one valid pollfd on the stack; the descriptor is open for as long as `lines` is.
            let ready = unsafe { libc::poll(&raw mut wait, 1, POLL_MS) };
            if ready < 0 && io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
            lines.flush();
        }
    });
    if let Err(error) = started {
        warn!(link, %error, "the programs' debug lines are not read");
    }
}

/// Turns the programs' lines into the agent's.
struct Lines {
    link: String,
}

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        debug!(target: "announcer::packet", link = self.link, "{}", in_words(&record.args().to_string()));
    }

    fn flush(&self) {}
}

/// A line with the outcome's word in place of its number, which the programs write first.
#[must_use]
pub fn in_words(line: &str) -> String {
    let outcome = line.split_once(' ').and_then(|(number, rest)| Some((number.parse::<usize>().ok()?, rest)));
    match outcome.and_then(|(number, rest)| Some((Outcome::ALL.get(number)?, rest))) {
        Some((outcome, rest)) => format!("{}: {rest}", outcome.name()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_programs_says_the_outcome_in_words() {
        let line = format!("{} 10.0.0.1 to 10.0.0.2", Outcome::Forwarded as u32);
        assert_eq!(in_words(&line), "forwarded: 10.0.0.1 to 10.0.0.2");
    }

    #[test]
    fn any_other_line_stays_as_it_is() {
        for line in ["", "boo", "9999 10.0.0.1", "forwarded 1"] {
            assert_eq!(in_words(line), line);
        }
    }
}
