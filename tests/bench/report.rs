//! The figures as a table or JSON.

use announcer_ebpf::abi::program;
use announcer_ebpf::bench::SAME;
use anyhow::{Context, Result};
use aya::programs::{SchedClassifier, Xdp};
use serde::Serialize;

use super::measure::{self, Row};

/// All that was measured, and on what.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    kernel: String,
    processor: String,
    cpu: usize,
    jit: bool,
    runs: u32,
    repeat: u32,
    rows: Vec<Row>,
    programs: Vec<Size>,
}

/// Nanoseconds of XDP_PASS where the goals were set and Katran was measured.
const REFERENCE_FLOOR: u64 = 6;

/// What the verifier and the JIT say of a program.
#[derive(Debug, Serialize)]
pub(super) struct Size {
    name: &'static str,
    /// Instructions that the verifier walked through, all paths together.
    verified_instructions: Option<u32>,
    translated_bytes: Option<u32>,
    jited_bytes: u32,
}

/// Sizes of the agent's own programs, as loaded.
pub(super) fn programs(object: &[u8]) -> Result<Vec<Size>> {
    let mut rig = measure::load(object, SAME)?;
    let frags: &mut Xdp = rig.bpf.program_mut(program::XDP_FRAGS).context("no program for frags")?.try_into()?;
    frags.load()?;
    let mut sizes = Vec::new();
    for name in [program::XDP, program::XDP_FRAGS, program::EGRESS] {
        let loaded = rig.bpf.program(name).with_context(|| format!("no program {name}"))?;
        let info = match name {
            program::EGRESS => <&SchedClassifier>::try_from(loaded)?.info()?,
            _ => <&Xdp>::try_from(loaded)?.info()?,
        };
        sizes.push(Size {
            name,
            verified_instructions: info.verified_instruction_count(),
            translated_bytes: info.size_translated(),
            jited_bytes: info.size_jitted(),
        });
    }
    Ok(sizes)
}

impl Report {
    pub(super) fn new(cpu: usize, runs: u32, repeat: u32, rows: Vec<Row>, programs: Vec<Size>) -> Self {
        let line = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let processor = line("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name.to_owned()))
            .unwrap_or_else(|| "unknown processor".to_owned());
        Self {
            kernel: line("/proc/sys/kernel/osrelease"),
            processor,
            cpu,
            // 2 is "on, with traces"; a kernel with the JIT built in for good has no such file.
            jit: line("/proc/sys/net/core/bpf_jit_enable") != "0",
            runs,
            repeat,
            rows,
            programs,
        }
    }

    pub(super) fn print(&self) {
        println!(
            "Nanoseconds a packet, BPF_PROG_TEST_RUN, {} packets a run, {} runs, least / median.",
            grouped(self.repeat),
            self.runs
        );
        println!(
            "{}, CPU {}, kernel {}, JIT {}.",
            self.processor,
            self.cpu,
            self.kernel,
            if self.jit { "on" } else { "OFF" }
        );
        println!();
        println!(
            "{:<36} {:>9} {:>9} {:>11} {:>5} {:>5}  Katran",
            "case", "floor", "restore", "measured", "net", "goal"
        );
        for row in &self.rows {
            let pair = |figure: measure::Figure| format!("{} / {}", figure.min, figure.median);
            let goal = row.goal.map_or_else(|| "-".to_owned(), |goal| goal.to_string());
            println!(
                "{:<36} {:>9} {:>9} {:>11} {:>5} {:>5}  {}",
                row.name,
                pair(row.floor),
                pair(row.control),
                pair(row.case),
                row.net(),
                goal,
                row.katran.unwrap_or("-")
            );
        }
        println!();
        println!("floor: a program that only returns its verdict (XDP_PASS, TC_ACT_OK), in the same run.");
        println!("restore: that, and the frame put back, since a test run gives a program its own output again.");
        println!("measured: the agent's function, and the frame put back. net: its median less restore over floor.");
        println!(
            "goal: the most that the project allows for `measured` on a machine whose floor is {REFERENCE_FLOOR} ns."
        );
        println!(
            "Katran: its figure for the like, by the same method on such a machine (2.3 GHz Xeon, kernel 6.18), with"
        );
        println!("its wrapper's 2-3 ns included. It was not measured here.");
        if let Some(floor) = self.rows.iter().map(|row| row.floor.min).min().filter(|floor| *floor > REFERENCE_FLOOR) {
            println!(
                "The floor of this machine is {floor} ns: the last two columns cannot be compared with the others."
            );
        }
        println!();
        for size in &self.programs {
            let number = |value: Option<u32>| value.map_or_else(|| "?".to_owned(), grouped);
            println!(
                "{:<18} {} instructions verified, {} bytes translated, {} bytes JITed",
                size.name,
                number(size.verified_instructions),
                number(size.translated_bytes),
                grouped(size.jited_bytes)
            );
        }
    }
}

/// A number with its thousands apart.
fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(super::grouped(7), "7");
        assert_eq!(super::grouped(1_000), "1,000");
        assert_eq!(super::grouped(1_234_567), "1,234,567");
    }
}
