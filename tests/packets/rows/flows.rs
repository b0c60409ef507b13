//! What a backend node remembers, where, and for how long.

use std::net::Ipv4Addr;

use announcer_ebpf::abi::Outcome::{DeliveredAtEnd, DeliveredKnown, DeliveredNew, DropFlowTableFull};
use announcer_ebpf::abi::{FLOW_CLIENT_FIN, FLOW_POD_FIN, FLOW_RESET, FlowEntry, FlowKey, addr, map};
use anyhow::{Context, Result, ensure};
use aya::EbpfLoader;
use aya::maps::{HashMap, MapData};

use super::super::frames::Packet;
use super::super::rig::{Hook, LINK_GLOBAL, Rig, Verdict};
use super::super::row::{Row, delivered, replied};
use super::super::scene::{
    CLIENT, CLIENT_MAC, CLIENT_PORT, LINK, NODE_MACS, OWN, POD_PORT, PODS, PORT, TCP, Table, UDP, VIP, VIP_INDEX, ago,
    flow_key, reverse_key,
};
use super::stage_two::{VIA_LEADER, here};
use super::{TO, at_pod};

/// Both entries of the client's flow are in `table` and not in the other.
fn only_in(table: Table, protocol: u8) -> impl Fn(&mut Rig) -> Result<()> {
    move |rig| {
        let other = if table == Table::Half { Table::Full } else { Table::Half };
        let (flow, reverse) = (flow_key(CLIENT_PORT, protocol), reverse_key(0, CLIENT_PORT, protocol));
        let entry = rig.flow(table, flow)?.with_context(|| format!("no flow in {table:?}"))?;
        ensure!((entry.endpoint, entry.generation) == (1, 1), "{entry:?}");
        let back = rig.reverse(table, reverse)?.with_context(|| format!("no reverse entry in {table:?}"))?;
        ensure!(
            (back.vip, back.port, back.vip_index) == (addr(VIP), PORT.to_be(), VIP_INDEX),
            "reverse entry {back:?}"
        );
        ensure!(rig.flow(other, flow)?.is_none(), "the flow is in {other:?} too");
        ensure!(rig.reverse(other, reverse)?.is_none(), "the reverse entry is in {other:?} too");
        Ok(())
    }
}

/// The client's flow has exactly these `FLOW_*` bits, in its entry or the reverse one.
fn state(expected: u32) -> impl Fn(&mut Rig) -> Result<()> {
    move |rig| {
        let flow = rig.flow(Table::Full, flow_key(CLIENT_PORT, TCP))?.context("no flow")?;
        let back = rig.reverse(Table::Full, reverse_key(0, CLIENT_PORT, TCP))?.context("no reverse entry")?;
        let state = flow.state | back.state;
        ensure!(state == expected, "state {state:#x}, expected {expected:#x}");
        Ok(())
    }
}

/// Ages the client's flow: its entry says that the client was last seen `ms` ago.
fn last_seen(ms: u64) -> impl Fn(&mut Rig) -> Result<()> {
    move |rig| {
        let key = flow_key(CLIENT_PORT, TCP);
        let entry = rig.flow(Table::Full, key)?.context("no flow")?;
        rig.set_flow(Table::Full, key, FlowEntry { seen: ago(ms)?, ..entry })
    }
}

pub fn rows() -> Vec<Row> {
    let syn = Packet::syn(VIA_LEADER, TO);
    let data = Packet::tcp(VIA_LEADER, TO);
    let udp = Packet::udp(VIA_LEADER, TO);
    let new = |packet: &Packet| delivered(DeliveredNew, at_pod(packet.clone(), 0));
    let known = |packet: &Packet| delivered(DeliveredKnown, at_pod(packet.clone(), 0));
    let reply = Packet::tcp((OWN, PODS[0], POD_PORT), (CLIENT_MAC, CLIENT, CLIENT_PORT));
    let sent_on = |packet: &Packet| replied(packet.clone().source(VIP, PORT));
    let (client_fin, client_rst) = (data.clone().flags(|tcp| tcp.fin = true), data.clone().flags(|tcp| tcp.rst = true));
    let (pod_fin, pod_rst) = (reply.clone().flags(|tcp| tcp.fin = true), reply.clone().flags(|tcp| tcp.rst = true));
    vec![
        Row::new("a SYN is remembered among the half-open, and so is a SYN sent again", here)
            .ingress(syn.clone(), new(&syn))
            .then("half-open", only_in(Table::Half, TCP))
            .ingress(syn.clone(), known(&syn))
            .then("half-open still", only_in(Table::Half, TCP)),
        Row::new("the first segment after the SYN moves the flow to the flow table, both ways", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .then("known", only_in(Table::Full, TCP)),
        Row::new("the pod's answer alone does not make a flow known", here)
            .ingress(syn.clone(), new(&syn))
            .egress(reply.clone(), sent_on(&reply))
            .then("half-open still", only_in(Table::Half, TCP)),
        Row::new("a UDP flow is known at its second datagram", here)
            .ingress(udp.clone(), new(&udp))
            .then("half-open", only_in(Table::Half, UDP))
            .ingress(udp.clone(), known(&udp))
            .then("known", only_in(Table::Full, UDP)),
        Row::new("the time of a flow is written once in 8 s", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .then("seen 4 s ago", last_seen(4_000))
            .ingress(data.clone(), known(&data))
            .then("not written", |rig| {
                let seen = rig.flow(Table::Full, flow_key(CLIENT_PORT, TCP))?.context("no flow")?.seen;
                ensure!(ago(3_000)?.wrapping_sub(seen) < u32::MAX / 2, "written although 4 s young");
                Ok(())
            })
            .then("seen 20 s ago", last_seen(20_000))
            .ingress(data.clone(), known(&data))
            .then("written", |rig| {
                let seen = rig.flow(Table::Full, flow_key(CLIENT_PORT, TCP))?.context("no flow")?.seen;
                ensure!(seen.wrapping_sub(ago(5_000)?) < u32::MAX / 2, "not written although 20 s old");
                Ok(())
            }),
        Row::new("a FIN of the client, then one of the pod, are remembered", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .then("open", state(0))
            .ingress(client_fin.clone(), known(&client_fin))
            .then("half closed", state(FLOW_CLIENT_FIN))
            .egress(pod_fin.clone(), sent_on(&pod_fin))
            .then("closed", state(FLOW_CLIENT_FIN | FLOW_POD_FIN))
            .ingress(data.clone(), known(&data)),
        Row::new("a reset of the client is remembered", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .ingress(client_rst.clone(), known(&client_rst))
            .then("reset", state(FLOW_RESET)),
        Row::new("a reset of the pod is remembered", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .egress(pod_rst.clone(), sent_on(&pod_rst))
            .then("reset", state(FLOW_RESET)),
        Row::new("a flow that was reset is forgotten after 10 s of silence", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .ingress(client_rst.clone(), known(&client_rst))
            .then("seen 5 s ago", last_seen(5_000))
            .ingress(data.clone(), known(&data))
            .then("seen 11 s ago", last_seen(11_000))
            .ingress(data.clone(), delivered(DeliveredAtEnd, at_pod(data.clone(), 0))),
        Row::new("a SYN on a closed flow opens it again at its pod", here)
            .ingress(syn.clone(), new(&syn))
            .ingress(data.clone(), known(&data))
            .ingress(client_rst.clone(), known(&client_rst))
            .ingress(syn.clone(), known(&syn))
            .ingress(data.clone(), known(&data))
            .then("open", state(0)),
    ]
}

/// In place of the half-open table an ordinary map of one entry, which is taken.
pub fn a_full_table_refuses_the_flow() -> Result<()> {
    crate::lab::mount_bpffs()?;
    let pins = std::path::PathBuf::from(format!("/sys/fs/bpf/announcer-tests-{}", std::process::id()));
    std::fs::create_dir(&pins).with_context(|| format!("making {} (is bpffs mounted?)", pins.display()))?;
    let result = with_a_full_table(&pins.join(map::HALF_OPEN));
    std::fs::remove_dir_all(&pins)?;
    result
}

fn with_a_full_table(pin: &std::path::Path) -> Result<()> {
    let mut full = HashMap::<MapData, FlowKey, FlowEntry>::create(1, 0)?;
    full.insert(FlowKey::default(), FlowEntry::default(), 0)?;
    full.pin(pin)?;
    let mut loader = EbpfLoader::new();
    loader.override_global(LINK_GLOBAL, &LINK, true);
    loader.map_pin_path(map::HALF_OPEN, pin);
    let mut rig = Rig::load_with(loader, announcer::datapath::OBJECT)?;
    rig.set_up()?;
    here(&mut rig)?;
    for packet in [Packet::syn(VIA_LEADER, TO), Packet::udp(VIA_LEADER, TO)] {
        let ran = rig.run(Hook::Xdp, &packet.bytes())?;
        ensure!(ran.verdict == Verdict::Drop, "{:?}", ran.verdict);
    }
    let counted = rig.outcomes()?;
    ensure!(counted.get(&DropFlowTableFull) == Some(&2), "counted {counted:?}");
    ensure!(rig.vip_counters(VIP_INDEX)?.dropped == 2, "not counted at the VIP");
    Ok(())
}

/// Established flows are all there after a flood of SYNs many times the size of the half-open tables.
pub fn a_syn_flood_evicts_only_half_open_flows() -> Result<()> {
    const ESTABLISHED: u16 = 200;
    const FLOOD: u32 = 20_000;
    let mut rig = Rig::load_sized(LINK, 2_048)?;
    rig.set_up()?;
    here(&mut rig)?;
    let held = |port: u16| (NODE_MACS[1], CLIENT, 20_000 + port);
    for port in 0..ESTABLISHED {
        for packet in [Packet::syn(held(port), TO), Packet::tcp(held(port), TO)] {
            ensure!(rig.run(Hook::Xdp, &packet.bytes())?.verdict == Verdict::Pass, "flow {port} set up");
        }
    }
    for n in 0..FLOOD {
        let from = (NODE_MACS[1], Ipv4Addr::from(0xc633_6400 + n / 60_000), (1_024 + n % 60_000) as u16);
        let ran = rig.run(Hook::Xdp, &Packet::syn(from, TO).bytes())?;
        ensure!(ran.verdict == Verdict::Pass, "SYN {n} of the flood: {:?}", ran.verdict);
    }
    let known = rig.outcome(DeliveredKnown)?;
    for port in 0..ESTABLISHED {
        let key = announcer_ebpf::abi::ReverseKey {
            client_port: (20_000 + port).to_be(),
            ..reverse_key(0, CLIENT_PORT, TCP)
        };
        ensure!(rig.reverse(Table::Full, key)?.is_some(), "reverse entry {port} is gone");
        let packet = Packet::tcp(held(port), TO);
        let ran = rig.run(Hook::Xdp, &packet.bytes())?;
        ensure!(ran.frame == at_pod(packet, 0).bytes(), "flow {port}");
    }
    let known = rig.outcome(DeliveredKnown)? - known;
    ensure!(known == u64::from(ESTABLISHED), "only {known} of {ESTABLISHED} flows are known after the flood");
    Ok(())
}
