//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227). All functions take the part of the frame that begins with it.

use super::Frame;
use super::ethernet::Mac;

/// Bytes of a message.
pub const LEN: usize = 28;

/// Hardware Ethernet, protocol IPv4, address lengths 6 and 4, as loaded.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1_u16.to_be();
const REPLY: u16 = 2_u16.to_be();
const OPERATION: usize = 6;
const SENDER_MAC: usize = 8;
const SENDER: usize = 14;
const TARGET_MAC: usize = 18;
const TARGET: usize = 24;

/// A request or a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub request: bool,
    pub sender_mac: Mac,
    /// Network byte order; 0 in a probe (RFC 5227).
    pub sender: u32,
    /// Network byte order.
    pub target: u32,
}

impl Message {
    /// Whether it asks for `target`, in distinction to a reply and to an announcement, whose sender says that it has
    /// the address itself: that is never answered.
    #[inline(always)]
    #[must_use]
    pub const fn asks(&self) -> bool {
        self.request && self.sender != self.target
    }
}

/// Reads a message. `None`: another kind of hardware, protocol or operation.
///
/// # Safety
/// The part has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn message(arp: impl Frame) -> Option<Message> {
    // SAFETY: the caller's.
    unsafe {
        let operation: u16 = arp.load(OPERATION);
        if Mac::load(arp, 0) != Mac::new(ETHERNET_IPV4) || (operation != REQUEST && operation != REPLY) {
            return None;
        }
        Some(Message {
            request: operation == REQUEST,
            sender_mac: Mac::load(arp, SENDER_MAC),
            sender: arp.load(SENDER),
            target: arp.load(TARGET),
        })
    }
}

/// Turns a request into its reply: `mac` has the address that was asked for. A probe's sender, 0, is the reply's target.
///
/// # Safety
/// The part has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn answer(arp: impl Frame, asked: Message, mac: Mac) {
    // SAFETY: the caller's.
    unsafe {
        arp.store(OPERATION, REPLY);
        mac.store(arp, SENDER_MAC);
        arp.store(SENDER, asked.target);
        asked.sender_mac.store(arp, TARGET_MAC);
        arp.store(TARGET, asked.sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::packet::buffer::Buffer;

    const REQUEST_BYTES: [u8; 28] =
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 7, 192, 168, 1, 7, 0, 0, 0, 0, 0, 0, 192, 168, 1, 222];

    fn parsed(mut bytes: [u8; 28]) -> Option<Message> {
        // SAFETY: 28 bytes.
        unsafe { message(Buffer::new(&mut bytes)) }
    }

    #[test]
    fn a_request_is_answered_with_the_given_mac() {
        let mut bytes = REQUEST_BYTES;
        let asked = parsed(bytes).unwrap();
        assert!(asked.asks());
        // SAFETY: 28 bytes.
        unsafe { answer(Buffer::new(&mut bytes), asked, Mac::new([2, 0, 0, 0, 0, 9])) };
        let expected = [0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 9, 192, 168, 1, 222, 2, 0, 0, 0, 0, 7, 192, 168, 1, 7];
        assert_eq!(bytes, expected);
        assert!(!parsed(bytes).unwrap().asks(), "a reply asks for nothing");
    }

    #[test]
    fn a_probe_asks_and_an_announcement_does_not() {
        let mut probe = REQUEST_BYTES;
        probe[14..18].fill(0);
        assert!(parsed(probe).unwrap().asks());
        let mut announcement = REQUEST_BYTES;
        announcement[14..18].copy_from_slice(&[192, 168, 1, 222]);
        assert!(!parsed(announcement).unwrap().asks());
    }

    #[test]
    fn other_hardware_protocols_and_operations_are_not_read() {
        for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 3), (6, 1)] {
            let mut bytes = REQUEST_BYTES;
            bytes[at] = value;
            assert_eq!(parsed(bytes), None, "byte {at} = {value}");
        }
    }
}
