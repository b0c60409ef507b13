//! Every name that announcer has in the Kubernetes API, and the conversions between addresses and names of Leases.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::world::model::ObjectName;

/// API group of the custom resources.
pub const GROUP: &str = "announcer.dev";
/// Version of the custom resources.
pub const VERSION: &str = "v1alpha1";

/// `spec.loadBalancerClass` of the Services that are served whatever the setting for those without class says.
pub const CLASS: &str = "announcer.dev/l2";

/// Namespace of the Leases, unless the settings name another.
pub const NAMESPACE: &str = "announcer-system";

/// Label of every Lease that announcer owns: what it is for.
pub const KIND_LABEL: &str = "announcer.dev/kind";
pub const KIND_VIP: &str = "vip";
pub const KIND_NODE: &str = "node";
pub const KIND_ALLOCATOR: &str = "allocator";

/// Name of the Lease that says which node allocates.
pub const ALLOCATOR_LEASE: &str = "allocator";

/// On a VIP's Lease: the address, in its canonical text form.
pub const ADDRESS_ANNOTATION: &str = "announcer.dev/address";
/// On a VIP's Lease: the Services that have the address, `namespace/name,namespace/name`.
pub const SERVICES_ANNOTATION: &str = "announcer.dev/services";
/// On a heartbeat Lease: `NodeFacts` as JSON.
pub const NODE_ANNOTATION: &str = "announcer.dev/node";

/// On a Service: addresses that it asks for, separated by commas.
pub const IPS_ANNOTATION: &str = "announcer.dev/ips";
/// The same, by Cilium's name.
pub const IPS_ANNOTATION_CILIUM: &str = "lbipam.cilium.io/ips";
/// The same, by Cilium's older name.
pub const IPS_ANNOTATION_CILIUM_OLD: &str = "io.cilium/lb-ipam-ips";

/// Label that a pool's or policy's `serviceSelector` sees as the Service's namespace, whatever labels the Service has.
pub const SELECTOR_NAMESPACE: &str = "io.kubernetes.service.namespace";
/// Label that a pool's or policy's `serviceSelector` sees as the Service's name, whatever labels the Service has.
pub const SELECTOR_NAME: &str = "io.kubernetes.service.name";

/// Condition of a Service: whether it has the addresses that it asks for.
pub const CONDITION_IPAM: &str = "announcer.dev/IPAMRequestSatisfied";
/// Condition of a pool: whether it overlaps an older pool, or itself.
pub const CONDITION_POOL_CONFLICT: &str = "announcer.dev/PoolConflict";
/// Condition of a pool or policy: whether it has effect.
pub const CONDITION_READY: &str = "announcer.dev/Ready";

/// Field manager of what the allocator writes: Services' and pools' status.
pub const MANAGER_IPAM: &str = "announcer-ipam";
/// Field manager of what a node's agent writes: Leases.
pub const MANAGER_NODE: &str = "announcer-node";

/// `reportingController` of the Events.
pub const REPORTER: &str = "announcer.dev/announcer";

const VIP_PREFIX: &str = "vip-";
const NODE_PREFIX: &str = "node-";

/// Name of a VIP's Lease: `vip-10-25-150-222`; for IPv6 all eight groups, `vip-fd00-0000-…-0001`.
#[must_use]
pub fn vip_lease(vip: IpAddr) -> String {
    let groups: Vec<String> = match vip {
        IpAddr::V4(ip) => ip.octets().iter().map(u8::to_string).collect(),
        IpAddr::V6(ip) => ip.segments().iter().map(|group| format!("{group:04x}")).collect(),
    };
    format!("{VIP_PREFIX}{}", groups.join("-"))
}

/// The address that a VIP's Lease is named by; None for any other name.
#[must_use]
pub fn vip_of_lease(name: &str) -> Option<IpAddr> {
    let groups: Vec<&str> = name.strip_prefix(VIP_PREFIX)?.split('-').collect();
    let ip = match groups.len() {
        4 => groups.join(".").parse::<Ipv4Addr>().ok()?.into(),
        8 => groups.join(":").parse::<Ipv6Addr>().ok()?.into(),
        _ => return None,
    };
    // Only the one spelling that is written: else two Leases could claim one address.
    (vip_lease(ip) == name).then_some(ip)
}

/// Name of a node's heartbeat Lease.
#[must_use]
pub fn node_lease(node: &str) -> String {
    format!("{NODE_PREFIX}{node}")
}

/// The node that a heartbeat Lease is named by; None for any other name.
#[must_use]
pub fn node_of_lease(name: &str) -> Option<&str> {
    name.strip_prefix(NODE_PREFIX).filter(|node| !node.is_empty())
}

/// Value of [`SERVICES_ANNOTATION`].
#[must_use]
pub fn format_services<'a>(services: impl IntoIterator<Item = &'a ObjectName>) -> String {
    services.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// Reads [`SERVICES_ANNOTATION`]; parts that name no Service are left out.
#[must_use]
pub fn parse_services(text: &str) -> BTreeSet<ObjectName> {
    text.split(',')
        .filter_map(|part| part.trim().split_once('/'))
        .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty() && !name.contains('/'))
        .map(|(namespace, name)| ObjectName { namespace: namespace.into(), name: name.into() })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_name_of_a_vip_lease_leads_back_to_its_address(v6 in any::<bool>(), bits in any::<u128>()) {
            let ip = if v6 { IpAddr::V6(bits.into()) } else { IpAddr::V4((bits as u32).into()) };
            let name = vip_lease(ip);
            prop_assert_eq!(vip_of_lease(&name), Some(ip));
            prop_assert!(name.len() <= 63 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
        }
    }

    #[test]
    fn a_vip_lease_is_named_by_its_address() {
        assert_eq!(vip_lease("10.25.150.222".parse().unwrap()), "vip-10-25-150-222");
        assert_eq!(vip_lease("fd00::1".parse().unwrap()), "vip-fd00-0000-0000-0000-0000-0000-0000-0001");
    }

    #[test]
    fn other_names_and_other_spellings_are_no_vip() {
        for name in [
            "vip-10-25-150",
            "vip-10-25-150-256",
            "vip-10-25-150-010",
            "node-a",
            "vip-",
            "allocator",
            "vip-fd00-0-0-0-0-0-0-1",
        ] {
            assert_eq!(vip_of_lease(name), None, "{name}");
        }
    }

    #[test]
    fn the_services_of_a_claim_survive_their_annotation_and_rubbish_is_left_out() {
        let services = parse_services("shop/web, shop/api,rubbish,/x,y/,a/b/c");
        assert_eq!(format_services(&services), "shop/api,shop/web");
        assert_eq!(parse_services(""), BTreeSet::new());
    }
}
