//! Values of settings: one check for the flag, the environment and the file.

use std::{net::SocketAddr, time::Duration};

use serde::Deserialize;

use crate::world::pattern::LinkPattern;

/// Whether Services without `spec.loadBalancerClass` are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Classless {
    #[default]
    Auto,
    Yes,
    No,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Least and greatest hold time: below, a busy node would lapse between two pushes; above, a dead agent's node would
/// answer with a plan of yesterday.
const HOLD_TIMES: std::ops::RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(24 * 3600);

/// Least and greatest number of entries of the flow table (16 Mi entries are 1 GiB of kernel memory).
const FLOWS: std::ops::RangeInclusive<u32> = 1_024..=16_777_216;

pub(super) fn hold_time(text: &str) -> Result<Duration, String> {
    let advice = "give a time such as 10m or 90s, from 2s to 24h";
    let time: jiff::SignedDuration = text.parse().map_err(|_| format!("{text:?} is not a time: {advice}"))?;
    let time = Duration::try_from(time).map_err(|_| format!("{text:?} is negative: {advice}"))?;
    HOLD_TIMES.contains(&time).then_some(time).ok_or_else(|| format!("{text:?} is out of range: {advice}"))
}

pub(super) fn interface(text: &str) -> Result<LinkPattern, String> {
    if text.is_empty() {
        return Err(
            "an empty interface matches no link: give a link's name or a regular expression of names".to_owned()
        );
    }
    LinkPattern::parse(text).map_err(|error| error.to_string())
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address with a port: give one such as 127.0.0.1:9962"))
}

pub(super) fn flows(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|flows| FLOWS.contains(flows))
        .ok_or_else(|| format!("{text:?} is not a number of flows: give one from {} to {}", FLOWS.start(), FLOWS.end()))
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("{text:?} is not a port: give one from 1 to 65535"))
}

/// RFC 1123: what Kubernetes accepts as a namespace's name.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let valid =
        (1..=63).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('-') && !text.ends_with('-');
    valid.then(|| text.to_owned()).ok_or_else(|| {
        format!("{text:?} is not a namespace's name: lower case letters, digits and '-', at most 63, such as announcer-system")
    })
}
