//! Who gets which address, and what is said when nobody does.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use super::served::Served;
use crate::{
    cluster::pool_address,
    kube::{
        Kind,
        objects::{self, NAMESPACE},
    },
    runner::{Case, Scope, Suite},
    wait::{wait_for, wait_until},
};

const WITHIN: Duration = Duration::from_secs(15);

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(Suite::Lab, "a_service_gets_an_address_of_the_pool_and_a_lease_that_claims_it", gets_address),
        Case::new(Suite::Lab, "a_requested_address_is_given", requested_address),
        Case::new(Suite::Lab, "a_request_outside_every_pool_leaves_the_service_pending_and_says_why", outside_pools),
        Case::new(Suite::Lab, "a_service_of_a_foreign_class_is_never_written", foreign_class),
    ]
    .into_iter()
    .map(|case| case.group("serving"))
    .collect()
}

fn gets_address(scope: &mut Scope) -> anyhow::Result<()> {
    let served = Served::of(scope)?;
    let cluster = &served.cluster;
    ensure!((pool_address(0)..=pool_address(30)).contains(&served.vip), "{} is not of the pool", served.vip);
    let status = cluster.service_status("web")?;
    ensure!(status["loadBalancer"]["ingress"][0]["ipMode"] == "VIP", "ipMode: {status}");
    let (state, reason, _) = cluster.condition("web")?.context("the Service has no condition")?;
    ensure!((state.as_str(), reason.as_str()) == ("True", "satisfied"), "{state} {reason}");
    let lease = cluster.lease(served.vip)?.context("the VIP has no Lease")?;
    let services = lease["metadata"]["annotations"]["announcer.dev/services"].as_str();
    ensure!(services == Some("default/web"), "the Lease claims for {services:?}");
    ensure!(lease["spec"]["leaseDurationSeconds"].is_null(), "the Lease has a duration: {lease}");
    let pool = cluster.api().get(Kind::Pool, None, "lan")?.context("the pool is gone")?;
    let counts = pool["status"].to_string();
    ensure!(counts.contains("31"), "the pool of 31 addresses counts {counts}");
    Ok(())
}

fn requested_address(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = &Served::of(scope)?.cluster;
    let mut by_field = objects::service("by-field");
    by_field["spec"]["loadBalancerIP"] = pool_address(17).to_string().into();
    cluster.api().apply(&by_field)?;
    ensure!(cluster.address("by-field", WITHIN)? == pool_address(17));
    let mut by_annotation = objects::service("by-annotation");
    by_annotation["metadata"]["annotations"] = json!({"lbipam.cilium.io/ips": pool_address(18).to_string()});
    cluster.api().apply(&by_annotation)?;
    ensure!(cluster.address("by-annotation", WITHIN)? == pool_address(18));

    // The same address again: refused, and named so.
    let mut second = objects::service("second");
    second["spec"]["loadBalancerIP"] = pool_address(17).to_string().into();
    cluster.api().apply(&second)?;
    let condition = wait_until("the second Service has its condition", WITHIN, || cluster.condition("second"))?;
    ensure!((condition.0.as_str(), condition.1.as_str()) == ("False", "already_allocated"), "{condition:?}");
    ensure!(cluster.ingress("second")?.is_none(), "one address was given twice");

    // It heals by itself when the cause goes.
    cluster.api().delete(Kind::Service, Some(NAMESPACE), "by-field")?;
    ensure!(cluster.address("second", WITHIN)? == pool_address(17));
    for name in ["by-annotation", "second"] {
        cluster.api().delete(Kind::Service, Some(NAMESPACE), name)?;
    }
    Ok(())
}

fn outside_pools(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = &Served::of(scope)?.cluster;
    let mut stray = objects::service("stray");
    stray["spec"]["loadBalancerIP"] = "192.0.2.77".into();
    cluster.api().apply(&stray)?;
    let (state, reason, message) = wait_until("the Service has its condition", WITHIN, || cluster.condition("stray"))?;
    ensure!((state.as_str(), reason.as_str()) == ("False", "outside_pools"), "{state} {reason}");
    ensure!(message.contains("192.0.2.77"), "the message does not name the address: {message}");
    ensure!(cluster.ingress("stray")?.is_none(), "it got an address all the same");
    let event = wait_until("an Event says why", WITHIN, || {
        Ok(cluster.events_about("stray")?.into_iter().find(|(kind, ..)| kind == "Warning"))
    })?;
    ensure!(event.2.contains("192.0.2.77"), "the Event does not name the address: {event:?}");
    cluster.api().delete(Kind::Service, Some(NAMESPACE), "stray")
}

fn foreign_class(scope: &mut Scope) -> anyhow::Result<()> {
    let cluster = &Served::of(scope)?.cluster;
    let mut foreign = objects::service("foreign");
    foreign["spec"]["loadBalancerClass"] = "example.com/other".into();
    cluster.api().apply(&foreign)?;
    // One that is ours, made later, is served: so the foreign one was looked at before.
    cluster.api().apply(&objects::service("ours"))?;
    cluster.address("ours", WITHIN)?;
    let status = cluster.service_status("foreign")?;
    ensure!(status["conditions"].is_null() && status["loadBalancer"]["ingress"].is_null(), "{status}");
    for name in ["foreign", "ours"] {
        cluster.api().delete(Kind::Service, Some(NAMESPACE), name)?;
    }
    wait_for("deleted Services' claims are gone", WITHIN, || {
        let leases = cluster.api().list(Kind::Lease, Some(crate::cluster::SYSTEM))?;
        Ok(leases.iter().filter(|l| l["metadata"]["labels"]["announcer.dev/kind"] == "vip").count() == 1)
    })
}
