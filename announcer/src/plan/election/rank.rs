//! Who comes first for a thing: rendezvous hashing, the same on every node and in every version.

use std::{cmp::Reverse, net::IpAddr};

/// FNV-1a, 64 bits, with the finaliser of MurmurHash3 so that similar names do not give similar scores.
fn hash(parts: [&[u8]; 2]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // 0xff is in no UTF-8 text: it ends a part.
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Sorts first what ranks first: the highest score, then the name.
pub(super) type Rank<'a> = (Reverse<u64>, &'a str);

pub(super) fn of_vip(ip: IpAddr, node: &str) -> Rank<'_> {
    let score = match ip {
        IpAddr::V4(ip) => hash([&ip.octets(), node.as_bytes()]),
        IpAddr::V6(ip) => hash([&ip.octets(), node.as_bytes()]),
    };
    (Reverse(score), node)
}

pub(super) fn of_allocator(node: &str) -> Rank<'_> {
    (Reverse(hash([b"allocator", node.as_bytes()])), node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_never_change_between_versions() {
        let (Reverse(a), _) = of_vip("10.0.0.1".parse().unwrap(), "n1");
        let (Reverse(b), _) = of_allocator("n1");
        assert_eq!((a, b), (GOLDEN_VIP, GOLDEN_ALLOCATOR));
    }

    const GOLDEN_VIP: u64 = 1_977_916_136_614_516_987;
    const GOLDEN_ALLOCATOR: u64 = 13_333_019_352_092_792_613;

    #[test]
    fn vips_spread_over_nodes_with_similar_names() {
        let nodes = ["node-1", "node-2", "node-3", "node-4"];
        let mut led = [0_u32; 4];
        for last in 0..=255_u8 {
            let ip = IpAddr::from([192, 0, 2, last]);
            let first = (0..4).min_by_key(|i| of_vip(ip, nodes[*i])).unwrap();
            led[first] += 1;
        }
        assert!(led.iter().all(|n| (40..90).contains(n)), "{led:?}");
    }
}
