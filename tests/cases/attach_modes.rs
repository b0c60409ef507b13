//! How the programs get onto links that are not plain ones.

use std::time::Duration;

use announcer::{
    apply::maps::Forwarder,
    datapath,
    world::model::{AttachMode, Link, Mac},
};
use anyhow::ensure;

use super::data_path::{Machine, link, pods, settings, vip};
use crate::{
    lab::{
        Lab, Pod, Shape,
        traffic::{download, fetch, upload},
    },
    runner::{Case, Scope, Suite},
};

pub(super) fn cases() -> Vec<Case> {
    let case = |name, body: fn(&mut Scope) -> anyhow::Result<()>| Case::new(Suite::Lab, name, body).limit(60);
    vec![
        case("links_of_mtu_9000_are_served_natively_and_carry_large_frames", jumbo),
        case("a_link_without_native_xdp_is_served_in_generic_mode", generic),
    ]
}

fn jumbo(scope: &mut Scope) -> anyhow::Result<()> {
    const MTU: u32 = 9_000;
    const BYTES: u64 = 50_000_000;
    let lab = Lab::new(scope.run, Shape { nodes: 2, clients: 1 })?;
    let ports = ["br0", "n1", "n2", "c1"].map(|port| format!("link set {port} mtu {MTU}"));
    lab.lan.ip(&ports)?;
    let pods = pods(&lab)?;
    for machine in lab.nodes.iter().map(|node| &node.namespace).chain(&lab.clients) {
        machine.ip(&[format!("link set eth0 mtu {MTU}")])?;
    }
    for (node, pod) in lab.nodes.iter().zip(&pods) {
        node.namespace.ip(&[format!("link set p1 mtu {MTU}")])?;
        pod.namespace.ip(&[format!("link set eth0 mtu {MTU}")])?;
    }
    // Every connection goes through the leader to a pod of the other node.
    let behind: Vec<&Pod> = vec![&pods[1]];
    for node in &lab.nodes {
        let mut machine = Machine::start(&lab, node)?;
        let mode = machine.attach_to(&Link { mtu: MTU, ..link(node)? })?;
        ensure!(mode == AttachMode::NativeFrags, "{} is served in mode {mode:?}", node.name);
        machine.apply(1, &behind)?;
    }
    fetch(lab.client(), vip(), Duration::from_secs(2))?;
    for transfer in [upload(lab.client(), vip(), BYTES)?, download(lab.client(), vip(), BYTES)?] {
        ensure!(transfer.sent == transfer.received, "{transfer:?}");
    }
    Ok(())
}

fn generic(scope: &mut Scope) -> anyhow::Result<()> {
    let lab = Lab::new(scope.run, Shape { nodes: 1, clients: 1 })?;
    let node = lab.node(1);
    node.namespace.ip(&[
        "link add d0 address 02:00:00:00:00:d0 type bridge".to_owned(),
        "addr add 10.77.0.1/24 dev d0".to_owned(),
        "link set d0 up".to_owned(),
    ])?;
    let index = node.namespace.run(|| nix::net::if_::if_nametoindex("d0"))?;
    let link = Link {
        name: "d0".into(),
        index,
        mac: Mac([2, 0, 0, 0, 0, 0xd0]),
        addresses: vec!["10.77.0.1/24".parse()?],
        ..link(node)?
    };
    let mut machine = Machine::start(&lab, node)?;
    let mode = machine.attach_to(&link)?;
    ensure!(mode == AttachMode::Generic, "a bridge is served in mode {mode:?}");
    let shown = || node.namespace.text("ip -d link show dev d0");
    ensure!(shown()?.contains("xdpgeneric"), "{}", shown()?);
    drop(machine);

    // The next agent takes the link over as it finds it.
    let mut next = Forwarder::open(settings(&lab, node, 1 << 20))?;
    let mode = node.namespace.run(|| next.attach(&link))?;
    ensure!(mode == AttachMode::Generic, "adopted in mode {mode:?}");
    datapath::cleanup(&lab.bpffs(node), &lab.run_dir(node))?;
    ensure!(!shown()?.contains("xdp"), "{}", shown()?);
    Ok(())
}
