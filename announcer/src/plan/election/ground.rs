//! On which links of which nodes each VIP may be announced.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    rc::Rc,
};

use ipnet::IpNet;

use super::{
    Reason,
    fitness::{Unfit, may_lead},
};
use crate::world::{
    model::{Claim, Family, LinkFacts, Moment, Policy, World},
    pattern::LinkPattern,
};

/// Nodes that may lead a VIP, with the links on which they would announce it.
pub(super) type Candidates<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// What the candidates of every VIP are made of, computed once for a plan.
pub(super) struct Ground<'a> {
    world: &'a World,
    /// Nodes that may lead, with their links.
    fit: BTreeMap<&'a str, &'a [LinkFacts]>,
    policies: Vec<Compiled<'a>>,
    /// Every network that a node of the cluster says it is in.
    networks: Vec<IpNet>,
    /// VIPs of one network that the same policies select have the same candidates.
    known: HashMap<(Vec<usize>, Vec<usize>), Rc<Candidates<'a>>>,
}

struct Compiled<'a> {
    policy: &'a Policy,
    /// Expressions that cannot be used match nothing; the policy's status says so.
    links: Vec<LinkPattern>,
}

impl Compiled<'_> {
    fn allows(&self, link: &str) -> bool {
        self.policy.interfaces.is_empty() || self.links.iter().any(|pattern| pattern.matches(link))
    }
}

impl<'a> Ground<'a> {
    pub(super) fn new(world: &'a World, now: Moment) -> Self {
        let fit = world
            .heartbeats
            .keys()
            .filter_map(|node| Some((node.as_str(), may_lead(world, node, now).ok()?.links.as_slice())))
            .collect();
        let policies = world
            .policies
            .values()
            .filter(|policy| policy.load_balancer_ips)
            .map(|policy| Compiled {
                policy,
                links: policy.interfaces.iter().filter_map(|text| LinkPattern::parse(text).ok()).collect(),
            })
            .collect();
        let networks: BTreeSet<IpNet> = world
            .heartbeats
            .values()
            .flat_map(|beat| &beat.facts.links)
            .flat_map(|link| &link.addresses)
            .map(IpNet::trunc)
            .filter(|net| net.prefix_len() < net.max_prefix_len())
            .collect();
        Self { world, fit, policies, networks: networks.into_iter().collect(), known: HashMap::new() }
    }

    /// The nodes that may lead `vip`, or why there can be none whatever the nodes' state.
    pub(super) fn candidates(&mut self, vip: IpAddr, claim: &Claim) -> Result<Rc<Candidates<'a>>, Reason> {
        let policies = self.policies_of(vip, claim)?;
        let networks: Vec<usize> = self.networks_of(vip);
        let key = (policies, networks);
        if let Some(known) = self.known.get(&key) {
            return Ok(Rc::clone(known));
        }
        let mut candidates = Candidates::new();
        for (node, links) in &self.fit {
            let Some(object) = self.world.nodes.get(*node) else { continue };
            let selecting: Vec<&Compiled<'_>> = key
                .0
                .iter()
                .map(|index| &self.policies[*index])
                .filter(|compiled| compiled.policy.node_selector.matches(&object.labels))
                .collect();
            let allowed: BTreeSet<&str> = links
                .iter()
                .filter(|link| link.up && self.in_subnet(&link.addresses, &key.1))
                .map(|link| link.name.as_str())
                .filter(|name| selecting.iter().any(|compiled| compiled.allows(name)))
                // Of its own links this node knows more, and sooner.
                .filter(|name| *node != self.world.me || self.own_link_up(name))
                .collect();
            if !allowed.is_empty() {
                candidates.insert(node, allowed);
            }
        }
        let candidates = Rc::new(candidates);
        self.known.insert(key, Rc::clone(&candidates));
        Ok(candidates)
    }

    /// Own links on which this node goes on answering until another has taken over: whether this node may still lead is
    /// not asked, only where the policies let the VIP be announced.
    pub(super) fn own_links(&self, vip: IpAddr, claim: &Claim) -> BTreeSet<String> {
        let Ok(policies) = self.policies_of(vip, claim) else { return BTreeSet::new() };
        let networks = self.networks_of(vip);
        self.world
            .links
            .values()
            .filter(|link| link.up && link.attached.is_some() && self.in_subnet(&link.addresses, &networks))
            .filter(|link| policies.iter().any(|index| self.policies[*index].allows(&link.name)))
            .map(|link| link.name.clone())
            .collect()
    }

    /// Whether a policy that selects the VIP selects this node too.
    pub(super) fn selects_node(&self, vip: IpAddr, claim: &Claim, node: &str) -> bool {
        let Some(object) = self.world.nodes.get(node) else { return false };
        self.policies_of(vip, claim).is_ok_and(|policies| {
            policies.iter().any(|index| self.policies[*index].policy.node_selector.matches(&object.labels))
        })
    }

    fn own_link_up(&self, name: &str) -> bool {
        self.world.links.get(name).is_some_and(|link| link.up && link.attached.is_some())
    }

    fn policies_of(&self, vip: IpAddr, claim: &Claim) -> Result<Vec<usize>, Reason> {
        if Family::of(vip) == Family::V6 {
            return Err(Reason::FamilyUnsupported);
        }
        let labels: Vec<_> = claim
            .services
            .iter()
            .filter_map(|name| Some(self.world.services.get(name)?.selectable_labels(name)))
            .collect();
        if labels.is_empty() {
            return Err(Reason::NoService);
        }
        let selecting: Vec<usize> = (0..self.policies.len())
            .filter(|index| labels.iter().any(|labels| self.policies[*index].policy.service_selector.matches(labels)))
            .collect();
        if selecting.is_empty() { Err(Reason::NoPolicy) } else { Ok(selecting) }
    }

    fn networks_of(&self, vip: IpAddr) -> Vec<usize> {
        (0..self.networks.len()).filter(|index| self.networks[*index].contains(&vip)).collect()
    }

    /// A VIP that is in no node's network may be announced anywhere: it is routed to the LAN.
    fn in_subnet(&self, addresses: &[IpNet], networks: &[usize]) -> bool {
        networks.is_empty()
            || addresses.iter().any(|address| networks.iter().any(|index| self.networks[*index] == address.trunc()))
    }
}

/// Why `node` may not lead, for a node that holds a Lease.
pub(super) fn unfit(world: &World, node: &str, now: Moment) -> Option<Unfit> {
    may_lead(world, node, now).err()
}
