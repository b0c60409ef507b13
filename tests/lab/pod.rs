use std::{net::Ipv4Addr, process::Command, time::Duration};

use anyhow::Context;
use nix::sys::signal::Signal;

use super::{Lab, Namespace, Node, Process, pod_address};
use crate::wait::wait_until;

/// The far side of a pod's link, as Calico has it on every node.
const NODE_SIDE_MAC: &str = "ee:ee:ee:ee:ee:ee";
/// The pod's next hop, on no interface.
const NEXT_HOP: &str = "169.254.1.1";

/// A pod: a namespace behind a node with a server in it (see [`super::traffic::server`]).
#[derive(Debug)]
pub struct Pod {
    pub name: String,
    pub namespace: Namespace,
    pub address: Ipv4Addr,
    /// The node's name.
    pub node: String,
    server: Process,
    link: String,
    node_namespace: Namespace,
}

/// The port on which every pod serves, TCP and UDP.
pub const POD_PORT: u16 = 8080;

impl Pod {
    /// Starts pod `number` (from 1, one of its kind on the node) and waits until it serves.
    pub fn start(lab: &Lab, node: &Node, number: u8) -> anyhow::Result<Self> {
        let name = format!("p{}-{number}", node.number);
        let link = format!("p{number}");
        let address = pod_address(node.number, number);
        let namespace = Namespace::create(lab.run, &[&name])?.pop().context("no namespace")?;
        node.namespace.ip(&[
            format!("link add {link} type veth peer name eth0 netns {}", namespace.name()),
            format!("link set {link} address {NODE_SIDE_MAC} up"),
            format!("route add {address}/32 dev {link}"),
        ])?;
        namespace.ip(&[
            format!("addr add {address}/32 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add {NEXT_HOP} dev eth0 scope link"),
            format!("route add default via {NEXT_HOP}"),
            format!("neigh add {NEXT_HOP} lladdr {NODE_SIDE_MAC} dev eth0 nud permanent"),
        ])?;
        let mut command: Command = namespace.command("/proc/self/exe");
        command.args(["pod", "--name", &name, "--port", &POD_PORT.to_string()]);
        let mut server = Process::start(lab.run, &name, command)?;
        wait_until(&format!("pod {name} serves"), Duration::from_secs(10), || {
            anyhow::ensure!(server.ended()?.is_none(), "its server ended: {}", server.log());
            Ok(server.log().contains("serving").then_some(()))
        })?;
        Ok(Self {
            name,
            namespace,
            address,
            node: node.name.clone(),
            server,
            link,
            node_namespace: node.namespace.clone(),
        })
    }

    /// Ends the server and takes the pod off its node, as a kubelet does after the grace period.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.server.signal(Signal::SIGKILL)?;
        self.server.kill();
        self.node_namespace.ip(&[format!("link del {}", self.link)])?;
        let name = self.namespace.name().to_owned();
        drop(self);
        super::namespace::ip_batch(None, &[format!("netns del {name}")])
    }

    /// Lets the server live on after this value.
    pub fn detach(&mut self) {
        self.server.detach();
    }
}
