use super::plain;

/// Most nodes, and the stride of a link slot in `NODES`.
pub const MAX_NODES: u32 = 1_024;
/// Most links that announcer is attached to on one node.
pub const MAX_LINKS: u32 = 8;
/// Most entries of `PEERS`.
pub const MAX_PEERS: u32 = MAX_NODES * MAX_LINKS;
/// Most prefixes in `SOURCES`.
pub const MAX_SOURCES: u32 = 16_384;
/// A slot without a node.
pub const NO_NODE: u16 = u16::MAX;

/// The entry is in use.
pub const NODE_PRESENT: u16 = 1 << 0;
/// The node's data path is alive: it may be an owner.
pub const NODE_ALIVE: u16 = 1 << 1;
/// This node itself.
pub const NODE_SELF: u16 = 1 << 2;

/// Value of `NODES`: how a node is reached on one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct NodeEntry {
    pub mac: [u8; 6],
    /// `NODE_*`.
    pub flags: u16,
    /// The node's address on the link, network byte order.
    pub addr: u32,
    #[doc(hidden)]
    pub _pad: u32,
}

/// Key of `PEERS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(C)]
pub struct PeerKey {
    pub mac: [u8; 6],
    /// Slot of the link on which the MAC is the peer's.
    pub link: u16,
}

/// Value of `PEERS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct PeerEntry {
    /// Index in `NODES` (without the link's stride).
    pub node: u16,
    #[doc(hidden)]
    pub _pad: u16,
}

/// Value of `LINKS`: a link that the XDP program is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct LinkEntry {
    /// The link's own MAC: frames for another one are not ours (promiscuous mode shows them).
    pub mac: [u8; 6],
    #[doc(hidden)]
    pub _pad: u16,
    pub ifindex: u32,
}

/// Value of `SOURCES`: a frame from a peer with such a source was sent by that peer itself, so stage one starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum SourceKind {
    Node = 1,
    Pod = 2,
}

plain!(NodeEntry = 16, PeerKey = 8, PeerEntry = 4, LinkEntry = 12);
