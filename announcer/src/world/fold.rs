//! Folds messages into the World: merges, observes heartbeats, says what changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    beats::VIEW_GRACE,
    message::{Change, Kind, Lease, LinkTable, Message, Slice, Update},
    model::{Endpoint, Heartbeat, Moment, NodeFacts, ObjectName, World},
};

impl World {
    /// Takes one message in, heard at `now`, and says what it changed.
    pub fn take(&mut self, message: Message, now: Moment) -> Change {
        let was_complete = self.is_complete();
        let mut change = match message {
            Message::Services(update) => {
                self.listed(Kind::Services, &update);
                let (changed, lost) = fold(&mut self.services, update);
                let cluster = changed && self.derive_api_endpoints();
                Change { services: changed, loss: lost, cluster, ..Change::default() }
            }
            Message::Slices(update) => {
                self.listed(Kind::Slices, &update);
                self.take_slices(update)
            }
            Message::Nodes(update) => {
                self.listed(Kind::Nodes, &update);
                let (changed, lost) = fold(&mut self.nodes, update);
                Change { nodes: changed, loss: lost, ..Change::default() }
            }
            Message::Pools(update) => {
                self.listed(Kind::Pools, &update);
                Change { pools: fold(&mut self.pools, update).0, ..Change::default() }
            }
            Message::Policies(update) => {
                self.listed(Kind::Policies, &update);
                Change { policies: fold(&mut self.policies, update).0, ..Change::default() }
            }
            Message::Leases(update) => {
                self.listed(Kind::Leases, &update);
                self.take_leases(update, now)
            }
            Message::Cluster(uid) => {
                self.sources.listed.insert(Kind::Cluster);
                let uid = Some(uid);
                let changed = self.cluster_uid != uid;
                self.cluster_uid = uid;
                Change { cluster: changed, ..Change::default() }
            }
            Message::ApiServer(addresses) => {
                self.sources.api_server = addresses;
                Change { cluster: self.derive_api_endpoints(), ..Change::default() }
            }
            Message::Links(table) => {
                self.sources.listed.insert(Kind::Links);
                self.take_links(table)
            }
            Message::Trouble(kind, trouble) => {
                let before = match &trouble {
                    Some(text) => self.sources.troubles.insert(kind, text.clone()),
                    None => self.sources.troubles.remove(&kind),
                };
                Change { troubles: before != trouble, ..Change::default() }
            }
        };
        change.completed = !was_complete && self.is_complete();
        change
    }

    fn listed<K, V>(&mut self, kind: Kind, update: &Update<K, V>) {
        if matches!(update, Update::All(_)) {
            self.sources.listed.insert(kind);
        }
    }

    fn take_slices(&mut self, update: Update<ObjectName, Slice>) -> Change {
        let mut touched = BTreeSet::new();
        match update {
            Update::All(list) => {
                touched.extend(self.sources.slices.keys().cloned());
                self.sources.slices.clear();
                self.sources.slice_of.clear();
                for (name, slice) in list {
                    touched.insert(slice.service.clone());
                    self.put_slice(name, slice);
                }
            }
            Update::Set(name, slice) => {
                touched.extend(self.drop_slice(&name));
                touched.insert(slice.service.clone());
                self.put_slice(name, slice);
            }
            Update::Gone(name) => touched.extend(self.drop_slice(&name)),
        }
        let mut change = Change::default();
        for service in touched {
            change |= self.merge_slices(&service);
        }
        if change.endpoints {
            change.cluster = self.derive_api_endpoints();
        }
        change
    }

    fn put_slice(&mut self, name: ObjectName, slice: Slice) {
        self.sources.slices.entry(slice.service.clone()).or_default().insert(name.name.clone(), slice.endpoints);
        self.sources.slice_of.insert(name, slice.service);
    }

    /// Forgets a slice; the Service that it belonged to.
    fn drop_slice(&mut self, name: &ObjectName) -> Option<ObjectName> {
        let service = self.sources.slice_of.remove(name)?;
        if let Some(slices) = self.sources.slices.get_mut(&service) {
            slices.remove(&name.name);
            if slices.is_empty() {
                self.sources.slices.remove(&service);
            }
        }
        Some(service)
    }

    fn merge_slices(&mut self, service: &ObjectName) -> Change {
        let merged = self.sources.slices.get(service).map(merge).unwrap_or_default();
        let before = if merged.is_empty() {
            self.endpoints.remove(service).unwrap_or_default()
        } else {
            match self.endpoints.get(service) {
                Some(before) if *before == merged => return Change::default(),
                _ => self.endpoints.insert(service.clone(), merged).unwrap_or_default(),
            }
        };
        let after = self.endpoints.get(service).map(Vec::as_slice).unwrap_or_default();
        let loss = before.iter().any(|old| !after.contains(old) && !after.iter().any(|new| no_worse(old, new)));
        Change { endpoints: before != after, loss, ..Change::default() }
    }

    fn take_leases(&mut self, update: Update<String, Lease>, now: Moment) -> Change {
        let mut change = Change::default();
        match update {
            Update::All(list) => {
                let (mut vips, mut nodes, mut allocator) = (BTreeSet::new(), BTreeSet::new(), false);
                for (_, lease) in &list {
                    match lease {
                        Lease::Vip { ip, .. } => drop(vips.insert(*ip)),
                        Lease::Node { node, .. } => drop(nodes.insert(node.clone())),
                        Lease::Allocator(_) => allocator = true,
                    }
                }
                let gone_vips: Vec<IpAddr> = self.claims.keys().filter(|ip| !vips.contains(ip)).copied().collect();
                let gone_nodes: Vec<String> =
                    self.heartbeats.keys().filter(|node| !nodes.contains(*node)).cloned().collect();
                for ip in gone_vips {
                    change |= self.lose_claim(ip);
                }
                for node in gone_nodes {
                    change |= self.lose_heartbeat(&node);
                }
                if !allocator {
                    change.allocator |= self.allocator.take().is_some();
                }
                for (_, lease) in list {
                    change |= self.take_lease(lease, now);
                }
            }
            Update::Set(_, lease) => change |= self.take_lease(lease, now),
            Update::Gone(name) => change |= self.lose_lease(&name),
        }
        change
    }

    fn take_lease(&mut self, lease: Lease, now: Moment) -> Change {
        match lease {
            Lease::Vip { ip, claim } => {
                let before = self.claims.insert(ip, claim);
                Change { claims: before.as_ref() != self.claims.get(&ip), ..Change::default() }
            }
            Lease::Allocator(lease) => {
                let changed = self.allocator.as_ref() != Some(&lease);
                self.allocator = Some(lease);
                Change { allocator: changed, ..Change::default() }
            }
            Lease::Node { node, resource_version, beat, facts } => {
                self.take_beat(node, resource_version, beat, facts, now)
            }
        }
    }

    fn take_beat(
        &mut self,
        node: String,
        resource_version: String,
        beat: String,
        facts: NodeFacts,
        now: Moment,
    ) -> Change {
        let Some(known) = self.heartbeats.get_mut(&node) else {
            let new = Heartbeat { resource_version, beat, observed: now, first_seen: now, facts };
            self.heartbeats.insert(node, new);
            return Change { heartbeats: true, ..Change::default() };
        };
        let mut change = Change { heartbeats: known.facts != facts, ..Change::default() };
        known.resource_version = resource_version;
        known.facts = facts;
        if known.beat == beat {
            return change;
        }
        known.beat = beat;
        // It may have been taken for dead in the meantime.
        change.heartbeats |= now.since(known.observed) > VIEW_GRACE;
        if node == self.me {
            self.resume_view(now);
        }
        if let Some(known) = self.heartbeats.get_mut(&node) {
            known.observed = now;
        }
        change
    }

    fn lose_lease(&mut self, name: &str) -> Change {
        if name == crate::api::names::ALLOCATOR_LEASE {
            return Change { allocator: self.allocator.take().is_some(), ..Change::default() };
        }
        if let Some(ip) = self.claims.keys().copied().find(|ip| crate::api::names::vip_lease(*ip) == name) {
            return self.lose_claim(ip);
        }
        match self.heartbeats.keys().find(|node| crate::api::names::node_lease(node) == name).cloned() {
            Some(node) => self.lose_heartbeat(&node),
            None => Change::default(),
        }
    }

    fn lose_claim(&mut self, ip: IpAddr) -> Change {
        let lost = self.claims.remove(&ip).is_some();
        Change { claims: lost, loss: lost, ..Change::default() }
    }

    fn lose_heartbeat(&mut self, node: &str) -> Change {
        let lost = self.heartbeats.remove(node).is_some();
        let own = lost && node == self.me;
        Change { heartbeats: lost, loss: lost, own_heartbeat_lost: own, ..Change::default() }
    }

    fn take_links(&mut self, mut table: LinkTable) -> Change {
        for (name, link) in &mut table.links {
            // How it is attached is known here only, and only of the same device: one made anew has no programs.
            link.attached = self.links.get(name).filter(|old| old.index == link.index).and_then(|old| old.attached);
        }
        let changed =
            self.links != table.links || self.own_addresses != table.addresses || self.gateways != table.gateways;
        let loss = self.links.iter().any(|(name, old)| old.up && table.links.get(name).is_none_or(|new| !new.up));
        self.links = table.links;
        self.own_addresses = table.addresses;
        self.gateways = table.gateways;
        Change { links: changed, loss, ..Change::default() }
    }

    /// The API server's addresses: by the kubeconfig, and those of Service default/kubernetes. Whether they changed.
    fn derive_api_endpoints(&mut self) -> bool {
        let kubernetes = ObjectName { namespace: "default".to_owned(), name: "kubernetes".to_owned() };
        let mut addresses = self.sources.api_server.clone();
        addresses.extend(self.services.get(&kubernetes).into_iter().flat_map(|service| &service.cluster_ips));
        addresses.extend(self.endpoints.get(&kubernetes).into_iter().flatten().map(|endpoint| endpoint.ip));
        let changed = self.api_endpoints != addresses;
        self.api_endpoints = addresses;
        changed
    }
}

/// Whether `new` is `old` and can serve at least as well.
fn no_worse(old: &Endpoint, new: &Endpoint) -> bool {
    old.ip == new.ip
        && old.port == new.port
        && old.protocol == new.protocol
        && old.port_name == new.port_name
        && old.node == new.node
        && (new.ready || !old.ready)
        && (new.serving || !old.serving)
}

/// One list without duplicates, in an order that depends on the content alone.
fn merge(slices: &BTreeMap<String, Vec<Endpoint>>) -> Vec<Endpoint> {
    let mut all: Vec<Endpoint> = slices.values().flatten().cloned().collect();
    // An endpoint may stand in two slices while it moves between them: the state that can serve counts.
    let rank = |e: &Endpoint| (!e.ready, !e.serving, e.terminating);
    all.sort_by(|a, b| identity(a).cmp(&identity(b)).then_with(|| rank(a).cmp(&rank(b))).then_with(|| a.cmp(b)));
    all.dedup_by(|b, a| identity(a) == identity(b));
    all
}

fn identity(endpoint: &Endpoint) -> impl Ord + '_ {
    (&endpoint.port_name, endpoint.protocol, endpoint.ip, endpoint.port)
}

/// Takes an update into a map: whether anything changed, and whether something is gone.
fn fold<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, update: Update<K, V>) -> (bool, bool) {
    match update {
        Update::All(list) => {
            let new: BTreeMap<K, V> = list.into_iter().collect();
            let lost = map.keys().any(|key| !new.contains_key(key));
            let changed = *map != new;
            *map = new;
            (changed, lost)
        }
        Update::Set(key, value) => {
            let changed = map.get(&key) != Some(&value);
            if changed {
                map.insert(key, value);
            }
            (changed, false)
        }
        Update::Gone(key) => {
            let lost = map.remove(&key).is_some();
            (lost, lost)
        }
    }
}

#[cfg(test)]
mod tests;
