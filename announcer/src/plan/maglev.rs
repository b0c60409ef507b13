//! Weighted Maglev tables of nodes (NSDI 2016, section 3.4) with exact weights.
//!
//! Every node must make the same table from the same inputs, whatever its machine: a node is known by its name alone,
//! the hash is written out here, and all arithmetic is on integers. A node's share of the rows is its quota, `rows *
//! weight / sum` rounded down or up; within its quota it takes turns in proportion to it, so that a node's rows are
//! spread over the others' evenly.

use std::{cmp::Reverse, collections::BTreeMap, fmt, sync::Arc};

/// A node's name, shared by all that mention it.
pub type NodeName = Arc<str>;

/// Nodes and how many ready endpoints each has: sorted by name, no zeros, no name twice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Weights(Arc<[(NodeName, u32)]>);

impl Weights {
    /// Number of nodes taking part.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nodes by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&NodeName, u32)> {
        self.0.iter().map(|(name, weight)| (name, *weight))
    }

    /// The weight of a node, 0 if it takes no part.
    #[must_use]
    pub fn get(&self, node: &str) -> u32 {
        self.0.binary_search_by(|(name, _)| (**name).cmp(node)).map_or(0, |at| self.0[at].1)
    }

    /// Whether nothing that `earlier` had is smaller here: a change that only adds.
    #[must_use]
    pub fn only_adds_to(&self, earlier: &Self) -> bool {
        earlier.iter().all(|(name, weight)| self.get(name) >= weight)
    }

    /// The same proportions in the smallest numbers: equal proportions make equal tables, so they share one.
    #[must_use]
    pub fn reduced(&self) -> Self {
        let divisor = self.iter().fold(0, |divisor, (_, weight)| greatest_common_divisor(divisor, weight));
        if divisor <= 1 {
            return self.clone();
        }
        Self(self.0.iter().map(|(name, weight)| (name.clone(), weight / divisor)).collect())
    }
}

impl<N: Into<NodeName>> FromIterator<(N, u32)> for Weights {
    /// Weights of a name given twice add up; zeros are left out.
    fn from_iter<I: IntoIterator<Item = (N, u32)>>(weights: I) -> Self {
        let mut by_name = BTreeMap::<NodeName, u32>::new();
        for (name, weight) in weights.into_iter().filter(|(_, weight)| *weight > 0) {
            let sum = by_name.entry(name.into()).or_default();
            *sum = sum.saturating_add(weight);
        }
        Self(by_name.into_iter().collect())
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Table sizes, all prime, with the most nodes that each is for. Rows for each node stay above 100 except in the
/// smallest, so that shares are right within a percent and a change moves few other rows.
const SIZES: [(u32, usize); 5] = [(251, 2), (1_021, 10), (4_093, 40), (16_381, 160), (65_537, usize::MAX)];

/// Rows of a table for `nodes` nodes, where the newest table has `previous` rows (0: none).
///
/// No node: 0. One node: 1, since one owner needs no table. It grows as soon as the nodes ask for it, and shrinks only
/// when they are at most half of the number from which the present size is used, so that a Service about a bound does
/// not change its table's size with every pod.
#[must_use]
pub fn rows_for(nodes: usize, previous: u32) -> u32 {
    if nodes < 2 {
        return u32::from(nodes == 1);
    }
    let fitting = SIZES.iter().position(|(_, most)| nodes <= *most).unwrap_or(SIZES.len() - 1);
    let kept = SIZES.iter().position(|(rows, _)| *rows == previous).filter(|present| {
        let lower_bound = if *present == 0 { 2 } else { SIZES[present - 1].1 + 1 };
        *present > fitting && 2 * nodes > lower_bound
    });
    SIZES[kept.unwrap_or(fitting)].0
}

/// The owner of every row, as an index into `weights`. `rows` is a size that [`rows_for`] gives (or another prime that
/// fits 32 bits); empty where there are no nodes or no rows.
#[must_use]
pub fn table(weights: &Weights, rows: u32) -> Vec<u16> {
    if weights.is_empty() || rows == 0 {
        return Vec::new();
    }
    if weights.len() == 1 || rows == 1 {
        return vec![0; rows as usize];
    }
    let mut nodes: Vec<Turns> = quotas(weights, rows)
        .into_iter()
        .zip(weights.iter())
        .map(|(quota, (name, _))| Turns::new(name, quota, rows))
        .collect();
    let most = nodes.iter().map(|node| node.quota).max().unwrap_or(0);
    let mut table = vec![FREE; rows as usize];
    // A round gives a node quota/most of a turn; after `most` rounds each has had its quota exactly, and the table is
    // full, since the quotas add up to the rows.
    for _ in 0..most {
        for (index, node) in nodes.iter_mut().enumerate() {
            node.credit += node.quota;
            if node.credit >= most {
                node.credit -= most;
                let row = node.next_free(&table, rows);
                table[row as usize] = index as u16;
            }
        }
    }
    table
}

/// No owner yet; no index reaches it, since a cluster has at most 1,024 nodes.
const FREE: u16 = u16::MAX;

/// A node filling its rows.
struct Turns {
    quota: u32,
    credit: u32,
    /// The next row of its permutation, `(offset + j * skip) mod rows`.
    row: u32,
    skip: u32,
}

impl Turns {
    fn new(name: &str, quota: u32, rows: u32) -> Self {
        let hash = hash_of(name);
        let row = (finalised(hash, OFFSET_SEED) % u64::from(rows)) as u32;
        let skip = (finalised(hash, SKIP_SEED) % u64::from(rows - 1)) as u32 + 1;
        Self { quota, credit: 0, row, skip }
    }

    /// The first row of the permutation from here on that nobody has; there is one, since the quotas are not spent.
    fn next_free(&mut self, table: &[u16], rows: u32) -> u32 {
        // rows is prime, so the permutation visits each row once in `rows` steps.
        for _ in 0..rows {
            let row = self.row;
            self.row = ((u64::from(row) + u64::from(self.skip)) % u64::from(rows)) as u32;
            if table[row as usize] == FREE {
                return row;
            }
        }
        // Only for a number of rows that is not prime: the rows left out by the permutation are taken in order.
        table.iter().position(|owner| *owner == FREE).unwrap_or(0) as u32
    }
}

/// Rows of each node, in the order of `weights`: `rows * weight / sum` rounded down, and what is left over to the
/// largest remainders (ties by the name's hash, so that no name is favoured everywhere).
fn quotas(weights: &Weights, rows: u32) -> Vec<u32> {
    let sum: u64 = weights.iter().map(|(_, weight)| u64::from(weight)).sum();
    let share = |weight: u32| u64::from(rows) * u64::from(weight);
    let mut quotas: Vec<u32> = weights.iter().map(|(_, weight)| (share(weight) / sum) as u32).collect();
    let left = rows - quotas.iter().sum::<u32>();
    let mut order: Vec<(Reverse<u64>, u64, usize)> = weights
        .iter()
        .enumerate()
        .map(|(index, (name, weight))| (Reverse(share(weight) % sum), hash_of(name), index))
        .collect();
    order.sort_unstable();
    for (_, _, index) in order.into_iter().take(left as usize) {
        quotas[index] += 1;
    }
    quotas
}

const OFFSET_SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const SKIP_SEED: u64 = 0xD1B5_4A32_D192_ED03;

/// FNV-1a, 64 bit. Part of what all nodes must agree on: never to be changed without a new name of the table.
fn hash_of(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// MurmurHash3's 64 bit finaliser over hash and seed: FNV alone leaves similar names close together.
fn finalised(hash: u64, seed: u64) -> u64 {
    let mut h = hash ^ seed;
    h = (h ^ (h >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    h = (h ^ (h >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    h ^ (h >> 33)
}

#[cfg(test)]
#[path = "maglev_tests.rs"]
mod tests;
