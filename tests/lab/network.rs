use std::{fs, net::Ipv4Addr, path::PathBuf};

use announcer::world::model::Mac;
use anyhow::{Context, bail};

use super::{
    API_SERVER, GATEWAY, Namespace, PREFIX, RunId, client_address, guard::Guard, logs, namespace::ip_batch,
    node_address, node_mac, pass, reaper,
};

/// How many of each.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub nodes: u8,
    pub clients: u8,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 3, clients: 1 }
    }
}

/// A machine of the cluster.
#[derive(Debug)]
pub struct Node {
    /// From 1.
    pub number: u8,
    /// Its name in Kubernetes.
    pub name: String,
    pub namespace: Namespace,
    pub address: Ipv4Addr,
    pub mac: Mac,
}

/// The LAN with its machines. Dropping it removes all of it.
#[derive(Debug)]
pub struct Lab {
    pub run: RunId,
    /// The bridge; the API server lives here.
    pub lan: Namespace,
    pub nodes: Vec<Node>,
    pub clients: Vec<Namespace>,
    kept: bool,
    _guard: Guard,
}

impl Lab {
    /// Makes the namespaces, the bridge and the links. Needs root.
    pub fn new(run: RunId, shape: Shape) -> anyhow::Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("the lab makes network namespaces, which needs root");
        }
        mount_bpffs()?;
        let directory = run.directory();
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let guard = Guard::start(run)?;
        let mut parts = vec!["lan".to_owned()];
        parts.extend((1..=shape.nodes).map(|n| format!("n{n}")));
        parts.extend((1..=shape.clients).map(|n| format!("c{n}")));
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let mut namespaces = Namespace::create(run, &names)?.into_iter();
        let lan = namespaces.next().context("no namespace for the LAN")?;
        let nodes = (1..=shape.nodes)
            .zip(namespaces.by_ref())
            .map(|(number, namespace)| Node {
                number,
                name: format!("n{number}"),
                namespace,
                address: node_address(number),
                mac: node_mac(number),
            })
            .collect();
        let lab = Self { run, lan, nodes, clients: namespaces.collect(), kept: false, _guard: guard };
        lab.join_links(&parts[1..])?;
        for node in &lab.nodes {
            lab.set_up_node(node, shape.nodes)?;
        }
        for (number, client) in (1..).zip(&lab.clients) {
            client.ip(&machine(&client_address(number).to_string(), None))?;
            // XDP_TX loses the note that a checksum is still to be done; frames of a real NIC have theirs complete.
            client.text("ethtool -K eth0 tx off")?;
        }
        let ports: Vec<String> = lab.nodes.iter().map(|n| n.name.clone()).collect();
        pass::attach(run, &lab.lan, &ports)?;
        Ok(lab)
    }

    /// Node `number`, from 1.
    #[must_use]
    pub fn node(&self, number: u8) -> &Node {
        &self.nodes[usize::from(number) - 1]
    }

    /// The first client.
    #[must_use]
    pub fn client(&self) -> &Namespace {
        &self.clients[0]
    }

    /// Pin directory of a node's agent (`--bpffs`).
    #[must_use]
    pub fn bpffs(&self, node: &Node) -> PathBuf {
        self.run.bpffs().join(&node.name)
    }

    /// Directory of a node's agent (`--run-dir`).
    #[must_use]
    pub fn run_dir(&self, node: &Node) -> PathBuf {
        self.run.directory().join(&node.name)
    }

    /// Takes a node off the LAN, or puts it back, as by its cable.
    pub fn set_cable(&self, node: &Node, plugged: bool) -> anyhow::Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.lan.ip(&[format!("link set {} {state}", node.name)])
    }

    /// Leaves everything in place until somebody removes the run.
    pub fn keep(&mut self) -> anyhow::Result<()> {
        reaper::keep(self.run).context("marking the lab as kept")?;
        self.kept = true;
        Ok(())
    }

    fn join_links(&self, parts: &[String]) -> anyhow::Result<()> {
        let lan = self.lan.name();
        let links: Vec<String> = parts
            .iter()
            .map(|p| format!("link add eth0 netns {} type veth peer name {p} netns {lan}", self.run.namespace(p)))
            .collect();
        ip_batch(None, &links)?;
        let mut bridge = vec![
            "link add br0 type bridge".to_owned(),
            format!("addr add {GATEWAY}/{PREFIX} dev br0"),
            format!("addr add {API_SERVER}/{PREFIX} dev br0"),
            "link set br0 up".to_owned(),
        ];
        bridge.extend(parts.iter().map(|p| format!("link set {p} master br0 up")));
        self.lan.ip(&bridge)
    }

    fn set_up_node(&self, node: &Node, nodes: u8) -> anyhow::Result<()> {
        let namespace = &node.namespace;
        namespace.sysctl("ipv4/ip_forward", "1")?;
        // What many node images set; strict filtering is no part of what is tested here.
        for which in ["all", "default"] {
            namespace.sysctl(&format!("ipv4/conf/{which}/rp_filter"), "0")?;
        }
        let mut lines = machine(&node.address.to_string(), Some(node.mac));
        lines.push(format!("route add default via {GATEWAY}"));
        lines.extend((1..=nodes).filter(|n| *n != node.number).map(|other| {
            // As a CNI without tunnels does.
            format!("route add 10.244.{other}.0/24 via {}", node_address(other))
        }));
        namespace.ip(&lines)?;
        for directory in [self.bpffs(node), self.run_dir(node)] {
            fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.kept {
            logs::save_dropped(self.run);
            reaper::remove(&self.run);
        }
    }
}

/// Addresses a machine's link to the LAN and puts it up.
fn machine(address: &str, mac: Option<Mac>) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(mac.map(|mac| format!("link set eth0 address {mac}")));
    lines.push(format!("addr add {address}/{PREFIX} dev eth0"));
    lines.push("link set eth0 up".to_owned());
    lines
}

/// Most distributions mount the BPF file system at boot; where nobody did, the lab does, once for the machine.
///
/// # Errors
/// The kernel refuses.
pub fn mount_bpffs() -> anyhow::Result<()> {
    const BPF: &str = "/sys/fs/bpf";
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    if mounts.lines().any(|l| l.split(' ').nth(1) == Some(BPF) && l.split(' ').nth(2) == Some("bpf")) {
        return Ok(());
    }
    let none: Option<&str> = None;
    nix::mount::mount(Some("bpf"), BPF, Some("bpf"), nix::mount::MsFlags::empty(), none)
        .with_context(|| format!("mounting the BPF file system at {BPF}"))
}
