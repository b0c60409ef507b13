//! ICMP echo (RFC 792). All functions take the part of the frame that begins with the ICMP header.

use super::Frame;
use crate::checksum;

/// Bytes of the header.
pub const LEN: usize = 8;
const CHECKSUM: usize = 2;

/// Type 8, code 0, as loaded.
const ECHO_REQUEST: u16 = u16::from_ne_bytes([8, 0]);
/// Type 0, code 0, as loaded.
const ECHO_REPLY: u16 = 0;

/// Whether this is an echo request.
///
/// # Safety
/// The part has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn is_echo_request(icmp: impl Frame) -> bool {
    // SAFETY: the caller's.
    unsafe { icmp.load::<u16>(0) == ECHO_REQUEST }
}

/// Turns a request into its reply. The checksum takes the change alone, so a broken one stays broken.
///
/// # Safety
/// The part has [`LEN`] bytes.
#[inline(always)]
pub unsafe fn answer_echo(icmp: impl Frame) {
    // SAFETY: the caller's.
    unsafe {
        icmp.store(0, ECHO_REPLY);
        let check = checksum::update16(icmp.load(CHECKSUM), ECHO_REQUEST, ECHO_REPLY);
        // The difference does not tell one's complement's two zeros apart. All ones verifies whatever the message; 0
        // does not where the message is all zeros.
        icmp.store(CHECKSUM, if check == 0 { u16::MAX } else { check });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::packet::buffer::Buffer;

    #[test]
    fn a_request_becomes_a_reply_with_the_rest_unchanged() {
        let mut message = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'];
        let check = checksum::of(&message).to_ne_bytes();
        message[2..4].copy_from_slice(&check);
        let icmp = Buffer::new(&mut message);
        // SAFETY: 12 bytes.
        unsafe {
            assert!(is_echo_request(icmp));
            answer_echo(icmp);
            assert!(!is_echo_request(icmp));
        }
        assert_eq!((message[0], message[1], &message[4..]), (0, 0, &[0x12, 0x34, 0, 1, b'p', b'i', b'n', b'g'][..]));
        assert_eq!(checksum::of(&message), 0);
    }

    #[test]
    fn a_reply_of_zeros_alone_has_a_checksum_that_verifies() {
        let mut message = [8, 0, 0xF7, 0xFF, 0, 0, 0, 0];
        // SAFETY: 8 bytes.
        unsafe { answer_echo(Buffer::new(&mut message)) };
        assert_eq!(checksum::of(&message), 0);
    }
}
