//! Why a Service does not get an address: a reason for machines, and a message that says what to do.

use std::net::IpAddr;

use crate::world::model::ObjectName;

/// Names in a message are cut here; a condition is read by people.
const NAMES_SHOWN: usize = 5;

/// One reason why (a part of) a request is not satisfied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The condition's reason.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The condition's reason where nothing is missing.
pub(super) const SATISFIED: &str = "satisfied";
/// The condition's reason between the loss of an address and the gift of another.
pub(super) const MOVING: &str = "moving";

impl Refusal {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }

    pub(super) fn no_pool() -> Self {
        Self::new(
            "no_pool",
            "there is no LoadBalancerIPPool: create one whose blocks hold the addresses to give".to_owned(),
        )
    }

    pub(super) fn no_pool_selects() -> Self {
        Self::new(
            "pool_selector_mismatch",
            "no LoadBalancerIPPool selects this Service: change a pool's serviceSelector or this Service's labels"
                .to_owned(),
        )
    }

    pub(super) fn no_ipv4_in(pools: &[&str]) -> Self {
        Self::new("no_pool", format!("{} no IPv4 address: add a block with IPv4 addresses", of(pools, "holds", "hold")))
    }

    pub(super) fn only_on_request(pools: &[&str]) -> Self {
        Self::new(
            "no_auto_assign",
            format!(
                "{} addresses on request only (autoAssign: false): ask for one in annotation announcer.dev/ips",
                of(pools, "gives", "give")
            ),
        )
    }

    pub(super) fn out_of_ips(pools: &[&str]) -> Self {
        Self::new(
            "out_of_ips",
            format!("{} no free address: add a block, or delete a Service that has one", of(pools, "has", "have")),
        )
    }

    /// Every pool that could give is closed; `why` is the first one's reason.
    pub(super) fn closed(reason: &'static str, pool: &str, why: &str) -> Self {
        Self::new(reason, format!("pool {pool} gives no new address: {why}"))
    }

    pub(super) fn malformed(errors: &[String]) -> Self {
        Self::new("malformed_request", errors.join("; "))
    }

    pub(super) fn no_ipv4_wanted() -> Self {
        Self::new(
            "family_unsupported",
            "this Service is IPv6 only, and this version of announcer gives IPv4 addresses only: add IPv4 to spec.ipFamilies"
                .to_owned(),
        )
    }

    pub(super) fn ipv6_required() -> Self {
        Self::new(
            "family_unsupported",
            "this version of announcer gives IPv4 addresses only: set spec.ipFamilyPolicy to PreferDualStack or SingleStack"
                .to_owned(),
        )
    }

    pub(super) fn ipv6_requested(ip: IpAddr) -> Self {
        Self::new(
            "family_unsupported",
            format!("{ip} is IPv6, and this version of announcer gives IPv4 addresses only: ask for an IPv4 address"),
        )
    }

    pub(super) fn forbidden(ip: IpAddr, holder: &str) -> Self {
        Self::new("forbidden_address", format!("{ip} is {holder} and is never given to a Service: ask for another"))
    }

    pub(super) fn outside_pools(ip: IpAddr) -> Self {
        Self::new(
            "outside_pools",
            format!("{ip} is in no LoadBalancerIPPool: ask for an address of a pool, or add a block that holds it"),
        )
    }

    pub(super) fn not_selected(ip: IpAddr, pool: &str) -> Self {
        Self::new(
            "pool_selector_mismatch",
            format!(
                "{ip} is in pool {pool}, which does not select this Service: ask for another address, or change the \
                 pool's serviceSelector or this Service's labels"
            ),
        )
    }

    pub(super) fn closed_for(ip: IpAddr, reason: &'static str, pool: &str, why: &str) -> Self {
        Self::new(reason, format!("{ip} is in pool {pool}, which gives no new address: {why}"))
    }

    pub(super) fn reserved(ip: IpAddr, pool: &str) -> Self {
        Self::new(
            "reserved_address",
            format!(
                "{ip} is set aside by pool {pool} (allowFirstLastIPs: No or avoidBuggyIPs: true): ask for another address"
            ),
        )
    }

    pub(super) fn taken(ip: IpAddr, by: &ObjectName) -> Self {
        Self::new("already_allocated", format!("{ip} is in use by Service {by}: ask for another, or free it there"))
    }

    /// One for several, as one condition holds them: the first one's reason, all messages.
    pub(super) fn all(refusals: &[Self]) -> Option<Self> {
        let first = refusals.first()?;
        let messages: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
        Some(Self::new(first.reason, cut(messages.join("; "))))
    }
}

/// Names for a message, only the first few of many.
pub(super) fn list(names: &[&str]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_SHOWN { format!("{shown} and {} more", names.len() - NAMES_SHOWN) } else { shown }
}

fn of(pools: &[&str], singular: &str, plural: &str) -> String {
    match pools {
        [pool] => format!("pool {pool} {singular}"),
        _ => format!("pools {} {plural}", list(pools)),
    }
}

/// At most 1024 bytes, the limit of an Event's note.
pub(super) fn cut(mut message: String) -> String {
    const MOST: usize = 1024;
    if message.len() > MOST {
        let mut end = MOST - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_and_long_lists_are_cut() {
        let cut_one = cut("ü".repeat(600));
        assert!(cut_one.len() <= 1024 && cut_one.ends_with('…'));
        assert_eq!(list(&["a", "b", "c", "d", "e", "f", "g"]), "a, b, c, d, e and 2 more");
    }

    #[test]
    fn several_refusals_are_one_with_the_first_reason_and_all_messages() {
        let ip = "10.0.0.1".parse().unwrap();
        let all = Refusal::all(&[Refusal::outside_pools(ip), Refusal::no_pool()]).unwrap();
        assert_eq!(all.reason, "outside_pools");
        assert!(all.message.contains("10.0.0.1 is in no") && all.message.contains("there is no LoadBalancerIPPool"));
        assert_eq!(Refusal::all(&[]), None);
    }
}
