//! `LoadBalancerIPPool`: addresses to give to Services. Field for field a superset of Cilium's
//! `CiliumLoadBalancerIPPool`.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LabelSelector;
use crate::world::model;

/// Addresses that are given to Services of type LoadBalancer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "announcer.dev",
    version = "v1alpha1",
    kind = "LoadBalancerIPPool",
    plural = "loadbalancerippools",
    singular = "loadbalancerippool",
    shortname = "lbippool",
    shortname = "lbippools",
    category = "announcer",
    doc = "Addresses that announcer gives to Services of type LoadBalancer.",
    status = "LoadBalancerIPPoolStatus",
    derive = "PartialEq",
    printcolumn(name = "Disabled", type_ = "boolean", json_path = ".spec.disabled"),
    printcolumn(
        name = "Conflicting",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='announcer.dev/PoolConflict')].status"
    ),
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.ipv4.total"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.ipv4.used"),
    printcolumn(name = "Available", type_ = "integer", json_path = ".status.ipv4.available"),
    printcolumn(name = "Total6", type_ = "integer", json_path = ".status.ipv6.total", priority = 1),
    printcolumn(name = "Used6", type_ = "integer", json_path = ".status.ipv6.used", priority = 1),
    printcolumn(name = "Available6", type_ = "integer", json_path = ".status.ipv6.available", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerIPPoolSpec {
    /// The addresses, IPv4 and IPv6 mixed as wanted.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub blocks: Vec<AddressBlock>,
    /// Which Services may have addresses of this pool; absent or empty: all. Besides a Service's own labels it sees
    /// `io.kubernetes.service.namespace` and `io.kubernetes.service.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_selector: Option<LabelSelector>,
    /// Gives no new address; Services keep the ones they have.
    #[serde(default)]
    pub disabled: bool,
    /// Whether the first and the last address of a `cidr` block are given. Blocks of one or two addresses always give
    /// all. Changing to No takes nothing away.
    #[serde(default)]
    #[serde(rename = "allowFirstLastIPs")]
    pub allow_first_last_ips: YesNo,
    /// Does not give IPv4 addresses that end in .0 or .255, which some old devices take for broadcasts.
    #[serde(default)]
    #[serde(rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// Whether Services that ask for no address in particular get one of this pool.
    #[serde(default = "yes")]
    pub auto_assign: bool,
    /// Pools with a lower number are used first; among equals the older one.
    #[serde(default = "default_priority")]
    pub priority: i32,
}

fn yes() -> bool {
    true
}

fn default_priority() -> i32 {
    100
}

/// Yes or No, as Cilium's pools spell it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum YesNo {
    #[default]
    Yes,
    No,
}

// CEL cannot compare addresses, so the rules compare numbers. What the parts cost decides how they are written: the API
// server refuses rules that join or compare strings whose lengths it cannot bound.
const START_BEFORE_STOP_V4: &str = concat!(
    "!has(self.start) || !has(self.stop) || !isIP(self.start) || !isIP(self.stop)",
    " || ip(self.start).family() != 4 || ip(self.stop).family() != 4 || ",
    "[self.start, self.stop].map(a, int(a.split('.')[0]) * 16777216 + int(a.split('.')[1]) * 65536",
    " + int(a.split('.')[2]) * 256 + int(a.split('.')[3])).isSorted()"
);
// Each half of an address around its "::" as numbers, then both halves spread over eight groups (h), then each group (i)
// is in order unless an earlier one (j) already decides.
const START_BEFORE_STOP_V6: &str = concat!(
    "!has(self.start) || !has(self.stop) || !isIP(self.start) || !isIP(self.stop)",
    " || ip(self.start).family() != 6 || ip(self.stop).family() != 6",
    " || self.start.contains('.') || self.stop.contains('.') || ",
    "[[self.start, self.stop].map(a, a.lowerAscii().split('::').map(half, half.split(':').map(g,",
    " '0123456789abcdef'.indexOf(('0000' + g).charAt(size(g))) * 4096",
    " + '0123456789abcdef'.indexOf(('0000' + g).charAt(size(g) + 1)) * 256",
    " + '0123456789abcdef'.indexOf(('0000' + g).charAt(size(g) + 2)) * 16",
    " + '0123456789abcdef'.indexOf(('0000' + g).charAt(size(g) + 3)))))",
    ".map(h, [0, 1, 2, 3, 4, 5, 6, 7].map(i, i < size(h[0]) ? h[0][i]",
    " : size(h) == 2 && i >= 8 - size(h[1]) ? h[1][i + size(h[1]) - 8] : 0))]",
    ".all(x, [0, 1, 2, 3, 4, 5, 6, 7].all(i, x[0][i] <= x[1][i]",
    " || [0, 1, 2, 3, 4, 5, 6, 7].exists(j, j < i && x[0][j] != x[1][j])))"
);

/// A range of addresses: either `cidr`, or `start` with an optional `stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.cidr) != has(self.start)")
    .message("a block needs either cidr or start (with an optional stop): remove one of them or add the missing one"))]
#[x_kube(validation = Rule::new("!has(self.stop) || has(self.start)")
    .message("stop: needs a start; add it, or use cidr").field_path(".stop"))]
#[x_kube(validation = Rule::new("!has(self.cidr) || isCIDR(self.cidr)")
    .message("cidr: not a network; write an address and a prefix length, such as 10.0.10.0/24 or fd00::/112").field_path(".cidr"))]
#[x_kube(validation = Rule::new("!has(self.start) || isIP(self.start)")
    .message("start: not an IP address; write one such as 10.0.10.20 or fd00::20").field_path(".start"))]
#[x_kube(validation = Rule::new("!has(self.stop) || isIP(self.stop)")
    .message("stop: not an IP address; write one such as 10.0.10.30 or fd00::30").field_path(".stop"))]
#[x_kube(validation = Rule::new("!has(self.start) || !has(self.stop) || !isIP(self.start) || !isIP(self.stop) || ip(self.start).family() == ip(self.stop).family()")
    .message("start and stop: one is IPv4 and the other IPv6; give both in one family"))]
#[x_kube(validation = Rule::new(START_BEFORE_STOP_V4).message("start: comes after stop; swap them").field_path(".start"))]
#[x_kube(validation = Rule::new(START_BEFORE_STOP_V6).message("start: comes after stop; swap them").field_path(".start"))]
#[x_kube(validation = Rule::new("!has(self.cidr) || !isCIDR(self.cidr) || cidr(self.cidr).ip().isGlobalUnicast() || cidr(self.cidr).ip().isLinkLocalUnicast()")
    .message("cidr: unspecified, loopback and multicast addresses cannot be given to Services; use unicast addresses of your LAN").field_path(".cidr"))]
#[x_kube(validation = Rule::new("!has(self.start) || !isIP(self.start) || ip(self.start).isGlobalUnicast() || ip(self.start).isLinkLocalUnicast()")
    .message("start: unspecified, loopback and multicast addresses cannot be given to Services; use unicast addresses of your LAN").field_path(".start"))]
#[x_kube(validation = Rule::new("!has(self.stop) || !isIP(self.stop) || ip(self.stop).isGlobalUnicast() || ip(self.stop).isLinkLocalUnicast()")
    .message("stop: unspecified, loopback and multicast addresses cannot be given to Services; use unicast addresses of your LAN").field_path(".stop"))]
pub struct AddressBlock {
    /// A network in CIDR notation; bits beyond the prefix are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 43))]
    pub cidr: Option<String>,
    /// First address of a range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub start: Option<String>,
    /// Last address of a range, included; absent: `start` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 39))]
    pub stop: Option<String>,
}

/// What a pool holds and whether it has effect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerIPPoolStatus {
    /// The pool's IPv4 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<FamilyCounts>,
    /// The pool's IPv6 addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<FamilyCounts>,
    /// announcer.dev/Ready: whether it gives addresses; announcer.dev/PoolConflict: whether it overlaps an older pool.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Numbers of addresses of one family; what exceeds 2^63-1 is shown as that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct FamilyCounts {
    /// Addresses that the pool may give.
    pub total: i64,
    /// Addresses that it could give now.
    pub available: i64,
    /// Addresses that Services have.
    pub used: i64,
}

impl FamilyCounts {
    /// From [total, available, used].
    #[must_use]
    pub fn from_model(counts: [u128; 3]) -> Self {
        let [total, available, used] = counts.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        Self { total, available, used }
    }

    fn to_model(self) -> [u128; 3] {
        [self.total, self.available, self.used].map(|n| u128::try_from(n).unwrap_or(0))
    }
}

impl AddressBlock {
    /// The range, or what is wrong with which field.
    fn to_model(&self) -> Result<model::Block, String> {
        let parse = |field: &str, text: &str| {
            text.parse::<IpAddr>().map_err(|_| format!("{field}: {text:?} is not an IP address"))
        };
        match (&self.cidr, &self.start, &self.stop) {
            (Some(cidr), None, None) => {
                let net: IpNet = cidr
                    .parse()
                    .map_err(|_| format!("cidr: {cidr:?} is not a network; write one such as 10.0.10.0/24"))?;
                let net = net.trunc();
                Ok(model::Block { first: net.network(), last: net.broadcast(), cidr: Some(net) })
            }
            (None, Some(start), stop) => {
                let first = parse("start", start)?;
                let last = stop.as_deref().map_or(Ok(first), |stop| parse("stop", stop))?;
                if first.is_ipv4() != last.is_ipv4() {
                    return Err(format!("start and stop: {first} and {last} are of two families"));
                }
                if first > last {
                    return Err(format!("start: {first} comes after stop {last}; swap them"));
                }
                Ok(model::Block { first, last, cidr: None })
            }
            _ => Err("needs either cidr or start (with an optional stop)".into()),
        }
    }
}

impl From<&LoadBalancerIPPool> for model::Pool {
    /// Never fails: what cannot be used stands in `errors`, with its field named.
    fn from(pool: &LoadBalancerIPPool) -> Self {
        let spec = &pool.spec;
        let mut errors = Vec::new();
        let mut blocks = Vec::with_capacity(spec.blocks.len());
        for (i, block) in spec.blocks.iter().enumerate() {
            match block.to_model() {
                Ok(block) => blocks.push(block),
                Err(why) => errors.push(format!("spec.blocks[{i}].{why}")),
            }
        }
        let selector = LabelSelector::to_model(spec.service_selector.as_ref(), "spec.serviceSelector", &mut errors);
        let counts = pool.status.as_ref().map(|status| model::PoolCounts {
            v4: status.ipv4.unwrap_or_default().to_model(),
            v6: status.ipv6.unwrap_or_default().to_model(),
        });
        Self {
            uid: pool.uid().unwrap_or_default(),
            generation: pool.metadata.generation.unwrap_or_default(),
            created: pool.creation_timestamp().map_or(0, |time| time.0.as_second()),
            blocks,
            selector,
            disabled: spec.disabled,
            allow_first_last: spec.allow_first_last_ips == YesNo::Yes,
            avoid_buggy: spec.avoid_buggy_ips,
            auto_assign: spec.auto_assign,
            priority: spec.priority,
            conditions: pool.status.as_ref().map(|status| super::conditions(&status.conditions)).unwrap_or_default(),
            counts,
            errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(yaml: &str) -> model::Pool {
        let spec: LoadBalancerIPPoolSpec = serde_saphyr::from_str(yaml).unwrap();
        model::Pool::from(&LoadBalancerIPPool::new("lan", spec))
    }

    fn range(first: &str, last: &str, cidr: Option<&str>) -> model::Block {
        model::Block {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
            cidr: cidr.map(|cidr| cidr.parse().unwrap()),
        }
    }

    #[test]
    fn blocks_are_networks_ranges_and_single_addresses_of_both_families() {
        let pool = pool(
            "blocks: [{cidr: 10.0.10.7/24}, {start: 10.0.20.5, stop: 10.0.20.9}, {start: 10.0.30.1}, {cidr: 'fd00::/112'}]",
        );
        assert_eq!(pool.errors, Vec::<String>::new());
        assert_eq!(
            pool.blocks,
            [
                range("10.0.10.0", "10.0.10.255", Some("10.0.10.0/24")),
                range("10.0.20.5", "10.0.20.9", None),
                range("10.0.30.1", "10.0.30.1", None),
                range("fd00::", "fd00::ffff", Some("fd00::/112")),
            ]
        );
    }

    #[test]
    fn what_is_left_out_has_the_documented_default() {
        let pool = pool("blocks: []");
        assert!(pool.allow_first_last && pool.auto_assign && !pool.disabled && !pool.avoid_buggy);
        assert_eq!((pool.priority, pool.selector), (100, model::Selector::default()));
    }

    #[test]
    fn a_broken_block_is_named_and_the_others_stand() {
        let pool = pool(
            "blocks: [{cidr: 10.0.10.0/33}, {start: 10.0.20.9, stop: 10.0.20.5}, {start: 10.0.0.1, stop: 'fd00::1'}, {}, \
             {cidr: 10.0.0.0/8, start: 10.0.0.1}, {start: 10.0.30.1}]",
        );
        assert_eq!(pool.blocks, [range("10.0.30.1", "10.0.30.1", None)]);
        let fields: Vec<&str> = pool.errors.iter().map(|e| e.split(':').next().unwrap()).collect();
        assert_eq!(fields[..3], ["spec.blocks[0].cidr", "spec.blocks[1].start", "spec.blocks[2].start and stop"]);
        assert_eq!(pool.errors.len(), 5);
    }

    #[test]
    fn a_selector_with_a_wrong_number_of_values_is_an_error() {
        let pool =
            pool("serviceSelector: {matchExpressions: [{key: app, operator: In}, {key: app, operator: Exists}]}");
        assert_eq!(pool.errors.len(), 1);
        assert!(pool.errors[0].starts_with("spec.serviceSelector.matchExpressions[0].values"));
    }

    #[test]
    fn counts_beyond_the_range_of_an_integer_are_shown_as_its_largest() {
        assert_eq!(
            FamilyCounts::from_model([u128::MAX, 5, 0]),
            FamilyCounts { total: i64::MAX, available: 5, used: 0 }
        );
    }
}
