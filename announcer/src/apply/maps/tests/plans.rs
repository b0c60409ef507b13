//! Plans of a small cluster: nodes n1 (this one) to n4 on one link, one VIP.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use announcer_ebpf::abi::SourceKind;

use crate::{
    plan::{
        forwarding::{Backend, Forwarding, Frontend, Node, Vip},
        maglev::NodeName,
    },
    world::model::{Mac, ObjectName, Protocol},
};

pub(super) const VIP: Ipv4Addr = Ipv4Addr::new(10, 25, 150, 222);

/// A part of a plan.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change {
    /// Port, number of the node, ready pods there.
    Pods(u16, u8, u32),
    /// No Service and no VIP.
    Gone,
}

pub(super) fn frontend(port: u16) -> Frontend {
    Frontend { vip: VIP, protocol: Protocol::Tcp, port }
}

pub(super) fn plan(changes: &[Change]) -> Forwarding {
    let mut pods = BTreeMap::<u16, BTreeMap<u8, u32>>::new();
    for change in changes {
        if let Change::Pods(port, node, count) = change {
            pods.entry(*port).or_default().insert(*node, *count);
        }
    }
    let mut plan = Forwarding { cluster_uid: Some("cluster".to_owned()), ..Forwarding::default() };
    for n in 1..=4_u8 {
        let address = Ipv4Addr::new(10, 25, 0, n);
        let links = BTreeMap::from([("eth0".to_owned(), (Mac([2, 0, 0, 0, 0, n]), address))]);
        plan.nodes.insert(NodeName::from(format!("n{n}")), Node { me: n == 1, alive: true, links });
        plan.sources.insert(address.into(), SourceKind::Node);
    }
    if !pods.is_empty() {
        plan.vips.insert(VIP, Vip { lead: ["eth0".to_owned()].into(), term: 3, kernel_path: false });
    }
    for (port, nodes) in pods {
        let local = nodes.get(&1).copied().unwrap_or(0);
        let address = |pod: u32| SocketAddrV4::new(Ipv4Addr::new(10, 244, 1, pod as u8), 8_080);
        let backend = Backend {
            service: ObjectName { namespace: "shop".into(), name: format!("web-{port}") },
            weights: nodes.into_iter().map(|(node, pods)| (format!("n{node}"), pods)).collect(),
            local: (1..=local).map(|pod| (address(pod), true)).collect(),
            affinity: false,
            kernel_path: false,
        };
        plan.services.insert(frontend(port), backend);
    }
    plan
}
