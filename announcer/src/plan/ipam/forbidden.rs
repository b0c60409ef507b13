//! Addresses that are never given, whoever asks.

use std::{collections::HashMap, net::IpAddr};

use crate::world::model::World;

/// Addresses in use by something that is no Service.
#[derive(Debug)]
pub(super) struct Forbidden(HashMap<IpAddr, Holder>);

#[derive(Debug)]
struct Holder {
    what: String,
    /// Every node knows it, not this one alone.
    shared: bool,
}

impl Forbidden {
    pub(super) fn new(world: &World) -> Self {
        let mut held = HashMap::new();
        let mut add = |ip: IpAddr, what: &dyn Fn() -> String, shared: bool| {
            held.entry(ip.to_canonical()).or_insert_with(|| Holder { what: what(), shared });
        };
        for (name, node) in &world.nodes {
            node.addresses.iter().for_each(|ip| add(*ip, &|| format!("an address of Node {name}"), true));
        }
        for (name, heartbeat) in &world.heartbeats {
            for link in &heartbeat.facts.links {
                let what = || format!("an address of link {} of Node {name}", link.name);
                link.addresses.iter().for_each(|net| add(net.addr(), &what, true));
            }
        }
        world.api_endpoints.iter().for_each(|ip| add(*ip, &|| "an address of the API server".to_owned(), true));
        world.gateways.iter().for_each(|ip| add(*ip, &|| "a default gateway".to_owned(), true));
        world.own_addresses.iter().for_each(|ip| add(*ip, &|| format!("an address of Node {}", world.me), false));
        Self(held)
    }

    /// Who or what has `ip`, so that no Service gets it.
    pub(super) fn holder(&self, ip: IpAddr) -> Option<&str> {
        self.0.get(&ip).map(|holder| holder.what.as_str())
    }

    /// The same for an address that a Service already has. What only this node sees on its own links does not count
    /// here: kube-proxy in IPVS mode puts the VIPs themselves on a link, and the next allocator would see it otherwise.
    pub(super) fn revoked_by(&self, ip: IpAddr) -> Option<&str> {
        self.0.get(&ip).filter(|holder| holder.shared).map(|holder| holder.what.as_str())
    }

    /// All of them.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.0.keys().copied()
    }
}
