//! The flow key from the cluster's identity.

/// The key of the flow hash, from the UID of namespace kube-system: the same on every node of a cluster, another one in
/// every cluster.
///
/// Four words, each MurmurHash3's finaliser over the UID's 64-bit FNV-1a hash (two passes, the second from the UID
/// reversed, so that both halves of a UID's 122 random bits count) and the word's number. It keeps clients that do not
/// know the UID from choosing their node; it is no secret that anything else rests on.
#[must_use]
pub fn flow_key(uid: &str) -> [u64; 4] {
    let fnv = |bytes: &mut dyn Iterator<Item = u8>| {
        bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
    };
    let forth = fnv(&mut uid.bytes());
    let back = fnv(&mut uid.bytes().rev());
    let word = |n: u64| {
        let seed = if n.is_multiple_of(2) { forth } else { back };
        finalised(finalised(seed ^ n.wrapping_mul(0x9E37_79B9_7F4A_7C15)) ^ forth.rotate_left(32) ^ back)
    };
    // All zeros mean "no key yet" in the data path.
    [word(1) | 1, word(2), word(3), word(4)]
}

fn finalised(mut h: u64) -> u64 {
    h = (h ^ (h >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h = (h ^ (h >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "2c1f6ed4-9a55-4a4f-8f5e-0f2d3f6f8a11";

    #[test]
    fn the_key_of_a_cluster_never_changes() {
        assert_eq!(flow_key(UID), PINNED);
    }
    const PINNED: [u64; 4] =
        [10_255_037_164_241_596_589, 1_972_574_796_915_035_149, 11_881_512_634_183_102_499, 15_799_266_693_325_322_911];

    #[test]
    fn clusters_have_different_keys_in_every_word() {
        let other = flow_key("2c1f6ed4-9a55-4a4f-8f5e-0f2d3f6f8a12");
        assert!(flow_key(UID).iter().zip(other).all(|(a, b)| (a ^ b).count_ones() > 8));
    }
}
