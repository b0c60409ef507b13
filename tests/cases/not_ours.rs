//! Traffic of the nodes' own that passes the programs and must come out as it went in.

use std::{
    net::{Ipv4Addr, UdpSocket},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::served::{Served, outcome};
use crate::{
    lab::{Process, client_address, node_address, ping, traffic},
    runner::{Case, Scope, Suite},
    wait::wait_until,
};

const GROUP: Ipv4Addr = Ipv4Addr::new(239, 25, 150, 1);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "tcp_fragments_multicast_and_large_pings_to_a_node_pass_untouched", not_ours)
            .group("serving"),
    ]
}

fn not_ours(scope: &mut Scope) -> anyhow::Result<()> {
    let run = scope.run;
    let served = Served::of(scope)?;
    let lab = &served.cluster.lab;
    let (client, node) = (lab.client(), lab.node(1));
    let agent = &served.cluster.agents[&node.name];
    let counters = || -> anyhow::Result<(u64, u64)> {
        let drops = ["drop_malformed", "drop_fragment", "drop_ttl", "drop_no_service", "drop_icmp", "drop_stranger"];
        let dropped = drops.iter().map(|name| outcome(agent, name)).sum::<anyhow::Result<u64>>()?;
        Ok((outcome(agent, "not_ours")?, dropped))
    };
    let (passed, dropped) = counters()?;

    // A server of the node itself, on the port of ssh.
    let mut command: Command = node.namespace.command("/proc/self/exe");
    command.args(["pod", "--name", "node", "--port", "22"]);
    let server = Process::start(run, "ssh-like", command)?;
    wait_until("the node's own server serves", Duration::from_secs(5), || {
        Ok(server.log().contains("serving").then_some(()))
    })?;
    let to = (node_address(1), 22).into();
    let answer = traffic::fetch(client, to, Duration::from_secs(2))?;
    ensure!(answer.client.ip() == client_address(1), "{answer:?}");
    for transfer in [traffic::upload(client, to, 20_000_000)?, traffic::download(client, to, 20_000_000)?] {
        ensure!(transfer.sent == transfer.received, "{transfer:?}");
    }

    // Six fragments each way.
    let payload: Vec<u8> = (0..8_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for _ in 0..20 {
        let (_, back) =
            traffic::udp_ask(client, to, &payload, Duration::from_secs(2)).context("a fragmented datagram")?;
        ensure!(back == payload, "a fragmented datagram came back changed");
    }
    let answered = ping(client, node_address(1), 5, 4_000)?;
    ensure!(answered == 5, "{answered} of 5 pings of three fragments were answered");

    let listener = node.namespace.run(|| -> anyhow::Result<UdpSocket> {
        let socket = UdpSocket::bind((GROUP, 5353))?;
        socket.join_multicast_v4(&GROUP, &node_address(1))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        Ok(socket)
    })?;
    client.run(|| -> anyhow::Result<()> {
        let socket = UdpSocket::bind((client_address(1), 0))?;
        socket2::SockRef::from(&socket).set_multicast_if_v4(&client_address(1))?;
        socket.send_to(b"to the group", (GROUP, 5353))?;
        Ok(())
    })?;
    let mut buffer = [0; 64];
    let length = listener.recv(&mut buffer).context("no multicast datagram arrived")?;
    ensure!(&buffer[..length] == b"to the group", "multicast arrived changed");

    let (passed_after, dropped_after) = counters()?;
    ensure!(passed_after > passed + 1_000, "only {} packets were counted as not ours", passed_after - passed);
    ensure!(dropped_after == dropped, "{} packets were dropped", dropped_after - dropped);
    Ok(())
}
