//! A row: a scene, then packets one after another, each with what must become of it.

use std::fmt;

use announcer_ebpf::abi::{Outcome, VipCounters};
use anyhow::{Context, Result, ensure};

use super::frames::Packet;
use super::rig::{Hook, Ran, Rig, Verdict};
use super::scene::{OTHER_VIP_INDEX, VIP_INDEX};

type Act = Box<dyn Fn(&mut Rig) -> Result<()>>;

/// One behaviour of a program.
pub struct Row {
    /// A sentence.
    pub name: &'static str,
    arrange: Act,
    steps: Vec<Step>,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

enum Step {
    Send { hook: Hook, frame: Vec<u8>, expect: Expect },
    Act(&'static str, Act),
}

/// What must become of a packet.
#[derive(Debug)]
pub struct Expect {
    verdict: Verdict,
    /// `None`: as it came in.
    frame: Option<Vec<u8>>,
    outcome: Outcome,
    /// Counters of the VIP [`VIP_INDEX`]; those of any other VIP stay.
    counted: VipCounters,
}

/// Anything that is a frame.
pub trait Frame {
    fn frame(self) -> Vec<u8>;
}

impl Frame for Packet {
    fn frame(self) -> Vec<u8> {
        self.bytes()
    }
}

impl Frame for Vec<u8> {
    fn frame(self) -> Vec<u8> {
        self
    }
}

/// Passed up as it came.
pub fn pass(outcome: Outcome) -> Expect {
    Expect { verdict: Verdict::Pass, frame: None, outcome, counted: VipCounters::default() }
}

/// Dropped; a VIP's drop counter rises.
pub fn dropped(outcome: Outcome) -> Expect {
    let counted = VipCounters { dropped: 1, ..VipCounters::default() };
    Expect { verdict: Verdict::Drop, frame: None, outcome, counted }
}

/// Dropped without a VIP to count it at.
pub fn dropped_uncounted(outcome: Outcome) -> Expect {
    Expect { counted: VipCounters::default(), ..dropped(outcome) }
}

/// Sent to a backend node as `frame`.
pub fn forwarded(frame: impl Frame) -> Expect {
    let frame = frame.frame();
    let counted = VipCounters { forwarded_packets: 1, forwarded_bytes: size(&frame), ..VipCounters::default() };
    Expect { verdict: Verdict::Tx, frame: Some(frame), outcome: Outcome::Forwarded, counted }
}

/// Sent to another owner as `frame`. It was counted at the VIP when it was forwarded, and will be when delivered.
pub fn handed(outcome: Outcome, frame: impl Frame) -> Expect {
    let counted = VipCounters::default();
    Expect { verdict: Verdict::Tx, frame: Some(frame.frame()), outcome, counted }
}

/// Bytes of a frame of IPv4 without what pads it to the least length of Ethernet.
fn size(frame: &[u8]) -> u64 {
    14 + u64::from(u16::from_be_bytes([frame[16], frame[17]]))
}

/// An answer to ARP or echo.
pub fn answered(outcome: Outcome, frame: impl Frame) -> Expect {
    let answers = u64::from(outcome == Outcome::ArpAnswered);
    let counted = VipCounters { answers, ..VipCounters::default() };
    Expect { verdict: Verdict::Tx, frame: Some(frame.frame()), outcome, counted }
}

/// Given to a pod as `frame`.
pub fn delivered(outcome: Outcome, frame: impl Frame) -> Expect {
    let frame = frame.frame();
    let counted = VipCounters { delivered_packets: 1, delivered_bytes: size(&frame), ..VipCounters::default() };
    Expect { verdict: Verdict::Pass, frame: Some(frame), outcome, counted }
}

/// A reply that leaves as `frame`.
pub fn replied(frame: impl Frame) -> Expect {
    let frame = frame.frame();
    let counted = VipCounters { replied_packets: 1, replied_bytes: frame.len() as u64, ..VipCounters::default() };
    Expect { verdict: Verdict::Pass, frame: Some(frame), outcome: Outcome::ReplyTranslated, counted }
}

impl Row {
    pub fn new(name: &'static str, arrange: impl Fn(&mut Rig) -> Result<()> + 'static) -> Self {
        Self { name, arrange: Box::new(arrange), steps: Vec::new() }
    }

    /// A frame from the LAN.
    #[must_use]
    pub fn ingress(self, frame: impl Frame, expect: Expect) -> Self {
        self.send(Hook::Xdp, frame.frame(), expect)
    }

    /// A frame on its way out of the node.
    #[must_use]
    pub fn egress(self, frame: impl Frame, expect: Expect) -> Self {
        self.send(Hook::Egress, frame.frame(), expect)
    }

    fn send(mut self, hook: Hook, frame: Vec<u8>, expect: Expect) -> Self {
        self.steps.push(Step::Send { hook, frame, expect });
        self
    }

    /// A change of the maps, or a look at them.
    #[must_use]
    pub fn then(mut self, what: &'static str, act: impl Fn(&mut Rig) -> Result<()> + 'static) -> Self {
        self.steps.push(Step::Act(what, Box::new(act)));
        self
    }

    /// The outcomes that the row shows.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.steps.iter().filter_map(|step| match step {
            Step::Send { expect, .. } => Some(expect.outcome),
            Step::Act(..) => None,
        })
    }

    /// Plays the row, whatever was played on the rig before.
    pub fn play(&self, rig: &mut Rig) -> Result<()> {
        rig.clear()?;
        rig.set_up()?;
        (self.arrange)(rig).context("arrange")?;
        for (at, step) in self.steps.iter().enumerate() {
            match step {
                Step::Send { hook, frame, expect } => {
                    expect.check(rig, *hook, frame).with_context(|| format!("step {}", at + 1))?;
                }
                Step::Act(what, act) => act(rig).with_context(|| format!("step {}: {what}", at + 1))?,
            }
        }
        Ok(())
    }
}

impl Expect {
    fn check(&self, rig: &Rig, hook: Hook, frame: &[u8]) -> Result<()> {
        let (outcomes, vip, other) = counters(rig)?;
        let ran = rig.run(hook, frame)?;
        let (outcomes_after, vip_after, other_after) = counters(rig)?;
        let counted: Vec<_> = outcomes_after
            .iter()
            .filter_map(|(outcome, after)| {
                let more = after - outcomes.get(outcome).copied().unwrap_or(0);
                (more > 0).then_some((outcome.name(), more))
            })
            .collect();
        ensure!(
            counted == [(self.outcome.name(), 1)],
            "expected one {}, counted {counted:?}; verdict {:?}",
            self.outcome.name(),
            ran.verdict
        );
        ensure!(ran.verdict == self.verdict, "expected {:?}, got {:?}", self.verdict, ran.verdict);
        // What is dropped may be left in any state.
        let expected = self.frame.as_deref().unwrap_or(frame);
        if self.verdict != Verdict::Drop {
            ensure!(ran.frame == expected, "frame differs\n{}", Difference { expected, ran: &ran });
        }
        let difference = difference(&vip, &vip_after);
        ensure!(difference == self.counted, "VIP counters: expected {:?}, got {difference:?}", self.counted);
        ensure!(other == other_after, "another VIP's counters rose: {other:?} to {other_after:?}");
        Ok(())
    }
}

fn counters(rig: &Rig) -> Result<(std::collections::BTreeMap<Outcome, u64>, VipCounters, VipCounters)> {
    Ok((rig.outcomes()?, rig.vip_counters(VIP_INDEX)?, rig.vip_counters(OTHER_VIP_INDEX)?))
}

fn difference(before: &VipCounters, after: &VipCounters) -> VipCounters {
    VipCounters {
        forwarded_packets: after.forwarded_packets - before.forwarded_packets,
        forwarded_bytes: after.forwarded_bytes - before.forwarded_bytes,
        delivered_packets: after.delivered_packets - before.delivered_packets,
        delivered_bytes: after.delivered_bytes - before.delivered_bytes,
        replied_packets: after.replied_packets - before.replied_packets,
        replied_bytes: after.replied_bytes - before.replied_bytes,
        answers: after.answers - before.answers,
        dropped: after.dropped - before.dropped,
    }
}

/// Two frames as hex, with the first byte that differs named.
struct Difference<'a> {
    expected: &'a [u8],
    ran: &'a Ran,
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = &self.ran.frame;
        let first = self.expected.iter().zip(got).position(|(a, b)| a != b);
        let first = first.unwrap_or(self.expected.len().min(got.len()));
        writeln!(f, "first at byte {first} (lengths {} and {})", self.expected.len(), got.len())?;
        for (name, frame) in [("expected", self.expected), ("got     ", got.as_slice())] {
            write!(f, "{name}")?;
            for (at, byte) in frame.iter().take(96).enumerate() {
                let mark = if at == 14 || at == 34 {
                    " | "
                } else if at % 4 == 2 {
                    " "
                } else {
                    ""
                };
                write!(f, "{mark}{byte:02x}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
