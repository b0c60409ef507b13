use super::*;

use proptest::prelude::*;

/// A table with one row: its owner stands in it.
fn inline(node: u16) -> TableRef {
    TableRef { base: u32::from(node), rows: 1 }
}

/// A Service whose list, newest first, leads a flow to these nodes.
fn service(history: &[u16]) -> ServiceEntry {
    let mut entry = ServiceEntry { newest: inline(history[0]), ..Default::default() };
    for (earlier, &node) in entry.earlier.iter_mut().zip(&history[1..]) {
        *earlier = Earlier { table: inline(node), superseded: 0 };
        entry.earlier_len += 1;
    }
    entry
}

fn owners_of(history: &[u16], dead: Option<u16>) -> Owners {
    owners(&service(history), 0, false, 0, |_| None, |node| u64::from(node != NO_NODE && Some(node) != dead))
}

fn listed(owners: &Owners) -> Vec<u16> {
    (0..owners.len()).map(|place| owners.get(place)).collect()
}

#[derive(Debug, PartialEq)]
enum End {
    /// A node that knows the flow, after so many hops.
    Known(u32),
    Exhausted(u32),
    Nobody,
}

/// Walks a flow from the leader's choice, each node by its own list. Asserts that no node gets it back from whom it
/// just sent it to.
fn route(leader: u16, lists: &[Vec<u16>], known: &[u16], dead: Option<u16>) -> End {
    let first = owners_of(&lists[leader as usize], dead).get(0);
    if first == NO_NODE {
        return End::Nobody;
    }
    let (mut me, mut sender, mut hop) = (first, NO_NODE, 0);
    loop {
        if known.contains(&me) {
            return End::Known(hop);
        }
        let Some(next) = owners_of(&lists[me as usize], dead).next(me, sender, hop) else { return End::Exhausted(hop) };
        assert!(next != sender && next != me && Some(next) != dead);
        (sender, me, hop) = (me, next, hop + 1);
    }
}

/// Two to eight nodes, one of them perhaps dead, and a leader that lives.
fn cluster() -> impl Strategy<Value = (u16, Option<u16>, u16)> {
    (2..=8_u16).prop_flat_map(|nodes| (Just(nodes), proptest::option::of(0..nodes), 0..nodes)).prop_map(
        |(nodes, dead, leader)| {
            let dead = dead.filter(|_| nodes > 2);
            let leader = if Some(leader) == dead { (leader + 1) % nodes } else { leader };
            (nodes, dead, leader)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn owners_are_the_first_eight_different_living_nodes_newest_first(history in proptest::collection::vec(0..20_u16, 1..=17), dead in proptest::option::of(0..20_u16)) {
        let mut expected = Vec::new();
        for &node in &history {
            if Some(node) != dead && !expected.contains(&node) && expected.len() < MAX_OWNERS {
                expected.push(node);
            }
        }
        let owners = owners_of(&history, dead);
        prop_assert_eq!(listed(&owners), expected.clone());
        for node in 0..20 {
            prop_assert_eq!(owners.contains(node), expected.contains(&node));
            prop_assert_eq!(owners.position(node), expected.iter().position(|&n| n == node).map(|n| n as u32));
        }
        let other = expected.iter().copied().find(|&node| node != expected[0]).unwrap_or(NO_NODE);
        prop_assert_eq!(owners.newest_other_than(expected.first().copied().unwrap_or(NO_NODE)), other);
    }

    /// `handover-simulation`'s first case: whoever leads, whichever owner knows the flow.
    #[test]
    fn with_equal_lists_every_owner_of_a_flow_is_reached((nodes, dead, leader) in cluster(), history in proptest::collection::vec(0..8_u16, 1..=16), which: prop::sample::Index) {
        let history: Vec<u16> = history.into_iter().map(|node| node % nodes).collect();
        let owners = listed(&owners_of(&history, dead));
        prop_assume!(!owners.is_empty());
        let known = owners[which.index(owners.len())];
        let lists = vec![history; nodes as usize];
        let end = route(leader, &lists, &[known], dead);
        prop_assert!(matches!(end, End::Known(hop) if hop <= MAX_HOPS), "{:?}", end);
    }

    /// Its third case: nothing that the nodes may disagree on makes a frame go round for ever.
    #[test]
    fn with_any_lists_the_walk_ends_within_seven_hops((nodes, dead, leader) in cluster(), lists in proptest::collection::vec(proptest::collection::vec(0..8_u16, 1..=17), 8)) {
        let lists: Vec<Vec<u16>> = lists.into_iter().map(|list| list.into_iter().map(|node| node % nodes).collect()).collect();
        match route(leader, &lists, &[], dead) {
            End::Exhausted(hop) => prop_assert!(hop <= MAX_HOPS),
            End::Nobody => {}
            End::Known(_) => prop_assert!(false, "nobody knows the flow"),
        }
    }

    #[test]
    fn a_hop_number_travels_in_the_version_nibble(version_and_length in 0x40..=0x4F_u8, hop in 0..=MAX_HOPS) {
        prop_assert_eq!(mark::restore_ipv4(mark::ipv4(version_and_length, hop)), Some((version_and_length, hop)));
    }
}

/// The simulation's second case: lists that are behind by up to two changes lose at most a few of a hundred flows.
#[test]
fn with_lists_behind_by_up_to_two_changes_nearly_every_flow_is_reached() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let strategy = (
        cluster(),
        proptest::collection::vec(0..8_u16, 1..=16),
        proptest::collection::vec(0..=2_usize, 8),
        any::<prop::sample::Index>(),
    );
    let (mut total, mut reached) = (0, 0);
    for _ in 0..20_000 {
        let ((nodes, dead, leader), history, behind, which) = strategy.new_tree(&mut runner).unwrap().current();
        let history: Vec<u16> = history.into_iter().map(|node| node % nodes).collect();
        let at = |behind: usize| if behind < history.len() { history[behind..].to_vec() } else { history.clone() };
        let old = listed(&owners_of(&at(2), dead));
        if old.is_empty() {
            continue;
        }
        let lists: Vec<Vec<u16>> = behind.into_iter().map(at).collect();
        total += 1;
        if matches!(route(leader, &lists, &[old[which.index(old.len())]], dead), End::Known(_)) {
            reached += 1;
        }
    }
    let share = f64::from(reached) / f64::from(total);
    assert!(share > 0.95, "{reached} of {total}");
}

#[test]
fn udp_leaves_out_tables_that_ceased_to_be_newest_before_its_timeout() {
    let mut entry = service(&[1, 2, 3]);
    let now = ticks_of_ms(1_000_000);
    entry.earlier[0].superseded = now - ticks_of_ms(UDP_TIMEOUT_MS - 1_000);
    entry.earlier[1].superseded = now - ticks_of_ms(UDP_TIMEOUT_MS + 1_000);
    let of = |udp| listed(&owners(&entry, 0, udp, now, |_| None, |node| u64::from(node != NO_NODE)));
    assert_eq!(of(true), [1, 2]);
    assert_eq!(of(false), [1, 2, 3]);
}

#[test]
fn an_owner_is_read_from_its_row_of_the_arena() {
    let table = TableRef { base: 100, rows: 4 };
    let slot = |slot: u32| (100..104).contains(&slot).then_some(slot as u16);
    assert_eq!(owner(table, 0, slot), Some(100));
    assert_eq!(owner(table, 0xFFFF_FFFF, slot), Some(103));
    assert_eq!(owner(TableRef { base: 7, rows: 1 }, 0xFFFF_FFFF, |_| None), Some(7));
    assert_eq!(owner(TableRef { base: 7, rows: 0 }, 0, |_| Some(1)), None);
    assert_eq!(owner(table, 0, |_| Some(NO_NODE)), None, "a row without a node");
    assert_eq!(owner(TableRef { base: 5_000, rows: 4 }, 0, |_| None), None, "beyond the arena");
}

#[test]
fn the_leader_that_is_an_earlier_owner_gets_the_frame_back() {
    // Node 2 leads; the newest owner is 1, the leader is the earlier one and knows the flow.
    let lists = vec![vec![1, 2]; 3];
    assert_eq!(route(2, &lists, &[2], None), End::Known(1));
}

#[test]
fn a_node_outside_its_own_list_begins_at_the_newest_owner() {
    let owners = owners_of(&[4, 5], None);
    assert_eq!(owners.next(9, NO_NODE, 0), Some(4));
    assert_eq!(owners.next(9, 4, 1), Some(5));
    assert_eq!(owners.next(9, 4, 3), None, "one hop more than owners, as it is none itself");
    assert_eq!(Owners::default().next(9, NO_NODE, 0), None);
}

#[test]
fn a_handed_frame_of_the_other_family_is_told_apart() {
    assert_eq!(mark::restore_ipv4(0x80), None);
    assert_eq!(mark::ipv4(0x45, 3), 0x35);
    assert_eq!(mark::ipv4(0x45, 12), 0x75, "never into the family bit");
}
