use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{
    Case, Suite,
    child::{REPORT_FD, log_name, read_report},
};
use crate::lab::{RunId, logs, reaper};

/// Lines of a failed case's log that are shown; the whole log is kept.
const TAIL_LINES: usize = 60;

/// What `announcer-tests run` was asked.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Only this part; default: both.
    pub suite: Option<Suite>,
    /// Only cases whose name contains this text (repeatable: any of them).
    #[arg(long)]
    pub filter: Vec<String>,
    /// Print the cases and run nothing.
    #[arg(long)]
    pub list: bool,
    /// Leave the lab of a failed case, and all logs.
    #[arg(long)]
    pub keep: bool,
    /// Run everything this many times.
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// Cases at a time.
    #[arg(long, default_value_t = 2)]
    pub jobs: usize,
}

/// Cases that one child runs: a group, or one case.
struct Unit {
    names: VecDeque<String>,
    alone: bool,
}

struct Running {
    unit: Unit,
    run: RunId,
    child: Child,
    /// The case that the child works on, with its start; before the first: the child's own start.
    since: Instant,
    limit: Duration,
    timed_out: bool,
    /// It reported a failure, so it ends with cases of its group undone.
    failed: bool,
}

enum Event {
    Line(u32, String),
    End(u32),
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_interrupt(_: i32) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Runs the cases that `options` select. True: none failed.
pub fn run(registry: Vec<Case>, options: &Options) -> anyhow::Result<bool> {
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = registry.iter().find(|c| !seen.insert(&c.name)) {
        bail!("two cases are named {:?}", twice.name);
    }
    let selected: Vec<&Case> = registry
        .iter()
        .filter(|c| options.suite.is_none_or(|s| s == c.suite))
        .filter(|c| options.filter.is_empty() || options.filter.iter().any(|f| c.name.contains(f)))
        .collect();
    if options.list {
        for case in &selected {
            println!("{} {}", case.suite, case.name);
        }
        return Ok(true);
    }
    let action = SigAction::new(SigHandler::Handler(on_interrupt), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }.context("installing the interrupt handler")?;
    }
    reaper::remove_stale();
    let logs = std::env::temp_dir().join(format!("announcer-tests-{}", std::process::id()));
    fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
    let mut runner = Runner {
        registry: &registry,
        options,
        logs,
        queue: units(&selected, options.repeat),
        running: Vec::new(),
        next: 0,
        tally: Tally::default(),
    };
    let begun = Instant::now();
    runner.work()?;
    let Tally { passed, failed, skipped } = runner.tally;
    println!("\n{:.0} s", begun.elapsed().as_secs_f64());
    if failed == 0 && !options.keep {
        let _ = fs::remove_dir_all(&runner.logs);
    } else {
        println!("logs: {}", runner.logs.display());
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    Ok(failed == 0)
}

/// Groups in the order of their first case; `alone` last.
fn units(selected: &[&Case], repeat: u32) -> VecDeque<Unit> {
    let mut all = VecDeque::new();
    for _ in 0..repeat {
        let mut round: Vec<(Option<&str>, Unit)> = Vec::new();
        for case in selected {
            let group = case.group;
            match round.iter_mut().find(|(g, u)| group.is_some() && *g == group && u.alone == case.alone) {
                Some((_, unit)) => unit.names.push_back(case.name.clone()),
                None => round.push((group, Unit { names: [case.name.clone()].into(), alone: case.alone })),
            }
        }
        round.sort_by_key(|(_, unit)| unit.alone);
        all.extend(round.into_iter().map(|(_, unit)| unit));
    }
    all
}

struct Runner<'a> {
    registry: &'a [Case],
    options: &'a Options,
    logs: PathBuf,
    queue: VecDeque<Unit>,
    running: Vec<Running>,
    next: u32,
    tally: Tally,
}

impl Runner<'_> {
    fn work(&mut self) -> anyhow::Result<()> {
        let (events, inbox) = mpsc::channel();
        while !(self.queue.is_empty() && self.running.is_empty()) {
            if INTERRUPTED.load(Ordering::Relaxed) {
                self.stop_all();
                bail!("interrupted; every child was ended and its lab removed");
            }
            self.start_more(&events)?;
            match inbox.recv_timeout(Duration::from_millis(200)) {
                Ok(Event::Line(id, line)) => self.hear(id, &line),
                Ok(Event::End(id)) => self.end(id),
                Err(_) => {}
            }
            self.enforce_limits();
        }
        Ok(())
    }

    fn start_more(&mut self, events: &mpsc::Sender<Event>) -> anyhow::Result<()> {
        loop {
            let Some(unit) = self.queue.front() else { return Ok(()) };
            let alone_now = self.running.iter().any(|r| r.unit.alone);
            if self.running.len() >= self.options.jobs.max(1) || alone_now || (unit.alone && !self.running.is_empty()) {
                return Ok(());
            }
            if let Some(unit) = self.queue.pop_front() {
                self.start(unit, events)?;
            }
        }
    }

    fn start(&mut self, unit: Unit, events: &mpsc::Sender<Event>) -> anyhow::Result<()> {
        self.next += 1;
        let id = self.next;
        let run = RunId::new(std::process::id(), id);
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).context("pipe for a case's reports")?;
        let child = spawn_child(&run, &unit, self.options.keep, &self.logs, &write)?;
        drop(write);
        let events = events.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(fs::File::from(read)).lines().map_while(Result::ok) {
                let _ = events.send(Event::Line(id, line));
            }
            let _ = events.send(Event::End(id));
        });
        let limit = unit.names.front().map_or(Duration::ZERO, |n| self.limit_of(n));
        self.running.push(Running { unit, run, child, since: Instant::now(), limit, timed_out: false, failed: false });
        Ok(())
    }

    fn limit_of(&self, name: &str) -> Duration {
        self.registry.iter().find(|c| c.name == name).map_or(Duration::from_secs(60), |c| c.limit)
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.running.iter().position(|r| r.run.number() == id)
    }

    fn hear(&mut self, id: u32, line: &str) {
        let Some(at) = self.position(id) else { return };
        let (verb, name, text) = read_report(line);
        if verb == "start" {
            let limit = self.limit_of(name);
            let running = &mut self.running[at];
            running.since = Instant::now();
            running.limit = limit;
            return;
        }
        self.verdict(at, verb, name, text);
    }

    fn verdict(&mut self, at: usize, verb: &str, name: &str, text: &str) {
        let running = &mut self.running[at];
        running.unit.names.pop_front();
        let seconds = running.since.elapsed().as_secs_f64();
        running.since = Instant::now();
        let log = self.logs.join(log_name(&running.run, name));
        match verb {
            "pass" => {
                self.tally.passed += 1;
                println!("ok      {seconds:6.1} s  {name}");
                if !self.options.keep {
                    let _ = fs::remove_file(log);
                }
            }
            "skip" => {
                self.tally.skipped += 1;
                println!("skipped {seconds:6.1} s  {name}: {text}");
            }
            _ => {
                running.failed = true;
                self.tally.failed += 1;
                println!("FAILED  {seconds:6.1} s  {name}: {text}");
                show_tail(&log);
            }
        }
    }

    /// The child closed its report: it is done, failed or was killed.
    fn end(&mut self, id: u32) {
        let Some(at) = self.position(id) else { return };
        let Running { failed, timed_out, limit, .. } = self.running[at];
        if !failed && let Some(name) = self.running[at].unit.names.front().cloned() {
            let why = if timed_out {
                format!("not done after its limit of {} s", limit.as_secs())
            } else {
                "the process ended without a verdict".to_owned()
            };
            self.verdict(at, "fail", &name, &why);
            logs::save(self.running[at].run, &self.logs);
        }
        let mut running = self.running.swap_remove(at);
        kill_group(&running.child);
        let _ = running.child.wait();
        if !(self.options.keep && reaper::is_kept(&running.run)) {
            reaper::remove(&running.run);
        }
        if !running.unit.names.is_empty() {
            // What is left of the group gets a process, and so a lab, of its own.
            self.queue.push_front(running.unit);
        }
    }

    fn enforce_limits(&mut self) {
        for running in &mut self.running {
            if !running.timed_out && running.since.elapsed() > running.limit {
                running.timed_out = true;
                kill_group(&running.child);
            }
        }
    }

    fn stop_all(&mut self) {
        for mut running in self.running.drain(..) {
            kill_group(&running.child);
            let _ = running.child.wait();
            reaper::remove(&running.run);
        }
    }
}

fn spawn_child(run: &RunId, unit: &Unit, keep: bool, logs: &Path, write: &OwnedFd) -> anyhow::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["case", "--run", &run.to_string(), "--logs"]).arg(logs);
    if keep {
        command.arg("--keep");
    }
    command.arg("--").args(&unit.names).stdin(Stdio::null());
    let report = write.as_raw_fd();
    // SAFETY: setsid, dup2 and prctl are async-signal-safe and touch only the new process.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            if libc::dup2(report, REPORT_FD) < 0 || (report == REPORT_FD && libc::fcntl(report, libc::F_SETFD, 0) < 0) {
                return Err(std::io::Error::last_os_error());
            }
            // A killed runner takes its children along.
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
    command.spawn().context("starting a case's process")
}

fn kill_group(child: &Child) {
    // The child made a session of its own, so its process group is its id.
    let group = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    let _ = nix::sys::signal::killpg(group, Signal::SIGKILL);
}

fn show_tail(log: &Path) {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(TAIL_LINES)..] {
        println!("        | {line}");
    }
    println!("        log: {}", log.display());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_one_unit_and_lone_cases_come_last() {
        let case = |name: &str| Case::new(Suite::Lab, name, |_| Ok(()));
        let cases = [case("a").group("g"), case("b").alone(), case("c"), case("d").group("g")];
        let names = |repeat| -> Vec<String> {
            let all: Vec<&Case> = cases.iter().collect();
            units(&all, repeat).into_iter().map(|u| Vec::from(u.names).join("+")).collect()
        };
        assert_eq!(names(1), ["a+d", "c", "b"]);
        assert_eq!(names(2).len(), 6);
    }
}
