//! ARP for a VIP (RFC 826, RFC 5227): answered where this node leads, silent where another does.

use std::net::Ipv4Addr;

use announcer_ebpf::abi::Outcome::{ArpAnswered, ArpForeignClaim, ArpSuppressed, NotOurs};
use announcer_ebpf::abi::{Event, EventKind, VipEntry, addr};
use anyhow::{Result, ensure};
use etherparse::ArpOperation;

use super::super::frames::{BROADCAST, Mac, arp};
use super::super::rig::Rig;
use super::super::row::{Row, answered, dropped_uncounted, pass};
use super::super::scene::{
    CLIENT, CLIENT_MAC, LINK, NODE_ADDRS, NODE_MACS, OTHER_VIP, OTHER_VIP_INDEX, OWN, STRANGER, STRANGER_MAC, VIP,
    VIP_INDEX,
};

const NOBODY: Mac = [0; 6];
const UNSPECIFIED: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

/// "Who has `target`?", as the client asks it.
fn request(to: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    arp((CLIENT_MAC, to), ArpOperation::REQUEST, (CLIENT_MAC, sender), (NOBODY, target))
}

/// "VIP is at this node", as the client must hear it.
fn reply(asker: Ipv4Addr) -> Vec<u8> {
    arp((OWN, CLIENT_MAC), ArpOperation::REPLY, (OWN, VIP), (CLIENT_MAC, asker))
}

/// An announcement of the VIP by `mac`; a reply carries the target MAC `target`.
fn announcement(operation: ArpOperation, mac: Mac, target: Mac) -> Vec<u8> {
    arp((mac, BROADCAST), operation, (mac, VIP), (target, VIP))
}

/// Frames on a wire have at least 60 bytes.
fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    frame.resize(60, 0);
    frame
}

fn no_event(rig: &mut Rig) -> Result<()> {
    let events = rig.events()?;
    ensure!(events.is_empty(), "unexpected {events:?}");
    Ok(())
}

fn claimed_by(mac: Mac) -> impl Fn(&mut Rig) -> Result<()> {
    move |rig| {
        let events = rig.events()?;
        let expected = Event { kind: EventKind::ForeignClaim as u32, link: LINK, addr: addr(VIP), mac, _pad: 0 };
        ensure!(events == [expected], "expected {expected:?}, got {events:?}");
        Ok(())
    }
}

pub fn rows() -> Vec<Row> {
    let mut rows = requests();
    rows.extend(announcements());
    rows.extend(odd_frames());
    rows
}

fn requests() -> Vec<Row> {
    vec![
        Row::new("a broadcast request for a VIP that this node leads is answered with its MAC", Rig::led)
            .ingress(request(BROADCAST, CLIENT, VIP), answered(ArpAnswered, reply(CLIENT)))
            .then("no event", no_event),
        Row::new("a padded request is answered at its own length", Rig::led)
            .ingress(padded(request(BROADCAST, CLIENT, VIP)), answered(ArpAnswered, padded(reply(CLIENT)))),
        Row::new("a unicast request, as hosts confirm a neighbour, is answered", Rig::led)
            .ingress(request(OWN, CLIENT, VIP), answered(ArpAnswered, reply(CLIENT))),
        Row::new("a probe from 0.0.0.0 for a VIP is answered, so that its sender sees the conflict", Rig::led)
            .ingress(request(BROADCAST, UNSPECIFIED, VIP), answered(ArpAnswered, reply(UNSPECIFIED)))
            .then("no event", no_event),
        Row::new("a request for a VIP that another node leads is dropped, broadcast or unicast", Rig::led_elsewhere)
            .ingress(request(BROADCAST, CLIENT, VIP), dropped_uncounted(ArpSuppressed))
            .ingress(request(OWN, CLIENT, VIP), dropped_uncounted(ArpSuppressed))
            .ingress(request(BROADCAST, UNSPECIFIED, VIP), dropped_uncounted(ArpSuppressed)),
        Row::new("a VIP that is led on another link only is not answered on this one", |rig| {
            rig.vip_entry(VIP, VipEntry { index: VIP_INDEX, lead: !(1 << LINK), flags: 0, term: 1 })
        })
        .ingress(request(BROADCAST, CLIENT, VIP), dropped_uncounted(ArpSuppressed)),
        Row::new("a request for an address that is no VIP passes", |rig| {
            rig.led()?;
            rig.filter_vip(STRANGER)
        })
        .ingress(request(BROADCAST, CLIENT, NODE_ADDRS[0]), pass(NotOurs))
        .ingress(request(BROADCAST, CLIENT, STRANGER), pass(NotOurs)),
        Row::new("two VIPs are led apart", |rig| {
            rig.led_elsewhere()?;
            rig.vip(OTHER_VIP, OTHER_VIP_INDEX, true, 0)
        })
        .ingress(request(BROADCAST, CLIENT, VIP), dropped_uncounted(ArpSuppressed)),
    ]
}

fn announcements() -> Vec<Row> {
    vec![
        Row::new("a gratuitous request for a VIP of ours by another MAC passes and is told to the agent", Rig::led)
            .ingress(announcement(ArpOperation::REQUEST, STRANGER_MAC, NOBODY), pass(ArpForeignClaim))
            .then("an event", claimed_by(STRANGER_MAC)),
        Row::new("a gratuitous reply for a VIP of ours by another MAC passes and is told to the agent", Rig::led)
            .ingress(announcement(ArpOperation::REPLY, STRANGER_MAC, BROADCAST), pass(ArpForeignClaim))
            .then("an event", claimed_by(STRANGER_MAC)),
        Row::new("a peer that announces a VIP of ours is told to the agent, which knows the claim", Rig::led)
            .ingress(announcement(ArpOperation::REQUEST, NODE_MACS[1], NOBODY), pass(ArpForeignClaim))
            .then("an event", claimed_by(NODE_MACS[1])),
        Row::new("a request that another MAC sends from a VIP of ours is a claim as well", Rig::led)
            .ingress(
                arp((STRANGER_MAC, BROADCAST), ArpOperation::REQUEST, (STRANGER_MAC, VIP), (NOBODY, CLIENT)),
                pass(ArpForeignClaim),
            )
            .then("an event", claimed_by(STRANGER_MAC)),
        Row::new("a unicast reply from another MAC for a VIP of ours is a claim as well", Rig::led)
            .ingress(
                arp((STRANGER_MAC, OWN), ArpOperation::REPLY, (STRANGER_MAC, VIP), (OWN, NODE_ADDRS[0])),
                pass(ArpForeignClaim),
            )
            .then("an event", claimed_by(STRANGER_MAC)),
        Row::new("an announcement of our own that comes back is no claim", Rig::led)
            .ingress(announcement(ArpOperation::REPLY, OWN, BROADCAST), pass(NotOurs))
            .then("no event", no_event),
        Row::new("the leader's announcement of a VIP that we do not lead passes without an event", Rig::led_elsewhere)
            .ingress(announcement(ArpOperation::REPLY, NODE_MACS[1], BROADCAST), pass(NotOurs))
            .then("no event", no_event),
    ]
}

fn odd_frames() -> Vec<Row> {
    let mut rows = vec![
        Row::new("an ordinary reply for an address that is no VIP passes", Rig::led).ingress(
            arp((CLIENT_MAC, OWN), ArpOperation::REPLY, (CLIENT_MAC, CLIENT), (OWN, NODE_ADDRS[0])),
            pass(NotOurs),
        ),
        Row::new("an ARP request for a VIP in a frame for another MAC passes", Rig::led)
            .ingress(request(NODE_MACS[1], CLIENT, VIP), pass(NotOurs)),
    ];
    let mut short = Row::new("an ARP frame cut short anywhere passes", Rig::led);
    let whole = request(BROADCAST, CLIENT, VIP);
    for length in 14..whole.len() {
        short = short.ingress(whole[..length].to_vec(), pass(NotOurs));
    }
    rows.push(short);
    let mut strange = Row::new("ARP of other hardware, protocol, lengths or operation passes", Rig::led);
    // Offsets in the frame: hardware type, protocol type, their two lengths, operation (RFC 826).
    for (at, value) in [(15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3), (20, 1)] {
        let mut frame = whole.clone();
        frame[at] = value;
        strange = strange.ingress(frame, pass(NotOurs));
    }
    rows.push(strange);
    rows
}
