//! What a Service asks for.

use std::net::IpAddr;

use crate::{
    api::names,
    world::model::{Family, FamilyPolicy, Service},
};

/// More addresses than this for one Service are a mistake, and would make its condition unreadable.
const MOST: usize = 32;

/// Addresses that a Service asks for by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// In the order they are written, without duplicates. Empty: any address will do.
    pub(super) addresses: Vec<IpAddr>,
    /// What cannot be read, field named. With errors nobody can tell what is wanted, so nothing is given or taken.
    pub(super) errors: Vec<String>,
}

impl Request {
    /// The union of all annotations for it and `spec.loadBalancerIP`.
    pub(super) fn of(service: &Service) -> Self {
        let annotations = [names::IPS_ANNOTATION, names::IPS_ANNOTATION_CILIUM, names::IPS_ANNOTATION_CILIUM_OLD]
            .into_iter()
            .filter_map(|key| Some((key, service.annotations.get(key)?)));
        let field = service.load_balancer_ip.iter().map(|text| ("spec.loadBalancerIP", text));
        let mut request = Self::default();
        for (source, text) in annotations.chain(field) {
            for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
                request.add(source, part);
            }
        }
        request
    }

    fn add(&mut self, source: &str, text: &str) {
        match text.parse::<IpAddr>() {
            _ if self.errors.len() + self.addresses.len() > MOST => {}
            Ok(ip) => {
                let ip = ip.to_canonical();
                if !self.addresses.contains(&ip) {
                    self.addresses.push(ip);
                }
                if self.addresses.len() > MOST {
                    self.errors.push(format!("{source} asks for more than {MOST} addresses: ask for fewer"));
                }
            }
            Err(_) => {
                let short: String = text.chars().take(48).collect();
                self.errors
                    .push(format!("{source}: {short:?} is not an IP address: write addresses separated by commas"));
            }
        }
    }
}

/// Whether the Service may have IPv4 addresses, the one family that this version gives.
pub(super) fn wants_ipv4(service: &Service) -> bool {
    service.families.is_empty() || service.families.contains(&Family::V4)
}

/// Whether the Service is only content with IPv6 as well.
pub(super) fn insists_on_ipv6(service: &Service) -> bool {
    service.family_policy == FamilyPolicy::RequireDualStack
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(annotations: &[(&str, &str)], field: Option<&str>) -> Service {
        Service {
            annotations: annotations.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            load_balancer_ip: field.map(Into::into),
            ..Service::default()
        }
    }

    #[test]
    fn the_request_is_the_union_of_all_ways_to_ask() {
        let request = Request::of(&service(
            &[
                ("announcer.dev/ips", "10.0.0.1, 10.0.0.2,"),
                ("lbipam.cilium.io/ips", "10.0.0.2,10.0.0.3"),
                ("io.cilium/lb-ipam-ips", "fd00::1"),
            ],
            Some("10.0.0.4"),
        ));
        let expected =
            ["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "10.0.0.4"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(request, Request { addresses: expected.into(), errors: vec![] });
    }

    #[test]
    fn a_blank_annotation_asks_for_nothing() {
        assert_eq!(Request::of(&service(&[("announcer.dev/ips", " , ")], Some(""))), Request::default());
    }

    #[test]
    fn what_is_no_address_is_named_with_its_source() {
        let errors = Request::of(&service(&[("lbipam.cilium.io/ips", "10.0.0.300,10.0.0.1")], None)).errors;
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("lbipam.cilium.io/ips: \"10.0.0.300\" is not an IP address"), "{errors:?}");
    }

    #[test]
    fn an_endless_list_is_an_error_and_is_not_carried_along() {
        let text = (0..60_000u32).map(|n| std::net::Ipv4Addr::from_bits(n).to_string()).collect::<Vec<_>>().join(",");
        let request = Request::of(&service(&[("announcer.dev/ips", &text)], None));
        assert!(request.addresses.len() <= MOST + 1 && request.errors.len() == 1);
        let rubbish = vec!["x"; 10_000].join(",");
        assert!(Request::of(&service(&[("announcer.dev/ips", &rubbish)], None)).errors.len() <= MOST + 1);
    }
}
