use super::plain;

/// Most endpoints on one node (an index fits a slot).
pub const MAX_ENDPOINTS: u32 = 16_384;

/// The pod takes new flows.
pub const ENDPOINT_READY: u16 = 1 << 0;
/// The pod is there (ready or terminating): known flows stay. Clear = the index is free, its flows are void.
pub const ENDPOINT_PRESENT: u16 = 1 << 1;

/// Value of `ENDPOINTS`: a pod's port on this node that a Service leads to. Written once for an index and generation;
/// only the flags change afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct EndpointEntry {
    /// The pod's address, network byte order.
    pub addr: u32,
    /// The target port, network byte order.
    pub port: u16,
    /// `ENDPOINT_*`.
    pub flags: u16,
    /// Rises with every new tenant of the index, so that a flow of an earlier one is void.
    pub generation: u32,
    #[doc(hidden)]
    pub _pad: u32,
}
plain!(EndpointEntry = 16);
