//! EndpointSlices.

use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::convert::{addresses, port, protocol};
use crate::world::{
    message::Slice,
    model::{Endpoint, ObjectName},
};

/// Names the Service that a slice belongs to.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// None for a slice of no Service, and for one of names.
pub(super) fn read(object: &EndpointSlice) -> Option<Slice> {
    let service = object.metadata.labels.as_ref()?.get(SERVICE_LABEL).filter(|name| !name.is_empty())?;
    if !matches!(object.address_type.as_str(), "IPv4" | "IPv6") {
        return None;
    }
    let ports: Vec<_> = object
        .ports
        .iter()
        .flatten()
        .filter_map(|given| {
            let name = given.name.clone().unwrap_or_default();
            Some((name, protocol(given.protocol.as_deref())?, port(given.port?)?))
        })
        .collect();
    let mut endpoints = Vec::new();
    for given in &object.endpoints {
        let conditions = given.conditions.clone().unwrap_or_default();
        // Absent: unknown, which is to be taken for ready; serving follows ready.
        let ready = conditions.ready.unwrap_or(true);
        // All addresses of one endpoint are the same one, and consumers use the first (discovery/v1).
        let ip = addresses(&given.addresses).into_iter().next();
        let Some(ip) = ip.filter(|ip| ip.is_ipv4() == (object.address_type == "IPv4")) else { continue };
        endpoints.extend(ports.iter().map(|(name, protocol, port)| Endpoint {
            port_name: name.clone(),
            protocol: *protocol,
            ip,
            port: *port,
            node: given.node_name.clone().filter(|node| !node.is_empty()),
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
        }));
    }
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    Some(Slice { service: ObjectName { namespace, name: service.clone() }, endpoints })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(json: serde_json::Value) -> Option<Slice> {
        read(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn each_address_is_an_endpoint_for_each_port() {
        let slice = slice(serde_json::json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {SERVICE_LABEL: "web"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}, {"name": "dns", "protocol": "UDP", "port": 53}],
            "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n1", "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}}]
        }))
        .unwrap();
        assert_eq!(slice.service.to_string(), "shop/web");
        assert_eq!(slice.endpoints.len(), 4);
        assert_eq!(slice.endpoints[0].node.as_deref(), Some("n1"));
        let last = &slice.endpoints[3];
        assert!(!last.ready && last.serving && last.terminating && last.node.is_none());
    }

    #[test]
    fn what_is_no_address_or_port_is_left_out() {
        let slice = slice(serde_json::json!({
            "metadata": {"labels": {SERVICE_LABEL: "web"}}, "addressType": "IPv4",
            "ports": [{"port": 0}, {"port": -1}, {"port": 65536}, {"protocol": "QUIC", "port": 1}, {}, {"port": 80}],
            "endpoints": [{"addresses": []}, {"addresses": ["pod.example"]}, {"addresses": ["fd00::1"]}, {"addresses": ["10.0.0.1", "10.0.0.2"]}]
        }))
        .unwrap();
        assert_eq!(slice.endpoints.len(), 1);
        assert!(slice.endpoints[0].ready && slice.endpoints[0].serving);
    }

    #[test]
    fn slices_of_no_service_and_of_names_are_none() {
        let labels = serde_json::json!({SERVICE_LABEL: "web"});
        assert!(slice(serde_json::json!({"metadata": {}, "addressType": "IPv4", "endpoints": []})).is_none());
        assert!(
            slice(serde_json::json!({"metadata": {"labels": labels}, "addressType": "FQDN", "endpoints": []}))
                .is_none()
        );
    }
}
