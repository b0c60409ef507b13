//! The flow hash and how it chooses a row. Every node must get the same result for a flow, so neither may change within
//! a cluster: the golden vectors in the tests pin it.

/// Keyed hash of a flow. Addresses and ports are as loaded from the packet (network byte order in memory, the programs'
/// targets are little-endian). With ClientIP affinity ports and protocol are given as 0.
///
/// Three multiplications by odd numbers from the key, and no rotation: BPF has neither a rotate nor the high half of a
/// product. Each fold brings the well-mixed high half down to where the next product spreads it again; the result is
/// the high half, which depends on all of the input.
#[inline(always)]
#[must_use]
pub const fn flow_hash(key: &[u64; 4], client: u32, vip: u32, client_port: u16, port: u16, protocol: u8) -> u32 {
    let addresses = client as u64 | (vip as u64) << 32;
    let rest = client_port as u64 | (port as u64) << 16 | (protocol as u64) << 32;
    let mut hash = (addresses ^ key[0]).wrapping_mul(key[1] | 1);
    hash ^= hash >> 32;
    hash = (hash ^ rest).wrapping_mul(key[2] | 1);
    hash ^= hash >> 32;
    (hash.wrapping_mul(key[3] | 1) >> 32) as u32
}

/// A second hash from the first: the flows of one node share the high bits of the first, by which their row was chosen.
#[inline(always)]
#[must_use]
pub const fn remix(hash: u32) -> u32 {
    let mut hash = hash.wrapping_mul(0x85EB_CA6B);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

/// The row of a hash in a table of `rows` rows: below `rows`, or 0 when that is 0. Takes the place of a modulo.
#[inline(always)]
#[must_use]
pub const fn row(hash: u32, rows: u32) -> u32 {
    ((hash as u64 * rows as u64) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const KEY: [u64; 4] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7344, 0xA409_3822_299F_31D0, 0x082E_FA98_EC4E_6C89];

    fn address(octets: [u8; 4]) -> u32 {
        u32::from_le_bytes(octets)
    }

    fn port(port: u16) -> u16 {
        u16::from_le_bytes(port.to_be_bytes())
    }

    #[test]
    fn the_hash_of_a_flow_never_changes() {
        let vip = address([10, 25, 150, 222]);
        let hash = |client, from, to, protocol| flow_hash(&KEY, address(client), vip, port(from), port(to), protocol);
        assert_eq!(hash([192, 168, 1, 7], 40_000, 80, 6), 0x57E3_A888);
        assert_eq!(hash([192, 168, 1, 7], 40_000, 80, 17), 0x56EB_A7E1);
        assert_eq!(hash([192, 168, 1, 7], 40_001, 80, 6), 0x7B08_EFD0);
        assert_eq!(hash([192, 168, 1, 8], 40_000, 443, 6), 0x14A8_D879);
        assert_eq!(flow_hash(&KEY, address([192, 168, 1, 7]), vip, 0, 0, 0), 0x2CD5_0863);
        assert_eq!(flow_hash(&[0; 4], 0, 0, 0, 0, 0), 0);
        assert_eq!(remix(0x1234_5678), 0xF599_8B4F);
    }

    /// Flips each input bit of many flows and asks that each output bit changes about half of the time.
    #[test]
    fn every_input_bit_changes_every_output_bit_in_half_of_the_cases() {
        const FLOWS: u32 = 4_000;
        for bit in 0..104 {
            let mut changed = [0_u32; 32];
            for n in 0..FLOWS {
                let (client, vip) = (n.wrapping_mul(0x9E37_79B1), 0xDE96_190A ^ (n << 24));
                let (from, to, protocol) = (n.wrapping_mul(31_337) as u16, 0x5000, 6);
                let before = flow_hash(&KEY, client, vip, from, to, protocol);
                let after = match bit {
                    0..32 => flow_hash(&KEY, client ^ 1 << bit, vip, from, to, protocol),
                    32..64 => flow_hash(&KEY, client, vip ^ 1 << (bit - 32), from, to, protocol),
                    64..80 => flow_hash(&KEY, client, vip, from ^ 1 << (bit - 64), to, protocol),
                    80..96 => flow_hash(&KEY, client, vip, from, to ^ 1 << (bit - 80), protocol),
                    _ => flow_hash(&KEY, client, vip, from, to, protocol ^ 1 << (bit - 96)),
                };
                for (out, count) in changed.iter_mut().enumerate() {
                    *count += (before ^ after) >> out & 1;
                }
            }
            for (out, count) in changed.into_iter().enumerate() {
                let share = f64::from(count) / f64::from(FLOWS);
                assert!(
                    (0.4..0.6).contains(&share),
                    "input bit {bit} changes output bit {out} in {share:.3} of the cases"
                );
            }
        }
    }

    /// Chi-square over rows, for flows that differ as real ones do: by port, by address, by both.
    fn assert_even(rows: u32, hashes: impl Iterator<Item = u32>) {
        let mut counts = vec![0_u32; rows as usize];
        let mut total = 0_u32;
        for hash in hashes {
            counts[row(hash, rows) as usize] += 1;
            total += 1;
        }
        let expected = f64::from(total) / f64::from(rows);
        let chi: f64 = counts.iter().map(|&n| (f64::from(n) - expected).powi(2) / expected).sum();
        let free = f64::from(rows - 1);
        // Six standard deviations of the chi-square distribution; far below also is not random, but spreads better.
        assert!(
            chi < free + 6.0 * (2.0 * free).sqrt(),
            "{rows} rows: chi-square {chi:.0} for {free} degrees of freedom"
        );
    }

    #[test]
    fn flows_that_differ_only_by_port_or_address_spread_evenly_over_rows_and_then_over_endpoints() {
        let vip = address([10, 25, 150, 222]);
        for rows in [2, 3, 10, 251, 1021, 4093] {
            assert_even(rows, (1024..65_535).map(|from| flow_hash(&KEY, 0x0701_A8C0, vip, port(from), port(80), 6)));
            assert_even(
                rows,
                (0..65_536_u32).map(|n| flow_hash(&KEY, (0x0A00_0000 + n).to_be(), vip, port(40_000), port(80), 6)),
            );
            assert_even(rows, (0..65_536_u32).map(|n| flow_hash(&KEY, (0x0A00_0000 + n).to_be(), vip, 0, 0, 0)));
        }
        // The flows of one node, that is of some rows, over its pods.
        let here = (0..1_000_000_u32)
            .map(|n| flow_hash(&KEY, (0x0A00_0000 + n / 16).to_be(), vip, port(40_000 + (n % 16) as u16), port(80), 6))
            .filter(|&hash| row(hash, 251).is_multiple_of(3))
            .map(remix);
        assert_even(7, here);
    }

    proptest! {
        #[test]
        fn a_row_is_within_its_table(hash: u32, rows in 1..=65_537_u32) {
            prop_assert!(row(hash, rows) < rows);
        }

        #[test]
        fn other_keys_give_other_hashes(key: [u64; 4], other: [u64; 4], client: u32, from: u16) {
            prop_assume!(key != other);
            let differs = (0..64_u16).any(|n| {
                flow_hash(&key, client, 1, from ^ n, 2, 6) != flow_hash(&other, client, 1, from ^ n, 2, 6)
            });
            // Keys whose multipliers differ only in the bit that is forced are the same key, and rare.
            prop_assume!(key.map(|k| k | 1)[1..] != other.map(|k| k | 1)[1..]);
            prop_assert!(differs);
        }
    }
}
