//! Loading the eBPF object: once for its maps, and once more for each link's copy of the programs. All copies share the
//! maps through their pins.

use announcer_ebpf::abi::{self, SLOTS_PER_WORD, map};
use aya::{Ebpf, EbpfLoader, maps::MapInfo};
use tracing::warn;

use super::{Error, OBJECT, Pins};

/// Sizes that an operator can choose. What is pinned already keeps the size that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Entries of `FLOWS` and `REVERSE`.
    pub flows: u32,
    /// Slots of the arena.
    pub slots: u32,
}

/// Name, size of key and size of value of each map.
const LAYOUT: [(&str, usize, usize); 17] = [
    (map::FILTER, 4, size_of::<abi::Filter>()),
    (map::RUNTIME, 4, size_of::<abi::Runtime>()),
    (map::LINKS, 4, size_of::<abi::LinkEntry>()),
    (map::SERVICES, size_of::<abi::ServiceKey>(), size_of::<abi::ServiceEntry>()),
    (map::SLOTS, 4, 8),
    (map::VIPS, 4, size_of::<abi::VipEntry>()),
    (map::VIP_COUNTERS, 4, size_of::<abi::VipCounters>()),
    (map::OUTCOMES, 4, 8),
    (map::NODES, 4, size_of::<abi::NodeEntry>()),
    (map::PEERS, size_of::<abi::PeerKey>(), size_of::<abi::PeerEntry>()),
    (map::SOURCES, 8, 4),
    (map::ENDPOINTS, 4, size_of::<abi::EndpointEntry>()),
    (map::FLOWS, size_of::<abi::FlowKey>(), size_of::<abi::FlowEntry>()),
    (map::HALF_OPEN, size_of::<abi::FlowKey>(), size_of::<abi::FlowEntry>()),
    (map::REVERSE, size_of::<abi::ReverseKey>(), size_of::<abi::ReverseEntry>()),
    (map::REVERSE_HALF, size_of::<abi::ReverseKey>(), size_of::<abi::ReverseEntry>()),
    (map::EVENTS, 0, 0),
];

/// Loads the object for link slot `link`, with the maps that are pinned, or new ones that it pins. The programs are not
/// in the kernel yet.
///
/// # Errors
/// The kernel refuses a map, or a pinned map has another layout.
pub(super) fn load(pins: &Pins, sizes: Sizes, link: u32) -> Result<Ebpf, Error> {
    let chosen = |name| match name {
        map::FLOWS | map::REVERSE => Some(sizes.flows.max(1)),
        map::SLOTS => Some(sizes.slots.div_ceil(SLOTS_PER_WORD).max(1)),
        _ => None,
    };
    let mut loader = EbpfLoader::new();
    loader.override_global("LINK", &link, true);
    for (name, key, value) in LAYOUT {
        let path = pins.map(name);
        let pinned = if path.exists() { Some(pinned_size(&path, name, key, value)?) } else { None };
        if let (Some(pinned), Some(chosen)) = (pinned, chosen(name))
            && pinned != chosen
        {
            warn!(map = name, entries = pinned, "keeps its size; the new one holds after `announcer cleanup`");
        }
        if let Some(size) = pinned.or_else(|| chosen(name)) {
            loader.map_max_entries(name, size);
        }
        loader.map_pin_path(name, path);
    }
    loader.load(OBJECT).map_err(|error| Error::of_bpf("loading the eBPF maps", error))
}

/// Entries of a pinned map, if its layout is ours.
fn pinned_size(path: &std::path::Path, name: &str, key: usize, value: usize) -> Result<u32, Error> {
    let info =
        MapInfo::from_pin(path).map_err(|error| Error::of_bpf(format!("opening the pinned map {name}"), error))?;
    let found = (info.key_size() as usize, info.value_size() as usize);
    if found == (key, value) {
        return Ok(info.max_entries());
    }
    let said = |(key, value): (usize, usize)| format!("keys of {key} bytes, values of {value} bytes");
    Err(Error::Layout { path: path.to_owned(), found: said(found), expected: said((key, value)) })
}
