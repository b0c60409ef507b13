//! Gratuitous ARP for the VIPs that this node leads.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use crate::world::model::Mac;

/// A VIP on a link on which this node leads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    pub vip: Ipv4Addr,
    pub link: String,
}

/// Announces VIPs from a thread of its own, since sending may block.
#[derive(Debug)]
pub struct Announcer {}

/// What has been sent since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// Frames sent.
    pub sent: u64,
    /// Frames that a link refused.
    pub failed: u64,
    /// Links that cannot be sent on at present, and why.
    pub troubles: BTreeMap<String, String>,
}

impl Announcer {
    /// Starts the thread, in the caller's network namespace.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// All that this node leads now, with the MAC of each link. What is new, or has another MAC, is announced at once
    /// and repeated; what stays is refreshed every minute; what is gone is not announced any more.
    pub fn set(&mut self, spots: BTreeMap<Spot, Mac>) {
        let _ = (self, spots);
    }

    /// Announces these at once and repeats, as if they were new: after the data path was made anew, say.
    pub fn again(&mut self, spots: &BTreeSet<Spot>) {
        let _ = (self, spots);
    }

    #[must_use]
    pub fn announced(&self) -> Announced {
        Announced::default()
    }
}
