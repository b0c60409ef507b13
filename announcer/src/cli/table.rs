//! The text form of what the agent answers.

use std::fmt::Display;

use comfy_table::{Table, presets};

use crate::{
    observe::status::{PathKind, PortStatus, ServiceStatus, Status, VipStatus},
    world::model::AttachMode,
};

/// A table without lines, two blanks between columns, as kubectl prints.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn text(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

fn mode(mode: Option<AttachMode>) -> &'static str {
    match mode {
        Some(AttachMode::Native) => "native",
        Some(AttachMode::NativeFrags) => "native (frags)",
        Some(AttachMode::Generic) => "generic",
        None => "not attached",
    }
}

pub(super) fn status(status: &Status) -> String {
    let mut out = format!(
        "Node {} · announcer {} · pid {} · up {}\n",
        status.node,
        status.version,
        status.pid,
        duration(status.uptime_seconds)
    );
    let state = match (status.complete, status.programmed) {
        (true, true) => "in step with the API server",
        (true, false) => "the maps are not programmed yet",
        (false, _) => "waiting for the API server; what was there before goes on",
    };
    out += &format!("State: {state}\n");
    for problem in &status.problems {
        out += &format!("Problem: {problem}\n");
    }
    out += &format!(
        "VIPs {} ({} led here) · Services {} · endpoints {} · allocator {}\n\n",
        status.vips,
        status.vips_led,
        status.services,
        status.endpoints,
        status.allocator.as_deref().unwrap_or("none")
    );
    let mut links = table(&["LINK", "MODE", "MAC", "MTU", "UP", "ADDRESSES"]);
    for link in &status.links {
        links.add_row([
            link.name.clone(),
            mode(link.mode).to_owned(),
            link.mac.to_string(),
            link.mtu.to_string(),
            yes(link.up).to_owned(),
            list(&link.addresses),
        ]);
    }
    let mut nodes = table(&["NODE", "ALIVE", "READY", "LEAVING", "VERSION"]);
    for node in &status.nodes {
        nodes.add_row([&node.name, yes(node.alive), yes(node.ready), yes(node.leaving), &node.version]);
    }
    let mut maps = table(&["MAP", "USED", "CAPACITY"]);
    for map in &status.maps {
        maps.add_row([map.name.to_lowercase(), map.used.to_string(), map.capacity.to_string()]);
    }
    out + &[text(&links), text(&nodes), text(&maps)].join("\n")
}

pub(super) fn vips(vips: &[VipStatus]) -> String {
    if vips.is_empty() {
        return "No VIPs: no Service that announcer serves has an address.\n".to_owned();
    }
    let mut rows = table(&["VIP", "LEADER", "TERM", "ANNOUNCED HERE ON", "SERVICES", "REASON"]);
    for vip in vips {
        rows.add_row([
            vip.address.to_string(),
            vip.leader.clone().unwrap_or_else(|| "none".to_owned()),
            vip.term.to_string(),
            list(&vip.announced_on),
            list(&vip.services),
            vip.reason.clone(),
        ]);
    }
    text(&rows)
}

pub(super) fn services(services: &[ServiceStatus]) -> String {
    if services.is_empty() {
        return "No Services: none is of type LoadBalancer and ours.\n".to_owned();
    }
    let mut rows =
        table(&["SERVICE", "ADDRESS", "PORT", "PATH", "NODES (WEIGHT)", "ENDPOINTS HERE", "FLOWS HERE", "TABLES"]);
    let mut notes = String::new();
    for service in services {
        let name = format!("{}/{}", service.namespace, service.name);
        let path = match service.path.kind {
            PathKind::Datapath => "datapath",
            PathKind::Kernel => "kernel",
            PathKind::None => "none",
        };
        if service.ports.is_empty() {
            rows.add_row([&name, &list(&service.addresses), "-", path, "-", "-", "-", "-"]);
        }
        for port in &service.ports {
            rows.add_row(port_row(&name, path, port));
        }
        if !service.path.why.is_empty() {
            notes += &format!("{name}: {}\n", service.path.why);
        }
        for condition in service.conditions.iter().filter(|condition| !condition.status) {
            notes += &format!("{name}: {} ({})\n", condition.message, condition.reason);
        }
    }
    let rows = text(&rows);
    if notes.is_empty() { rows } else { format!("{rows}\n{notes}") }
}

fn port_row(name: &str, path: &str, port: &PortStatus) -> [String; 8] {
    [
        name.to_owned(),
        port.address.to_string(),
        format!("{}/{}", port.port, port.protocol),
        path.to_owned(),
        list(port.nodes.iter().map(|node| format!("{} ({})", node.name, node.weight))),
        list(&port.local),
        port.flows.to_string(),
        port.tables.to_string(),
    ]
}

/// Two units at most: `2d 3h`, `5m 7s`.
fn duration(seconds: u64) -> String {
    let units = [(seconds / 86_400, "d"), (seconds / 3_600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let shown: Vec<_> = units.iter().skip_while(|(value, _)| *value == 0).take(2).collect();
    if shown.is_empty() {
        return "0s".to_owned();
    }
    shown.iter().map(|(value, unit)| format!("{value}{unit}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
