//! When the agent has been silent for longer than the hold time the node behaves as if announcer were absent.

use announcer_ebpf::abi::Outcome::{ArpAnswered, DeliveredNew, Expired, NotOurs};
use announcer_ebpf::abi::Runtime;
use anyhow::{Result, ensure};
use etherparse::{ArpOperation, IcmpEchoHeader, Icmpv4Type};

use super::super::frames::{BROADCAST, Packet, arp};
use super::super::rig::{Hook, Rig, Verdict, monotonic_ns};
use super::super::row::{Row, answered, delivered, forwarded, pass};
use super::super::scene::{
    CLIENT, CLIENT_MAC, CLIENT_PORT, NODE_ADDRS, NODE_MACS, OWN, POD_PORT, PODS, VIP, one, served_by, with_list,
};
use super::stage_two::{VIA_LEADER, here};
use super::{FROM, TO, at_pod};

/// The agent was last heard longer ago than the hold time.
fn silent(rig: &mut Rig) -> Result<()> {
    let runtime = rig.read_runtime()?;
    rig.runtime(Runtime { deadline: monotonic_ns()? - 1_000_000_000, ..runtime })
}

/// The agent writes a deadline ahead and clears the flag.
fn pushed(rig: &mut Rig) -> Result<()> {
    let runtime = rig.read_runtime()?;
    rig.runtime(Runtime { deadline: monotonic_ns()? + 600_000_000_000, expired: 0, ..runtime })
}

fn request() -> Vec<u8> {
    arp((CLIENT_MAC, BROADCAST), ArpOperation::REQUEST, (CLIENT_MAC, CLIENT), ([0; 6], VIP))
}

fn leader(rig: &mut Rig) -> Result<()> {
    rig.pods()?;
    rig.services(served_by(1, one(1)))
}

pub fn rows() -> Vec<Row> {
    let syn = Packet::syn(VIA_LEADER, TO);
    let data = Packet::tcp(FROM, TO);
    let reply = arp((OWN, CLIENT_MAC), ArpOperation::REPLY, (OWN, VIP), (CLIENT_MAC, CLIENT));
    vec![
        Row::new("ARP is neither answered nor suppressed after the deadline", Rig::led)
            .then("the agent is silent", silent)
            .ingress(request(), pass(Expired))
            .then("another leads", |rig| rig.led_elsewhere())
            .ingress(request(), pass(Expired)),
        Row::new("a new flow is passed up as it came after the deadline", here)
            .then("the agent is silent", silent)
            .ingress(syn.clone(), pass(Expired)),
        Row::new("a program that finds the deadline passed tells the leader's path by the flag", leader)
            .then("the agent is silent", silent)
            .ingress(request(), pass(Expired))
            .then("the flag is set", |rig| {
                ensure!(rig.read_runtime()?.expired != 0, "not set");
                Ok(())
            })
            .ingress(data.clone(), pass(Expired)),
        Row::new("a data path that was never started passes everything", leader)
            .then("deadline 0", |rig| {
                let runtime = rig.read_runtime()?;
                rig.runtime(Runtime { deadline: 0, ..runtime })
            })
            .ingress(request(), pass(Expired))
            .ingress(syn.clone(), pass(Expired)),
        Row::new("the agent's next push brings everything back", |rig| {
            rig.pods()?;
            rig.services(with_list(&[0], one(1))?)
        })
        .then("the agent is silent", silent)
        .ingress(request(), pass(Expired))
        .ingress(syn.clone(), pass(Expired))
        .then("the agent pushes", pushed)
        .ingress(request(), answered(ArpAnswered, reply))
        .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0))),
        Row::new("a reply leaves as it is after the deadline", here)
            .ingress(syn.clone(), delivered(DeliveredNew, at_pod(syn.clone(), 0)))
            .then("the agent is silent", silent)
            .egress(Packet::tcp((OWN, PODS[0], POD_PORT), (CLIENT_MAC, CLIENT, CLIENT_PORT)), pass(Expired)),
        Row::new("what is not for a VIP passes as ever after the deadline", leader)
            .then("the agent is silent", silent)
            .ingress(request(), pass(Expired))
            .ingress(Packet::tcp(FROM, (OWN, NODE_ADDRS[0], 22)), pass(NotOurs)),
        Row::new("the leader forwards until it is told", leader)
            .ingress(data.clone(), forwarded(data.forwarded(OWN, NODE_MACS[1]))),
    ]
}

/// The leader's path reads no clock: one packet in 256 of a CPU does, so 256 packets after the deadline all pass.
pub fn the_leader_notices_within_256_packets() -> Result<()> {
    let mut rig = Rig::lan()?;
    leader(&mut rig)?;
    silent(&mut rig)?;
    // One CPU, since the packets are counted by each.
    let mut one_cpu = nix::sched::CpuSet::new();
    let here = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0))?;
    let cpu = (0..nix::sched::CpuSet::count()).find(|cpu| here.is_set(*cpu).unwrap_or(false)).unwrap_or(0);
    one_cpu.set(cpu)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one_cpu)?;
    let packet = Packet::tcp(FROM, TO).bytes();
    let result = (0..257)
        .try_fold(0, |before, _| rig.run(Hook::Xdp, &packet).map(|ran| before + u32::from(ran.verdict == Verdict::Tx)));
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &here)?;
    let sent = result?;
    ensure!(sent < 257, "257 packets after the deadline were all forwarded");
    let expired = rig.outcome(Expired)?;
    ensure!(rig.read_runtime()?.expired != 0 && expired >= 1, "the flag is not set; {expired} passed");
    let ran = rig.run(Hook::Xdp, &packet)?;
    ensure!(ran.verdict == Verdict::Pass && ran.frame == packet, "still not as if announcer were absent");
    let ping =
        Packet::icmp((CLIENT_MAC, CLIENT), (OWN, VIP), Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 }))
            .bytes();
    let ran = rig.run(Hook::Xdp, &ping)?;
    ensure!(ran.verdict == Verdict::Pass && ran.frame == ping, "echo is still answered");
    Ok(())
}
