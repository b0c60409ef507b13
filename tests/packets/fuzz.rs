//! Random and mutated frames: no verdict but the three, and what is not ours is passed up to the byte.

use announcer_ebpf::abi::Outcome;
use anyhow::{Context, Result, ensure};
use etherparse::{ArpOperation, IcmpEchoHeader, Icmpv4Type};

use super::frames::{BROADCAST, Packet, arp};
use super::rig::{Hook, Rig, Verdict};
use super::scene::{
    CLIENT, CLIENT_MAC, CLIENT_PORT, NODE_ADDRS, NODE_MACS, OWN, POD_PORT, PODS, PORT, VIP, one, with_list,
};

/// Frames of a run.
const FRAMES: u32 = 20_000;

/// Outcomes that promise an untouched frame.
const UNTOUCHED: [Outcome; 4] = [Outcome::NotOurs, Outcome::Expired, Outcome::KernelPath, Outcome::ReplyNotOurs];

/// xorshift64*: enough to vary frames, and the same on every machine for a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize * limit) >> 32
    }
}

/// Frames that reach deep into the programs, to be mutated.
fn seeds() -> Vec<Vec<u8>> {
    let client = (CLIENT_MAC, CLIENT, CLIENT_PORT);
    let leader = (NODE_MACS[1], CLIENT, CLIENT_PORT);
    let vip = (OWN, VIP, PORT);
    let back = (CLIENT_MAC, CLIENT, CLIENT_PORT);
    let ping = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 7, seq: 1 });
    vec![
        Packet::syn(client, vip).bytes(),
        Packet::tcp(client, vip).payload(*b"payload").bytes(),
        Packet::syn(leader, vip).bytes(),
        Packet::tcp(leader, vip).payload(*b"payload").bytes(),
        Packet::tcp(leader, vip).options(&[1; 40]).bytes(),
        Packet::udp(client, vip).payload(*b"payload").bytes(),
        Packet::udp(leader, vip).payload(*b"payload").without_udp_checksum().bytes(),
        Packet::tcp(leader, vip).handed(0x88b5, 1).bytes(),
        Packet::udp(leader, vip).handed(0x88b6, 7).bytes(),
        Packet::icmp((CLIENT_MAC, CLIENT), (OWN, VIP), ping).payload([9; 30]).bytes(),
        Packet::tcp(client, (OWN, NODE_ADDRS[0], 22)).bytes(),
        Packet::tcp((OWN, PODS[0], POD_PORT), back).payload(*b"reply").bytes(),
        Packet::udp((OWN, PODS[0], POD_PORT), back).payload(*b"reply").bytes(),
        arp((CLIENT_MAC, BROADCAST), ArpOperation::REQUEST, (CLIENT_MAC, CLIENT), ([0; 6], VIP)),
        arp((CLIENT_MAC, BROADCAST), ArpOperation::REPLY, (CLIENT_MAC, VIP), ([0; 6], VIP)),
    ]
}

/// A frame for step `n`: one in eight random, the others a seed with some bytes changed, cut or lengthened.
fn frame(random: &mut Random, seeds: &[Vec<u8>], n: u32) -> Vec<u8> {
    if n.is_multiple_of(8) {
        let length = 14 + random.below(200);
        return (0..length).map(|_| random.next() as u8).collect();
    }
    let mut frame = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(4) {
        let at = random.below(frame.len());
        frame[at] = match random.below(3) {
            0 => random.next() as u8,
            1 => frame[at] ^ (1 << random.below(8)),
            _ => [0, 1, 0x45, 0x7f, 0x80, 0xff][random.below(6)],
        };
    }
    if random.below(6) == 0 {
        let length = 14 + random.below(frame.len() - 13);
        frame.resize(length.max(14), 0);
    }
    frame
}

/// [`FRAMES`] frames through both programs on a busy node. The seed is `ANNOUNCER_TEST_SEED`, or of the clock.
pub fn random_frames() -> Result<()> {
    let seed = match std::env::var("ANNOUNCER_TEST_SEED") {
        Ok(seed) => seed.parse().context("ANNOUNCER_TEST_SEED is a number")?,
        Err(_) => super::rig::monotonic_ns()? | 1,
    };
    println!("seed: ANNOUNCER_TEST_SEED={seed}");
    let mut rig = Rig::lan()?;
    rig.pods()?;
    rig.services(with_list(&[0, 2, 1], one(1))?)?;
    let mut random = Random(seed);
    let seeds = seeds();
    for n in 0..FRAMES {
        let frame = frame(&mut random, &seeds, n);
        let hook = if frame.len() >= 34 && random.below(4) == 0 { Hook::Egress } else { Hook::Xdp };
        step(&rig, hook, &frame).with_context(|| format!("seed {seed}, frame {n} to {hook:?}: {frame:02x?}"))?;
    }
    Ok(())
}

fn step(rig: &Rig, hook: Hook, frame: &[u8]) -> Result<()> {
    let counted = |rig: &Rig| UNTOUCHED.iter().map(|outcome| rig.outcome(*outcome)).sum::<Result<u64>>();
    let before = counted(rig)?;
    let ran = match rig.run(hook, frame) {
        // The kernel's own test harness refuses some frames of tc before the program sees them.
        Err(_) if hook == Hook::Egress && harness_refuses(rig, frame) => return Ok(()),
        other => other?,
    };
    if counted(rig)? > before {
        ensure!(ran.verdict == Verdict::Pass, "said to be passed up, but {:?}", ran.verdict);
        ensure!(ran.frame == frame, "said to be untouched, but came out as {:02x?}", ran.frame);
    }
    ensure!(ran.frame.len() == frame.len(), "{} bytes became {}", frame.len(), ran.frame.len());
    Ok(())
}

/// Whether the refusal is of the harness: no outcome was counted, so no program ran.
fn harness_refuses(rig: &Rig, frame: &[u8]) -> bool {
    let before = rig.outcomes().ok();
    let refused = rig.run(Hook::Egress, frame).is_err();
    refused && rig.outcomes().ok() == before
}
