//! Pieces that several kinds are read with. What cannot be read is left out, never a reason to panic.

use std::net::IpAddr;

use crate::world::model::{ObjectName, Protocol};

pub(super) fn name<K: kube::Resource>(object: &K) -> String {
    object.meta().name.clone().unwrap_or_default()
}

pub(super) fn object_name<K: kube::Resource>(object: &K) -> ObjectName {
    ObjectName { namespace: object.meta().namespace.clone().unwrap_or_default(), name: name(object) }
}

/// The addresses among `texts`; others (a hostname, `None`) are left out.
pub(super) fn addresses<'a>(texts: impl IntoIterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.into_iter().filter_map(|text| text.trim().parse().ok()).collect()
}

/// A port from an API field, which is wider than a port.
pub(super) fn port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

/// Absent means TCP.
pub(super) fn protocol(text: Option<&str>) -> Option<Protocol> {
    match text {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}
