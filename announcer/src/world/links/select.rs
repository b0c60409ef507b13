//! Which links are served: pure, from what netlink told.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;

use super::LinkError;
use crate::world::{
    message::LinkTable,
    model::{Link, Mac},
    pattern::LinkPattern,
};

/// kube-proxy in IPVS mode puts every Service's address on this link: they are not the node's own.
const IPVS_LINK: &str = "kube-ipvs0";

/// Everything that netlink told at one time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) links: Vec<RawLink>,
    /// Addresses with their prefix, by index of their link.
    pub(super) addresses: Vec<(u32, IpNet)>,
    pub(super) defaults: Vec<DefaultRoute>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawLink {
    pub(super) index: u32,
    pub(super) name: String,
    /// None: no Ethernet, so there is no ARP on it.
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    pub(super) up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DefaultRoute {
    pub(super) v4: bool,
    pub(super) link: Option<u32>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) metric: u32,
}

/// How the links to serve are named.
#[derive(Debug)]
pub(super) enum Selection {
    Patterns(Vec<LinkPattern>),
    /// The links of the default route; `last` are those found before, for the time that there is no such route.
    DefaultRoute {
        last: BTreeSet<String>,
    },
}

impl Selection {
    pub(super) fn new(patterns: Vec<LinkPattern>) -> Self {
        if patterns.is_empty() { Self::DefaultRoute { last: BTreeSet::new() } } else { Self::Patterns(patterns) }
    }

    /// The table of what is served.
    ///
    /// # Errors
    /// When no link is.
    pub(super) fn choose(&mut self, raw: &Raw) -> Result<LinkTable, LinkError> {
        let present: Vec<String> = raw.links.iter().map(|link| link.name.clone()).collect();
        let table = self.table(raw);
        if !table.links.is_empty() {
            return Ok(table);
        }
        Err(match self {
            Self::Patterns(patterns) => LinkError::NoMatch {
                patterns: patterns.iter().map(|pattern| pattern.text().to_owned()).collect(),
                present,
            },
            Self::DefaultRoute { .. } => LinkError::NoDefaultRoute { present },
        })
    }

    /// The same, with no links where none match now: links may come back.
    pub(super) fn table(&mut self, raw: &Raw) -> LinkTable {
        if let Self::DefaultRoute { last } = self {
            let found = default_links(raw);
            if !found.is_empty() {
                *last = found;
            }
        }
        let selection: &Self = self;
        let served = |name: &str| match selection {
            Self::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
            Self::DefaultRoute { last } => last.contains(name),
        };
        let mut links = BTreeMap::new();
        for link in raw.links.iter().filter(|link| served(&link.name)) {
            let Some(mac) = link.mac else { continue };
            let addresses =
                raw.addresses.iter().filter(|(index, _)| *index == link.index).map(|(_, net)| *net).collect();
            let (name, index, mtu, up) = (link.name.clone(), link.index, link.mtu, link.up);
            links.insert(link.name.clone(), Link { name, index, mac, mtu, up, addresses, attached: None });
        }
        let ipvs = raw.links.iter().find(|link| link.name == IPVS_LINK).map(|link| link.index);
        let own = raw.addresses.iter().filter(|(index, _)| Some(*index) != ipvs);
        LinkTable {
            links,
            addresses: own.map(|(_, net)| net.addr()).collect(),
            gateways: raw.defaults.iter().filter_map(|route| route.gateway).collect(),
        }
    }
}

/// The links of the IPv4 default routes with the lowest metric; of IPv6 where there is none.
fn default_links(raw: &Raw) -> BTreeSet<String> {
    for v4 in [true, false] {
        let routes = || raw.defaults.iter().filter(|route| route.v4 == v4 && route.link.is_some());
        let Some(best) = routes().map(|route| route.metric).min() else { continue };
        let indexes: BTreeSet<u32> = routes().filter(|route| route.metric == best).filter_map(|r| r.link).collect();
        return raw
            .links
            .iter()
            .filter(|link| link.mac.is_some() && indexes.contains(&link.index))
            .map(|link| link.name.clone())
            .collect();
    }
    BTreeSet::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Raw {
        let link =
            |index, name: &str, mac: Option<Mac>| RawLink { index, name: name.to_owned(), mac, mtu: 1500, up: true };
        Raw {
            links: vec![
                link(1, "lo", None),
                link(2, "eth0", Some(Mac([2, 0, 0, 0, 0, 2]))),
                link(3, "eth1", Some(Mac([2, 0, 0, 0, 0, 3]))),
                link(4, IPVS_LINK, Some(Mac([2, 0, 0, 0, 0, 4]))),
            ],
            addresses: vec![
                (1, "127.0.0.1/8".parse().unwrap()),
                (2, "192.0.2.5/24".parse().unwrap()),
                (4, "192.0.2.222/32".parse().unwrap()),
            ],
            defaults: vec![
                DefaultRoute { v4: true, link: Some(2), gateway: Some("192.0.2.1".parse().unwrap()), metric: 100 },
                DefaultRoute { v4: true, link: Some(3), gateway: Some("198.51.100.1".parse().unwrap()), metric: 600 },
            ],
        }
    }

    fn names(table: &LinkTable) -> Vec<&str> {
        table.links.keys().map(String::as_str).collect()
    }

    fn patterns(texts: &[&str]) -> Selection {
        Selection::new(texts.iter().map(|text| LinkPattern::parse(text).unwrap()).collect())
    }

    #[test]
    fn without_a_setting_the_best_default_routes_link_is_served_and_kept_while_there_is_none() {
        let mut selection = patterns(&[]);
        assert_eq!(names(&selection.choose(&raw()).unwrap()), ["eth0"]);
        let without = Raw { defaults: Vec::new(), ..raw() };
        assert_eq!(names(&selection.choose(&without).unwrap()), ["eth0"]);
        let error = patterns(&[]).choose(&without).unwrap_err().to_string();
        assert!(error.contains("--interface") && error.contains("lo, eth0, eth1"), "{error}");
    }

    #[test]
    fn links_are_served_by_their_whole_name_and_only_ethernet() {
        assert_eq!(names(&patterns(&["eth1", "lo"]).choose(&raw()).unwrap()), ["eth1"]);
        assert_eq!(names(&patterns(&["eth.*"]).choose(&raw()).unwrap()), ["eth0", "eth1"]);
        let error = patterns(&["eth", "lo"]).choose(&raw()).unwrap_err().to_string();
        assert!(error.contains("eth, lo") && error.contains("eth0"), "{error}");
    }

    #[test]
    fn addresses_of_every_link_are_the_nodes_own_but_not_those_of_ipvs() {
        let table = patterns(&["eth1"]).table(&raw());
        let own: Vec<String> = table.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(own, ["127.0.0.1", "192.0.2.5"]);
        assert_eq!(table.gateways.len(), 2);
    }
}
