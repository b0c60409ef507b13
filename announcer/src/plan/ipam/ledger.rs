//! Who has which address: first what Services have already, then what is given to those that wait.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use super::{
    forbidden::Forbidden,
    ours::{Census, Named},
    pools::Pools,
    ranges::address,
    refusal::Refusal,
    request::{self, Request},
};
use crate::world::model::{Family, World};

/// One of our Services and what it has.
#[derive(Debug)]
pub(super) struct Account<'w> {
    pub(super) named: Named<'w>,
    pub(super) request: Request,
    /// The labels that pools select by; None where no pool does.
    labels: Option<BTreeMap<String, String>>,
    /// What it keeps, in the order of its status, then what is given now.
    pub(super) addresses: Vec<IpAddr>,
    /// What it does not get, and why.
    pub(super) refusals: Vec<Refusal>,
}

/// The accounts of all our Services.
#[derive(Debug)]
pub(super) struct Ledger<'p, 'w> {
    /// In the order of the Services' creation.
    pub(super) accounts: Vec<Account<'w>>,
    /// Which account has an address.
    pub(super) owners: HashMap<IpAddr, usize>,
    pools: &'p Pools<'w>,
    forbidden: &'p Forbidden,
    /// By pool: no free address is below.
    cursors: Vec<Option<u128>>,
}

/// Why a Service does not keep an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loss {
    /// Something that is no Service has it.
    Forbidden(String),
    /// No pool holds it.
    NoPool,
    /// Pools hold it, and none selects the Service.
    NotSelected(String),
    /// The Service asks for others.
    NotRequested,
    /// The Service does not want this family.
    Family,
    /// Another Service has it by right.
    Taken,
}

impl<'p, 'w> Ledger<'p, 'w> {
    pub(super) fn new(census: &Census<'w>, pools: &'p Pools<'w>, forbidden: &'p Forbidden) -> Self {
        let accounts = census
            .ours
            .iter()
            .map(|(name, service)| Account {
                named: (name, service),
                request: Request::of(service),
                labels: pools.selective.then(|| service.selectable_labels(name)),
                addresses: Vec::new(),
                refusals: Vec::new(),
            })
            .collect();
        let cursors = vec![Some(0); pools.list.len()];
        Self { accounts, owners: HashMap::new(), pools, forbidden, cursors }
    }

    /// Notes what Services have already and may keep. A claim decides between two that have one address.
    pub(super) fn adopt(&mut self, world: &World, census: &Census<'w>) {
        let places: HashMap<_, _> = self.accounts.iter().enumerate().map(|(i, account)| (account.named.0, i)).collect();
        // Addresses whose claims name somebody who may keep them.
        let spoken_for: HashSet<IpAddr> = world
            .claims
            .iter()
            .filter(|(ip, claim)| {
                let mut named = claim.services.iter().filter_map(|name| places.get(name));
                named.any(|i| self.loss(*i, **ip).is_none())
            })
            .map(|(ip, _)| *ip)
            .collect();
        // Shown and claimed, then shown where nobody has a claim, then claimed and not shown: a crash came between.
        for i in 0..self.accounts.len() {
            let named = self.accounts[i].named;
            for ip in shown(named).filter(|ip| census.claims_of(named.0).contains(ip)) {
                self.keep(i, ip);
            }
        }
        for i in 0..self.accounts.len() {
            for ip in shown(self.accounts[i].named).filter(|ip| !spoken_for.contains(ip)) {
                self.keep(i, ip);
            }
            // The status' own order, however the addresses were found.
            let account = &mut self.accounts[i];
            account.addresses = shown(account.named).filter(|ip| account.addresses.contains(ip)).collect();
        }
        for i in 0..self.accounts.len() {
            for ip in census.claims_of(self.accounts[i].named.0) {
                let account = &self.accounts[i];
                let wanted = account.addresses.is_empty() || account.request.addresses.contains(ip);
                if wanted {
                    self.keep(i, *ip);
                }
            }
        }
    }

    /// Gives addresses to the Services that lack some, in the order of their creation.
    pub(super) fn serve(&mut self) {
        for i in 0..self.accounts.len() {
            let account = &self.accounts[i];
            let (_, service) = account.named;
            if service.deleting {
                continue;
            }
            if !request::wants_ipv4(service) {
                self.accounts[i].refusals.push(Refusal::no_ipv4_wanted());
                continue;
            }
            if !account.request.errors.is_empty() {
                let refusal = Refusal::malformed(&account.request.errors);
                self.accounts[i].refusals.push(refusal);
            } else if !account.request.addresses.is_empty() {
                let missing: Vec<IpAddr> = account.missing().collect();
                for ip in missing {
                    match self.check(i, ip) {
                        Ok(()) => self.give(i, ip),
                        Err(refusal) => self.accounts[i].refusals.push(refusal),
                    }
                }
            } else if account.addresses.is_empty() {
                match self.find(i) {
                    Ok(ip) => self.give(i, ip),
                    Err(refusal) => self.accounts[i].refusals.push(refusal),
                }
            }
            if request::insists_on_ipv6(service) {
                self.accounts[i].refusals.push(Refusal::ipv6_required());
            }
            self.accounts[i].arrange();
        }
    }

    /// Why the account may not keep `ip`, other Services aside; None: it may.
    pub(super) fn loss(&self, account: usize, ip: IpAddr) -> Option<Loss> {
        let Account { named: (_, service), request, .. } = &self.accounts[account];
        // Whoever is being deleted keeps what it shows to the end, and needs nothing else.
        if service.deleting {
            let shows = service.ingress.iter().any(|ingress| ingress.ip == ip);
            return (!shows).then_some(Loss::NotRequested);
        }
        if Family::of(ip) == Family::V6 || !request::wants_ipv4(service) {
            return Some(Loss::Family);
        }
        if let Some(holder) = self.forbidden.revoked_by(ip) {
            return Some(Loss::Forbidden(holder.to_owned()));
        }
        if request.errors.is_empty() && !request.addresses.is_empty() && !request.addresses.contains(&ip) {
            return Some(Loss::NotRequested);
        }
        let holding = self.pools.holding(ip);
        // What a pool that cannot be read wholly holds, nobody knows: it takes nothing away.
        let Some(first) = holding.first() else { return (!self.pools.unreadable).then_some(Loss::NoPool) };
        let keeps = |i: &usize| !self.pools.list[*i].pool.errors.is_empty() || self.selects(*i, account);
        (!holding.iter().any(keeps)).then(|| Loss::NotSelected(self.pools.list[*first].name.to_owned()))
    }

    /// The pool that gives `ip`, or held it when it was given.
    pub(super) fn pool_of(&self, ip: IpAddr) -> Option<&str> {
        let holding = self.pools.holding(ip);
        let open = holding.iter().find(|i| self.pools.list[**i].closed().is_none());
        open.or(holding.first()).map(|i| self.pools.list[*i].name)
    }

    fn selects(&self, pool: usize, account: usize) -> bool {
        self.accounts[account].labels.as_ref().is_none_or(|labels| self.pools.list[pool].pool.selector.matches(labels))
    }

    /// Keeps what another has not got and nothing speaks against.
    fn keep(&mut self, account: usize, ip: IpAddr) {
        if !self.owners.contains_key(&ip) && self.loss(account, ip).is_none() {
            self.give(account, ip);
        }
    }

    fn give(&mut self, account: usize, ip: IpAddr) {
        self.owners.insert(ip, account);
        self.accounts[account].addresses.push(ip);
    }

    /// Whether the account may have `ip`, which it asks for.
    fn check(&self, account: usize, ip: IpAddr) -> Result<(), Refusal> {
        if Family::of(ip) == Family::V6 {
            return Err(Refusal::ipv6_requested(ip));
        }
        if let Some(holder) = self.forbidden.holder(ip) {
            return Err(Refusal::forbidden(ip, holder));
        }
        if self.pools.list.is_empty() {
            return Err(Refusal::no_pool());
        }
        // Of several pools the one that is nearest to giving it tells why it does not.
        let mut refusal = (0, Refusal::outside_pools(ip));
        for &i in self.pools.holding(ip) {
            let pool = &self.pools.list[i];
            let answer = if !self.selects(i, account) {
                (1, Refusal::not_selected(ip, pool.name))
            } else if let Some(closed) = pool.closed() {
                (2, Refusal::closed_for(ip, closed.reason, pool.name, &closed.why))
            } else if !pool.gives(ip) {
                (3, Refusal::reserved(ip, pool.name))
            } else if let Some(owner) = self.owners.get(&ip) {
                (4, Refusal::taken(ip, self.accounts[*owner].named.0))
            } else {
                return Ok(());
            };
            if answer.0 > refusal.0 {
                refusal = answer;
            }
        }
        Err(refusal.1)
    }

    /// Any address for the account.
    fn find(&mut self, account: usize) -> Result<IpAddr, Refusal> {
        let (pools, owners, forbidden) = (self.pools, &self.owners, self.forbidden);
        let mut closed = None;
        let (mut full, mut reluctant, mut without) = (Vec::new(), Vec::new(), Vec::new());
        for (i, pool) in pools.list.iter().enumerate() {
            if !self.selects(i, account) {
                continue;
            }
            if let Some(why) = pool.closed() {
                closed.get_or_insert((pool.name, why));
                continue;
            }
            if !pool.pool.auto_assign {
                reluctant.push(pool.name);
                continue;
            }
            let free = |ip: IpAddr| !owners.contains_key(&ip) && forbidden.holder(ip).is_none();
            // Nothing becomes free while addresses are given, so the search goes on where it ended.
            let found = self.cursors[i].and_then(|from| pool.first_free(Family::V4, from, free));
            self.cursors[i] = found;
            match found {
                Some(found) => return Ok(address(Family::V4, found)),
                None if pool.total(Family::V4) == 0 => without.push(pool.name),
                None => full.push(pool.name),
            }
        }
        Err(if !full.is_empty() {
            Refusal::out_of_ips(&full)
        } else if !reluctant.is_empty() {
            Refusal::only_on_request(&reluctant)
        } else if let Some((name, why)) = closed {
            Refusal::closed(why.reason, name, &why.why)
        } else if !without.is_empty() {
            Refusal::no_ipv4_in(&without)
        } else if pools.list.is_empty() {
            Refusal::no_pool()
        } else {
            Refusal::no_pool_selects()
        })
    }
}

impl Account<'_> {
    /// What is shown stays in its order, the rest follows in the order of the request: a restart between two writes
    /// must not change it.
    fn arrange(&mut self) {
        let has: Vec<IpAddr> = shown(self.named).collect();
        let place = |list: &[IpAddr], ip: &IpAddr| list.iter().position(|one| one == ip).unwrap_or(usize::MAX);
        self.addresses.sort_by_key(|ip| (place(&has, ip), place(&self.request.addresses, ip), *ip));
    }

    /// What it asks for and does not have.
    fn missing(&self) -> impl Iterator<Item = IpAddr> {
        self.request.addresses.iter().copied().filter(|ip| !self.addresses.contains(ip))
    }
}

/// The addresses in the Service's status, each once.
pub(super) fn shown<'w>((_, service): Named<'w>) -> impl Iterator<Item = IpAddr> + use<'w> {
    let ingress = &service.ingress;
    ingress
        .iter()
        .enumerate()
        .filter_map(|(i, entry)| ingress[..i].iter().all(|before| before.ip != entry.ip).then_some(entry.ip))
}
