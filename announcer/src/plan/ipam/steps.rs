//! From who should have what to what is to be written.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use super::{
    Notice, ServiceStatus, Severity, Step, Subject, Write,
    ledger::{Account, Ledger, Loss, shown},
    ours::{Census, Named, condition},
    pools::Pools,
    refusal::{MOVING, Refusal, SATISFIED, cut},
};
use crate::{
    api::names,
    world::model::{Condition, ObjectName, World},
};

/// The steps of a plan: those that take away, then those that give.
#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) releases: Vec<Step>,
    pub(super) grants: Vec<Step>,
}

/// What must happen to the claims.
#[derive(Debug)]
struct Claims<'w> {
    /// Claims to delete, by the Service whose status must be written first.
    stale: HashMap<&'w ObjectName, Vec<Write>>,
    /// Claims to delete whose addresses no Service shows.
    orphans: Vec<Write>,
    /// Addresses whose owner has no claim of its own, or will not have it once the stale ones are gone.
    missing: HashSet<IpAddr>,
}

impl Steps {
    pub(super) fn new(world: &World, census: &Census<'_>, pools: &Pools<'_>, ledger: &Ledger<'_, '_>) -> Self {
        let mut claims = Claims::new(world, census, ledger);
        let mut steps = Self::default();
        for named in &census.left {
            steps.leave(*named, census, pools, &mut claims);
        }
        for (i, account) in ledger.accounts.iter().enumerate() {
            steps.settle(i, account, ledger, &mut claims);
        }
        steps.releases.extend(claims.orphans.into_iter().map(|write| Step { writes: vec![write], notices: vec![] }));
        steps
    }

    /// A Service that is not ours any more.
    fn leave(&mut self, named: Named<'_>, census: &Census<'_>, pools: &Pools<'_>, claims: &mut Claims<'_>) {
        let (name, service) = named;
        let claimed = census.claims_of(name);
        let marked = condition(service).is_some();
        // Where another may serve it now, only what is claimed is surely ours.
        let given =
            |ip: &IpAddr| claimed.contains(ip) || (marked && !service.load_balancer && !pools.holding(*ip).is_empty());
        let given: Vec<IpAddr> = shown(named).filter(given).collect();
        let mut step = Step::default();
        if marked || !given.is_empty() {
            step.writes.push(Write::ClearService {
                service: name.clone(),
                uid: service.uid.clone(),
                addresses: !given.is_empty(),
            });
        }
        step.writes.extend(claims.stale.remove(name).unwrap_or_default());
        if !given.is_empty() {
            let note = format!("{} released: this Service is not announcer's any more", texts(&given));
            step.notices.push(about(named, Severity::Normal, "AddressReleased", note));
        }
        self.releases.extend((!step.writes.is_empty()).then_some(step));
    }

    /// One of our Services.
    fn settle(&mut self, index: usize, account: &Account<'_>, ledger: &Ledger<'_, '_>, claims: &mut Claims<'_>) {
        let named = account.named;
        let (name, service) = named;
        let has: Vec<IpAddr> = shown(named).collect();
        let lost: Vec<IpAddr> = has.iter().copied().filter(|ip| !account.addresses.contains(ip)).collect();
        let new: Vec<IpAddr> = account.addresses.iter().copied().filter(|ip| !has.contains(ip)).collect();
        let create: Vec<Write> = account
            .addresses
            .iter()
            .filter(|ip| claims.missing.contains(ip))
            .map(|ip| Write::CreateClaim { address: *ip, service: name.clone() })
            .collect();
        let delete = claims.stale.remove(name).unwrap_or_default();
        let status = ServiceStatus { addresses: account.addresses.clone(), condition: verdict(account) };
        let in_step = is_shown(named, &status) || (service.deleting && lost.is_empty());
        let set = |status| Write::SetService { service: name.clone(), uid: service.uid.clone(), status };

        let mut release = Step::default();
        if !lost.is_empty() {
            let reasons = lost.iter().map(|ip| (*ip, ledger.loss(index, *ip).unwrap_or(Loss::Taken)));
            release.notices.extend(reasons.map(|(ip, loss)| farewell(named, ip, &loss)));
        }
        // A Service without our condition would not be known as ours once its claim is gone and a crash follows.
        let status_first =
            !lost.is_empty() || (!delete.is_empty() && !service.deleting && condition(service).is_none());
        let mut grant = Step::default();
        if status_first && create.is_empty() && new.is_empty() {
            release.writes.extend((!in_step).then(|| set(status.clone())));
            release.notices.extend(complaint(account, &status.condition));
        } else {
            release.writes.extend(status_first.then(|| set(between(account, &new))));
            grant.writes.extend(create);
            grant.writes.extend((!in_step).then(|| set(status.clone())));
            grant.notices.extend(greeting(account, &new, ledger));
            grant.notices.extend(complaint(account, &status.condition));
        }
        release.writes.extend(delete);
        self.releases.extend((!release.writes.is_empty()).then_some(release));
        self.grants.extend((!grant.writes.is_empty()).then_some(grant));
    }
}

impl<'w> Claims<'w> {
    fn new(world: &'w World, census: &Census<'w>, ledger: &Ledger<'_, 'w>) -> Self {
        let known: HashSet<&ObjectName> = ledger.accounts.iter().map(|a| a.named.0).collect();
        let known: HashSet<&ObjectName> = known.into_iter().chain(census.left.iter().map(|named| named.0)).collect();
        let (mut stale, mut orphans) = (HashMap::<_, Vec<Write>>::new(), Vec::new());
        let mut missing: HashSet<IpAddr> =
            ledger.owners.keys().filter(|ip| !world.claims.contains_key(ip)).copied().collect();
        for (ip, claim) in &world.claims {
            let owner = ledger.owners.get(ip).map(|owner| ledger.accounts[*owner].named.0);
            if owner.is_some_and(|name| claim.services.contains(name)) {
                continue;
            }
            missing.extend(owner.map(|_| *ip));
            let write = Write::DeleteClaim { address: *ip, resource_version: claim.resource_version.clone() };
            // After the status that shows the address, if there is one.
            let named = || claim.services.iter().filter_map(|name| known.get(name));
            let shows = |name: &&&ObjectName| {
                world.services.get(**name).is_some_and(|service| service.ingress.iter().any(|one| one.ip == *ip))
            };
            match named().find(shows).or_else(|| named().next()) {
                Some(name) => stale.entry(*name).or_default().push(write),
                None => orphans.push(write),
            }
        }
        Self { stale, orphans, missing }
    }
}

/// The condition that the account's state deserves.
fn verdict(account: &Account<'_>) -> Condition {
    match Refusal::all(&account.refusals) {
        None => {
            let message = format!("{} assigned", texts(&account.addresses));
            condition_of(account, true, SATISFIED, message)
        }
        Some(refusal) if account.addresses.is_empty() => condition_of(account, false, refusal.reason, refusal.message),
        Some(refusal) => {
            let message = cut(format!("{} assigned, but {}", texts(&account.addresses), refusal.message));
            condition_of(account, false, refusal.reason, message)
        }
    }
}

/// What is shown between the loss of some addresses and the gift of `new` ones: those may be a loser's until then.
fn between(account: &Account<'_>, new: &[IpAddr]) -> ServiceStatus {
    let addresses = account.addresses.iter().copied().filter(|ip| !new.contains(ip)).collect();
    let message = format!("{} follows", texts(new));
    ServiceStatus { addresses, condition: condition_of(account, false, MOVING, message) }
}

fn condition_of(account: &Account<'_>, status: bool, reason: &str, message: String) -> Condition {
    let (_, service) = account.named;
    let old = condition(service).filter(|old| old.status == status);
    Condition {
        kind: names::CONDITION_IPAM.to_owned(),
        status,
        reason: reason.to_owned(),
        message,
        // Zero is not kept by the API server.
        observed_generation: (service.generation > 0).then_some(service.generation),
        last_transition: old.and_then(|old| old.last_transition),
    }
}

/// Whether the Service shows `status` already.
fn is_shown((_, service): Named<'_>, status: &ServiceStatus) -> bool {
    let addresses = service.ingress.len() == status.addresses.len()
        && service.ingress.iter().zip(&status.addresses).all(|(ingress, ip)| {
            // A server too old to know ipMode drops it.
            ingress.ip == *ip && ingress.ip_mode.as_deref().is_none_or(|mode| mode == "VIP")
        });
    addresses && condition(service).is_some_and(|old| same(old, &status.condition))
}

/// Equal but for the time of the last transition.
pub(super) fn same(a: &Condition, b: &Condition) -> bool {
    (a.status, &a.reason, &a.message, a.observed_generation) == (b.status, &b.reason, &b.message, b.observed_generation)
}

fn greeting(account: &Account<'_>, new: &[IpAddr], ledger: &Ledger<'_, '_>) -> Vec<Notice> {
    let note = |ip: &IpAddr| match ledger.pool_of(*ip) {
        Some(pool) => format!("{ip} assigned from pool {pool}"),
        None => format!("{ip} assigned"),
    };
    new.iter().map(|ip| about(account.named, Severity::Normal, "AddressAssigned", note(ip))).collect()
}

/// The Event for a condition that says no, when it is news.
fn complaint(account: &Account<'_>, now: &Condition) -> Option<Notice> {
    let (_, service) = account.named;
    let news = condition(service).is_none_or(|old| (&old.reason, &old.message) != (&now.reason, &now.message));
    (!now.status && news && !service.deleting)
        .then(|| about(account.named, Severity::Warning, "AddressRefused", now.message.clone()))
}

fn farewell(named: Named<'_>, ip: IpAddr, loss: &Loss) -> Notice {
    let (severity, why) = match loss {
        Loss::Forbidden(holder) => (Severity::Warning, format!("it is {holder}")),
        Loss::NoPool => (Severity::Warning, "no pool holds it any more".to_owned()),
        Loss::NotSelected(pool) => {
            (Severity::Warning, format!("pool {pool}, which holds it, does not select this Service any more"))
        }
        Loss::NotRequested => (Severity::Normal, "this Service asks for other addresses".to_owned()),
        Loss::Family => (Severity::Normal, "this Service does not have its family".to_owned()),
        Loss::Taken => (Severity::Warning, "another Service has it".to_owned()),
    };
    about(named, severity, "AddressReleased", format!("{ip} released: {why}"))
}

fn about((name, service): Named<'_>, severity: Severity, reason: &'static str, note: String) -> Notice {
    let subject = Subject::Service { name: name.clone(), uid: service.uid.clone() };
    Notice { subject, severity, reason, note: cut(note) }
}

fn texts(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The Services of each address.
pub(super) fn allocations(ledger: &Ledger<'_, '_>) -> std::collections::BTreeMap<IpAddr, BTreeSet<ObjectName>> {
    let owner = |(ip, i): (&IpAddr, &usize)| (*ip, [ledger.accounts[*i].named.0.clone()].into());
    ledger.owners.iter().map(owner).collect()
}
