//! Handing on what a node does not know, by its own list of owners (frames of EtherType 0x88b5 and 0x88b6).

use announcer_ebpf::abi::Outcome::{
    DeliveredAtEnd, DeliveredKnown, DeliveredNew, DropListChanged, DropMalformed, DropNoBackend, DropStranger, DropTtl,
    DropUnknownService, HandedOn, HandedToTake, NotOurs,
};
use announcer_ebpf::abi::{Earlier, NODE_PRESENT, ServiceEntry, TableRef};
use anyhow::Result;

use super::super::frames::Packet;
use super::super::rig::Rig;
use super::super::row::{Row, delivered, dropped, dropped_uncounted, forwarded, handed as sent, pass};
use super::super::scene::{
    CLIENT, CLIENT_PORT, NODE_MACS, OTHER_VIP, OTHER_VIP_INDEX, OWN, PORT, STRANGER, TCP, UDP, VIP, ago, one,
    service_key, with_list,
};
use super::stage_two::VIA_LEADER;
use super::{FROM, TO, at_pod};

/// "Handed on", IEEE 802 local experimental EtherType 1.
const HANDED: u16 = 0x88b5;
/// "Take it", IEEE 802 local experimental EtherType 2.
const TAKE_IT: u16 = 0x88b6;

/// The Service with these owners, newest first, pod 0 the only local endpoint.
fn list<const N: usize>(owners: [u32; N]) -> impl Fn(&mut Rig) -> Result<()> {
    move |rig| rig.services(with_list(&owners, one(1))?)
}

/// A segment or datagram as `sender` hands it on after `hop` hops.
fn handed(packet: Packet, sender: usize, ether_type: u16, hop: u8) -> Packet {
    packet.hop(NODE_MACS[sender], OWN).handed(ether_type, hop)
}

/// As this node sends it on to `node`.
fn on_to(packet: Packet, node: usize, ether_type: u16, hop: u8) -> Packet {
    packet.forwarded(OWN, NODE_MACS[node]).handed(ether_type, hop)
}

pub fn rows() -> Vec<Row> {
    let mut rows = walking();
    rows.extend(ending());
    rows.extend(arriving());
    rows.extend(leading());
    rows.extend(refusing());
    rows
}

fn data() -> Packet {
    Packet::tcp(VIA_LEADER, TO).ttl(63).payload(*b"data")
}

fn udp() -> Packet {
    Packet::udp(VIA_LEADER, TO).ttl(63).payload(*b"data")
}

fn walking() -> Vec<Row> {
    vec![
        Row::new("a node hands an unknown flow on to the owner after itself", Rig::pods)
            .then("list 0 2", list([0, 2]))
            .ingress(data(), sent(HandedOn, on_to(data(), 2, HANDED, 1)))
            .ingress(udp(), sent(HandedOn, on_to(udp(), 2, HANDED, 1))),
        Row::new("the walk goes round the end of the list", Rig::pods)
            .then("list 2 0", list([2, 0]))
            .ingress(data(), sent(HandedOn, on_to(data(), 2, HANDED, 1))),
        Row::new("the leader is asked as well when it is an older owner", Rig::pods)
            .then("list 0 1", list([0, 1]))
            .ingress(data(), sent(HandedOn, on_to(data(), 1, HANDED, 1))),
        Row::new("a handed frame goes on with the next hop number", Rig::pods)
            .then("list 1 0 2", list([1, 0, 2]))
            .ingress(handed(data(), 1, HANDED, 1), sent(HandedOn, on_to(data(), 2, HANDED, 2))),
        Row::new("a handed frame never goes back to its sender", Rig::pods)
            .then("list 0 1 2", list([0, 1, 2]))
            .ingress(handed(data(), 1, HANDED, 1), sent(HandedOn, on_to(data(), 2, HANDED, 2))),
        Row::new("a node that is not in its own list begins at the newest owner", Rig::pods)
            .then("list 1 2", list([1, 2]))
            .ingress(data(), sent(HandedOn, on_to(data(), 1, HANDED, 1)))
            .ingress(handed(data(), 1, HANDED, 1), sent(HandedOn, on_to(data(), 2, HANDED, 2)))
            .ingress(handed(data(), 2, HANDED, 2), sent(HandedOn, on_to(data(), 1, HANDED, 3))),
        Row::new("owners whose data path is dead are left out", Rig::pods)
            .then("list 0 1 2", list([0, 1, 2]))
            .then("node 1 is dead", |rig| rig.node(1, NODE_PRESENT))
            .ingress(data(), sent(HandedOn, on_to(data(), 2, HANDED, 1))),
        Row::new("an owner that is twice in the list counts once", Rig::pods)
            .then("list 0 0 2 0 2", list([0, 0, 2, 0, 2]))
            .ingress(data(), sent(HandedOn, on_to(data(), 2, HANDED, 1)))
            .ingress(handed(data(), 1, HANDED, 2), delivered(DeliveredAtEnd, at_pod(data().hop(NODE_MACS[1], OWN), 0))),
        Row::new("for UDP a table superseded before the timeout is left out, for TCP not", Rig::pods)
            .then("superseded an hour ago", |rig| {
                let mut entry = with_list(&[0, 2], one(1))?;
                entry.earlier[0] = Earlier { table: one(2), superseded: ago(3_600_000)? };
                rig.services(entry)
            })
            .ingress(data(), sent(HandedOn, on_to(data(), 2, HANDED, 1)))
            .ingress(udp(), delivered(DeliveredNew, at_pod(udp(), 0))),
        Row::new("TTL 1 is not handed on", Rig::pods)
            .then("list 0 2", list([0, 2]))
            .ingress(data().ttl(1), dropped(DropTtl)),
    ]
}

fn ending() -> Vec<Row> {
    let at_end = |packet: Packet, from: usize| delivered(DeliveredAtEnd, at_pod(packet.hop(NODE_MACS[from], OWN), 0));
    vec![
        Row::new("at the end of the list a segment goes to the pod of its hash, whose reset answers", Rig::pods)
            .then("list 0 1", list([0, 1]))
            .ingress(handed(data(), 1, HANDED, 1), at_end(data(), 1)),
        Row::new("a flow that the pod at the end took without a reset is remembered", Rig::pods)
            .then("list 0 1", list([0, 1]))
            .ingress(handed(data(), 1, HANDED, 1), at_end(data(), 1))
            .ingress(data(), delivered(DeliveredKnown, at_pod(data(), 0))),
        Row::new("within 3 s of a change of the own list the end is a drop", Rig::pods)
            .then("changed a second ago", |rig| {
                rig.services(ServiceEntry { changed: ago(1_000)?, ..with_list(&[0, 1], one(1))? })
            })
            .ingress(handed(data(), 1, HANDED, 1), dropped(DropListChanged)),
        Row::new("after 7 hops the walk ends whatever the list says", Rig::pods)
            .then("list 0 1 2", list([0, 1, 2]))
            .ingress(handed(data(), 1, HANDED, 7), at_end(data(), 1)),
        Row::new("at the end UDP goes back to the newest owner to be taken", Rig::pods)
            .then("list 1 0", list([1, 0]))
            .ingress(handed(udp(), 2, HANDED, 2), sent(HandedToTake, on_to(udp(), 1, TAKE_IT, 3))),
        Row::new("at the end UDP stays where this node is the newest owner", Rig::pods)
            .then("list 0 1", list([0, 1]))
            .ingress(handed(udp(), 1, HANDED, 2), delivered(DeliveredNew, at_pod(udp().hop(NODE_MACS[1], OWN), 0))),
        Row::new("at the end without a local endpoint a segment is dropped", Rig::pods)
            .then("list 0 1, no pod here", |rig| rig.services(with_list(&[0, 1], TableRef::default())?))
            .ingress(handed(data(), 1, HANDED, 1), dropped(DropNoBackend)),
    ]
}

fn arriving() -> Vec<Row> {
    let from = |packet: Packet| packet.hop(NODE_MACS[2], OWN);
    vec![
        Row::new("a handed frame of a known flow is delivered with its kind restored", Rig::pods)
            .then("list 0 2", list([0, 2]))
            .ingress(Packet::syn(VIA_LEADER, TO), delivered(DeliveredNew, at_pod(Packet::syn(VIA_LEADER, TO), 0)))
            .ingress(handed(data(), 2, HANDED, 3), delivered(DeliveredKnown, at_pod(from(data()), 0))),
        Row::new("what is to be taken is taken as a new flow, SYN, segment or datagram", Rig::pods)
            .then("list 2 0", list([2, 0]))
            .ingress(
                handed(Packet::syn(VIA_LEADER, TO), 2, TAKE_IT, 1),
                delivered(DeliveredNew, at_pod(from(Packet::syn(VIA_LEADER, TO)), 0)),
            )
            .ingress(handed(udp(), 2, TAKE_IT, 4), delivered(DeliveredNew, at_pod(from(udp()), 0)))
            .ingress(udp(), delivered(DeliveredKnown, at_pod(udp(), 0))),
        Row::new("what is to be taken where nothing is ready is dropped", Rig::pods)
            .then("no pod here", |rig| rig.services(with_list(&[2, 0], TableRef::default())?))
            .ingress(handed(Packet::syn(VIA_LEADER, TO), 2, TAKE_IT, 1), dropped(DropNoBackend))
            .ingress(handed(udp(), 2, TAKE_IT, 1), dropped(DropNoBackend)),
        Row::new("the hop number's every value is restored to version 4", Rig::pods)
            .then("list 0", list([0]))
            .ingress(Packet::syn(VIA_LEADER, TO), delivered(DeliveredNew, at_pod(Packet::syn(VIA_LEADER, TO), 0)))
            .every_hop(),
    ]
}

impl Row {
    fn every_hop(mut self) -> Self {
        for hop in 0..=7 {
            let expected = at_pod(data().hop(NODE_MACS[2], OWN), 0);
            self = self.ingress(handed(data(), 2, HANDED, hop), delivered(DeliveredKnown, expected));
        }
        self
    }
}

fn leading() -> Vec<Row> {
    let client = || data().hop(FROM.0, OWN);
    vec![
        Row::new("the leader hands an unknown flow on where it is itself the newest owner", Rig::pods)
            .then("list 0 1", list([0, 1]))
            .ingress(client(), sent(HandedOn, on_to(client(), 1, HANDED, 1))),
        Row::new("a leader that is an older owner does not look at its flows: it gets the frame back", Rig::pods)
            .then("list 0", list([0]))
            .ingress(Packet::syn(FROM, TO), delivered(DeliveredNew, at_pod(Packet::syn(FROM, TO), 0)))
            .ingress(client(), delivered(DeliveredKnown, at_pod(client(), 0)))
            .then("list 1 0", list([1, 0]))
            .ingress(client(), forwarded(client().forwarded(OWN, NODE_MACS[1])))
            .ingress(
                handed(client(), 1, HANDED, 1),
                delivered(DeliveredKnown, at_pod(client().hop(NODE_MACS[1], OWN), 0)),
            ),
    ]
}

fn refusing() -> Vec<Row> {
    let stranger = |packet: Packet| packet.hop(FROM.0, OWN);
    let elsewhere = |vip| Packet::tcp((NODE_MACS[2], CLIENT, CLIENT_PORT), (OWN, vip, PORT));
    vec![
        Row::new("a handed frame from a MAC that is no peer's is dropped", Rig::pods)
            .then("list 0", list([0]))
            .ingress(stranger(data()).handed(HANDED, 1), dropped(DropStranger))
            .ingress(stranger(udp()).handed(TAKE_IT, 1), dropped(DropStranger)),
        Row::new("a frame of the local experimental EtherTypes that is not for a VIP passes", Rig::pods)
            .then("list 0", list([0]))
            .ingress(stranger(elsewhere(STRANGER)).handed(HANDED, 1), pass(NotOurs))
            .ingress(handed(data(), 2, TAKE_IT, 1).bytes()[..33].to_vec(), pass(NotOurs)),
        Row::new("a peer's MAC of another link is a stranger's here", Rig::pods)
            .then("list 0", list([0]))
            .then("peer 2 is known on another link only", |rig| rig.move_peer(2))
            .ingress(handed(data(), 2, HANDED, 1), dropped(DropStranger)),
        Row::new("a handed frame for a Service that is not known here is dropped", |rig| {
            rig.pods()?;
            rig.vip(OTHER_VIP, OTHER_VIP_INDEX, true, 0)?;
            rig.service(service_key(VIP, PORT + 1, TCP), with_list(&[0], one(1))?)?;
            rig.service(service_key(VIP, PORT + 1, UDP), with_list(&[0], one(1))?)
        })
        .ingress(handed(data(), 2, HANDED, 1), dropped_uncounted(DropUnknownService))
        .ingress(elsewhere(STRANGER).handed(HANDED, 1), dropped_uncounted(DropUnknownService)),
        Row::new("a handed frame of the other family or cut short is dropped", Rig::pods)
            .then("list 0", list([0]))
            .ingress(handed(data(), 2, HANDED, 9), dropped_uncounted(DropUnknownService))
            .ingress(handed(data(), 2, HANDED, 1).bytes()[..50].to_vec(), dropped_uncounted(DropMalformed)),
        Row::new("a handed frame in a frame for another MAC passes", Rig::pods)
            .then("list 0", list([0]))
            .ingress(handed(data(), 2, HANDED, 1).hop(NODE_MACS[2], NODE_MACS[1]), pass(NotOurs)),
    ]
}
