//! Reads links, addresses and default routes by netlink.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures::{Stream, StreamExt};
use ipnet::IpNet;
use rtnetlink::{
    Error, Handle, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressMessage},
        link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage},
        route::{RouteAddress, RouteAttribute, RouteMessage, RouteType, RouteVia},
    },
};

use super::select::{DefaultRoute, Raw, RawLink};
use crate::world::model::Mac;

pub(super) async fn read(handle: &Handle) -> Result<Raw, Error> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut raw = Raw {
        links: collect(handle.link().get().execute(), |message| link(&message).into_iter().collect()).await?,
        addresses: collect(handle.address().get().execute(), |message| address(&message).into_iter().collect()).await?,
        defaults: collect(handle.route().get(v4).execute(), |message| defaults(&message, true)).await?,
    };
    raw.defaults.extend(collect(handle.route().get(v6).execute(), |message| defaults(&message, false)).await?);
    Ok(raw)
}

async fn collect<M, T>(
    stream: impl Stream<Item = Result<M, Error>>,
    read: impl Fn(M) -> Vec<T>,
) -> Result<Vec<T>, Error> {
    let mut stream = std::pin::pin!(stream);
    let mut all = Vec::new();
    while let Some(message) = stream.next().await {
        all.extend(read(message?));
    }
    Ok(all)
}

fn link(message: &LinkMessage) -> Option<RawLink> {
    let mut link = RawLink {
        index: message.header.index,
        name: String::new(),
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) if message.header.link_layer_type == LinkLayerType::Ether => {
                link.mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    // On a point-to-point link Address is the other end; Local, where given, is always this one.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(ip) => Some(*ip),
        _ => None,
    });
    let net = IpNet::new(local.or(any)?, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

/// Whether a route is a default route, to judge news of routes before all are read.
pub(super) fn is_default(message: &RouteMessage) -> bool {
    message.header.destination_prefix_length == 0 && message.header.kind == RouteType::Unicast
}

fn defaults(message: &RouteMessage, v4: bool) -> Vec<DefaultRoute> {
    if !is_default(message) {
        return Vec::new();
    }
    let metric = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Priority(metric) => Some(*metric),
        _ => None,
    });
    let route = |link: Option<u32>, attributes: &[RouteAttribute]| DefaultRoute {
        v4,
        link: link.or_else(|| {
            attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            })
        }),
        gateway: attributes.iter().find_map(gateway),
        metric: metric.unwrap_or(0),
    };
    let mut routes = vec![route(None, &message.attributes)];
    for attribute in &message.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            routes.extend(hops.iter().map(|hop| route(Some(hop.interface_index), &hop.attributes)));
        }
    }
    routes.retain(|route| route.link.is_some() || route.gateway.is_some());
    routes
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(ip)) | RouteAttribute::Via(RouteVia::Inet(ip)) => Some((*ip).into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(ip)) | RouteAttribute::Via(RouteVia::Inet6(ip)) => {
            Some((*ip).into())
        }
        _ => None,
    }
}
