//! A packet's flow: read from its headers, and what stage two is told of how it came.

use announcer_ebpf::abi::{FlowKey, NO_NODE, Runtime, SERVICE_AFFINITY, ServiceEntry};
use announcer_ebpf::hash::flow_hash;
use announcer_ebpf::packet::{Frame, ethernet, ipv4, transport};

use super::frame::Packet;

/// A packet of a Service, as stage two gets it.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Flow {
    pub(super) key: FlowKey,
    /// Bytes of the frame, without padding.
    pub(super) bytes: u32,
    /// Ticks, set by stage two.
    pub(super) now: u32,
    /// Set by stage two once it asks for it.
    pub(super) hash: u32,
    /// Node that handed the frame on, else `NO_NODE`.
    pub(super) sender: u16,
    /// Hops done.
    pub(super) hop: u8,
    /// `FROM_*`.
    pub(super) origin: u8,
    /// Bytes of the IP header.
    pub(super) ip_len: u8,
    /// TCP's flags; 0 for UDP.
    pub(super) flags: u8,
    /// There is an entry in `FLOWS` that no longer holds.
    pub(super) stale: u8,
    pub(super) _pad: u8,
}

impl Flow {
    /// Nothing is known yet.
    #[inline(always)]
    pub(super) const fn unread() -> Self {
        let key = FlowKey { client: 0, vip: 0, client_port: 0, port: 0, protocol: 0, _pad: [0; 3] };
        Self {
            key,
            bytes: 0,
            now: 0,
            hash: 0,
            sender: NO_NODE,
            hop: 0,
            origin: FROM_SELF,
            ip_len: 0,
            flags: 0,
            stale: 0,
            _pad: 0,
        }
    }

    /// Whether the packet begins a TCP connection.
    #[inline(always)]
    pub(super) const fn begins(&self) -> bool {
        self.key.protocol == ipv4::TCP && transport::begins(self.flags)
    }
}

/// Stage one ran here and chose this node.
pub(super) const FROM_SELF: u8 = 0;
/// An IP frame that by the filter is from a peer: stage two's, unless it is not, or that peer sent the packet itself.
pub(super) const FROM_PEER: u8 = 1;
/// A frame handed on.
pub(super) const FROM_OWNER: u8 = 2;
/// A frame to be taken here.
pub(super) const TO_TAKE: u8 = 3;

/// In place of an outcome: stage one starts here.
pub(super) const STAGE_ONE: u32 = u32::MAX;

/// What keeps a packet to a possible VIP from being a Service's.
pub(super) mod odd {
    pub(in crate::programs) const MALFORMED: u32 = 1;
    pub(in crate::programs) const FRAGMENT: u32 = 2;
    pub(in crate::programs) const PROTOCOL: u32 = 3;
    pub(in crate::programs) const PORT: u32 = 4;
}

/// Reads a packet's flow. 0, or one of [`odd`].
#[inline(always)]
pub(super) fn read(ip: Packet, flow: &mut Flow) -> u32 {
    // SAFETY: callers have checked for the least IP header; the rest is checked here.
    unsafe {
        let Some(header) = ipv4::header(ip) else { return odd::MALFORMED };
        if header.fragment {
            return odd::FRAGMENT;
        }
        if header.protocol != ipv4::TCP && header.protocol != ipv4::UDP {
            return odd::PROTOCOL;
        }
        let l4 = ip.part_at(header.len);
        // Padding must not be taken for a header, nor what the sender never sent.
        if !l4.has(transport::UDP_LEN) || (header.total as usize) < header.len + transport::min_len(header.protocol) {
            return odd::MALFORMED;
        }
        if header.protocol == ipv4::TCP {
            if !l4.has(transport::TCP_LEN) {
                return odd::MALFORMED;
            }
            flow.flags = l4.load(transport::TCP_FLAGS);
        }
        flow.key.client = header.source;
        flow.key.vip = header.destination;
        flow.key.client_port = l4.load(transport::SOURCE_PORT);
        flow.key.port = l4.load(transport::DESTINATION_PORT);
        flow.key.protocol = header.protocol;
        flow.bytes = ethernet::LEN as u32 + header.total;
        flow.ip_len = header.len as u8;
        0
    }
}

/// The row hash of a flow of a Service.
#[inline(always)]
pub(super) fn row_hash(runtime: *const Runtime, service: *const ServiceEntry, key: &FlowKey) -> u32 {
    // SAFETY: values of maps.
    let (flow_key, flags) = unsafe { (&(*runtime).flow_key, (*service).flags) };
    if flags & SERVICE_AFFINITY != 0 {
        flow_hash(flow_key, key.client, key.vip, 0, 0, 0)
    } else {
        flow_hash(flow_key, key.client, key.vip, key.client_port, key.port, key.protocol)
    }
}
