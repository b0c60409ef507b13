//! What both halves of announcer share: every map key and value, and the pure functions on packets and flows that the
//! kernel programs and the agent must agree on to the bit. `no_std`, without allocation, tested on the host.
//!
//! Byte order: addresses, ports and MACs in maps are as on the wire. A `u32` address is `u32::from_ne_bytes(octets)`, a
//! `u16` port `u16::from_ne_bytes(bytes)`: what a load from the packet gives, so the programs never swap. All else
//! (counts, indices, times) is in host order.

#![cfg_attr(not(test), no_std)]

pub mod abi;
#[cfg(feature = "bench")]
pub mod bench;
pub mod checksum;
pub mod handover;
pub mod hash;
pub mod packet;
