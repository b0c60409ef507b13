//! Services.

use std::time::Duration;

use k8s_openapi::api::core::v1 as core;

use super::convert::{addresses, port, protocol};
use crate::api::conditions;
use crate::world::model::{Family, FamilyPolicy, Ingress, Service, ServicePort, TrafficPolicy};

/// The API server's default for ClientIP affinity, in seconds.
const AFFINITY_DEFAULT: i32 = 10_800;

pub(super) fn read(object: &core::Service) -> Option<Service> {
    let meta = &object.metadata;
    let spec = object.spec.clone().unwrap_or_default();
    let status = object.status.clone().unwrap_or_default();
    let cluster_ips = match &spec.cluster_ips {
        Some(list) => addresses(list),
        None => addresses(&spec.cluster_ip),
    };
    Some(Service {
        uid: meta.uid.clone().unwrap_or_default(),
        resource_version: meta.resource_version.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map_or(0, |time| time.0.as_second()),
        deleting: meta.deletion_timestamp.is_some(),
        labels: meta.labels.clone().unwrap_or_default(),
        annotations: meta.annotations.clone().unwrap_or_default(),
        load_balancer: spec.type_.as_deref() == Some("LoadBalancer"),
        class: spec.load_balancer_class,
        cluster_ips,
        families: spec.ip_families.iter().flatten().filter_map(|text| family(text)).collect(),
        family_policy: match spec.ip_family_policy.as_deref() {
            Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
            Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
            _ => FamilyPolicy::SingleStack,
        },
        ports: spec.ports.iter().flatten().filter_map(service_port).collect(),
        load_balancer_ip: spec.load_balancer_ip.filter(|text| !text.is_empty()),
        external_ips: addresses(spec.external_ips.iter().flatten()),
        traffic_policy: match spec.external_traffic_policy.as_deref() {
            Some("Local") => TrafficPolicy::Local,
            _ => TrafficPolicy::Cluster,
        },
        affinity: (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
            let seconds = spec
                .session_affinity_config
                .and_then(|config| config.client_ip)
                .and_then(|client| client.timeout_seconds)
                .unwrap_or(AFFINITY_DEFAULT);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        }),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        health_check_node_port: spec.health_check_node_port.and_then(port),
        has_selector: spec.selector.is_some_and(|selector| !selector.is_empty()),
        ingress: status
            .load_balancer
            .iter()
            .flat_map(|status| status.ingress.iter().flatten())
            .filter_map(ingress)
            .collect(),
        conditions: conditions(&status.conditions.unwrap_or_default()),
    })
}

fn family(text: &str) -> Option<Family> {
    match text {
        "IPv4" => Some(Family::V4),
        "IPv6" => Some(Family::V6),
        _ => None,
    }
}

fn service_port(given: &core::ServicePort) -> Option<ServicePort> {
    Some(ServicePort {
        name: given.name.clone().unwrap_or_default(),
        protocol: protocol(given.protocol.as_deref())?,
        port: port(given.port)?,
        node_port: given.node_port.and_then(port),
    })
}

fn ingress(given: &core::LoadBalancerIngress) -> Option<Ingress> {
    let ip = given.ip.as_deref()?.parse().ok()?;
    Some(Ingress { ip, ip_mode: given.ip_mode.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_json(json: serde_json::Value) -> Service {
        read(&serde_json::from_value(json).unwrap()).unwrap()
    }

    #[test]
    fn a_service_is_read_with_all_that_is_used() {
        let service = from_json(serde_json::json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 3,
                "creationTimestamp": "1970-01-01T00:01:00Z", "labels": {"a": "b"}},
            "spec": {"type": "LoadBalancer", "loadBalancerClass": "announcer.dev/l2", "clusterIPs": ["10.96.0.9", "fd00::9"],
                "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack", "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 31000, "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}, "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": 8080, "nodePort": 30080}, {"name": "dns", "protocol": "UDP", "port": 53}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}, {"hostname": "example.org"}]},
                "conditions": [{"type": "C", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
        }));
        assert!(service.load_balancer && service.has_selector && !service.deleting);
        assert_eq!((service.created, service.generation), (60, 3));
        assert_eq!(service.families, [Family::V4, Family::V6]);
        assert_eq!(service.affinity, Some(Duration::from_secs(60)));
        assert_eq!(service.ports.len(), 2);
        assert_eq!(service.ports[0].node_port, Some(30080));
        assert_eq!(service.ingress.len(), 1);
        assert_eq!(service.traffic_policy, TrafficPolicy::Local);
        assert!(service.conditions[0].status);
    }

    #[test]
    fn odd_and_hostile_fields_are_left_out() {
        let service = from_json(serde_json::json!({
            "metadata": {},
            "spec": {"clusterIP": "None", "externalIPs": ["999.1.1.1", "", "192.0.2.7"], "ipFamilies": ["IPv9"],
                "healthCheckNodePort": -1, "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": -5}},
                "ports": [{"port": 0}, {"port": 70000}, {"port": i32::MIN}, {"port": 1, "protocol": "ICMP"}, {"port": 2, "nodePort": 99999}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "not an address"}, {}]}}
        }));
        assert_eq!(service.cluster_ips, Vec::<std::net::IpAddr>::new());
        assert_eq!(service.external_ips, ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(service.affinity, Some(Duration::ZERO));
        assert_eq!(service.ports.len(), 1);
        assert_eq!(service.ports[0].node_port, None);
        assert!(service.ingress.is_empty() && service.families.is_empty() && !service.load_balancer);
    }

    #[test]
    fn a_service_without_spec_and_status_is_read() {
        assert_eq!(from_json(serde_json::json!({"metadata": {"name": "empty"}})).ports, []);
    }
}
