use std::collections::BTreeMap;

use announcer_ebpf::{
    abi::{self, NO_NODE, ServiceEntry},
    handover::owners,
    hash::row,
};
use proptest::prelude::*;

use super::*;
use crate::plan::maglev;

fn weights(of: &[(&str, u32)]) -> Weights {
    of.iter().copied().collect()
}

fn at(seconds: u64) -> Moment {
    Moment(Duration::from_secs(seconds))
}

fn ticks(now: Moment) -> Ticks {
    ticks_of_ms(now.0.as_millis() as u64)
}

fn step(history: &mut History, weights: &Weights, now: Moment) -> Step {
    history.step(&Inputs { weights, now, ticks: ticks(now), udp: false, need: Need::default() })
}

fn step_with_need(history: &mut History, weights: &Weights, now: Moment, flows: &[u64], complete: bool) -> Step {
    let need = Need { flows, complete };
    history.step(&Inputs { weights, now, ticks: ticks(now), udp: false, need })
}

/// A list with `len` earlier tables over ten nodes, so that it cannot be gathered.
fn full_list(len: u32) -> History {
    let table = |n: u32| Table::of(&(0..10).map(|node| (format!("n{node}"), 1 + (node + 1) * n)).collect(), 0);
    let earlier = (1..=len).map(|n| Earlier { table: table(n), superseded: n }).collect();
    History::adopted(table(len + 1), earlier, 0)
}

#[test]
fn the_first_endpoints_are_published_at_once() {
    let mut history = History::default();
    let done = step(&mut history, &weights(&[("n1", 1)]), at(5));
    assert_eq!(done, Step { changed: true, ..Step::default() });
    assert_eq!((history.newest.clone(), history.earlier.len()), (Table::single("n1".into()), 0));
    assert_eq!(step(&mut history, &weights(&[("n1", 1)]), at(6)), Step::default());
}

#[test]
fn additions_are_gathered_for_a_second() {
    let mut history = History::default();
    step(&mut history, &weights(&[("n1", 1)]), at(0));
    let two = weights(&[("n1", 1), ("n2", 1)]);
    let three = weights(&[("n1", 1), ("n2", 1), ("n3", 1)]);
    assert_eq!(step(&mut history, &two, at(10)), Step { look_again: Some(at(11)), ..Step::default() });
    let soon = Moment(Duration::from_millis(10_900));
    assert_eq!(step(&mut history, &three, soon), Step { look_again: Some(at(11)), ..Step::default() });
    assert!(step(&mut history, &three, at(11)).changed);
    assert_eq!(history.newest.rows(), 1_021);
    assert_eq!(history.earlier.len(), 1);
}

#[test]
fn losses_apply_at_once_and_take_waiting_additions_along() {
    let mut history = History::default();
    step(&mut history, &weights(&[("n1", 1), ("n2", 2)]), at(0));
    step(&mut history, &weights(&[("n1", 1), ("n2", 3)]), at(10));
    let lost = weights(&[("n2", 3)]);
    assert!(step(&mut history, &lost, at(10)).changed);
    assert_eq!(history.newest, Table::single("n2".into()));
}

#[test]
fn a_service_that_loses_all_pods_keeps_the_way_to_their_flows() {
    let mut history = History::default();
    step(&mut history, &weights(&[("n1", 1)]), at(0));
    assert!(step(&mut history, &Weights::default(), at(1)).changed);
    assert_eq!((history.newest.rows(), history.earlier.len()), (0, 1));
    assert!(step(&mut history, &weights(&[("n2", 1)]), at(2)).changed, "nothing serves: no reason to gather");
    assert_eq!(history.earlier.len(), 1, "a table with nobody in it leads nowhere");
}

#[test]
fn a_table_that_comes_back_moves_to_the_front() {
    let mut history = History::default();
    let (one, both) = (weights(&[("n1", 1)]), weights(&[("n1", 1), ("n2", 1)]));
    step(&mut history, &both, at(0));
    step(&mut history, &one, at(10));
    step(&mut history, &both, at(20));
    assert!(step(&mut history, &both, at(21)).changed);
    assert_eq!(history.newest, Table::of(&both, 0));
    let earlier: Vec<_> = history.earlier.iter().map(|earlier| (earlier.table.clone(), earlier.superseded)).collect();
    assert_eq!(earlier, [(Table::of(&one, 0), ticks(at(21)))]);
}

#[test]
fn equal_proportions_are_no_change() {
    let mut history = History::default();
    step(&mut history, &weights(&[("n1", 1), ("n2", 1)]), at(0));
    assert_eq!(step(&mut history, &weights(&[("n1", 3), ("n2", 3)]), at(1)), Step::default());
    // What is asked for is remembered, so that one pod less is known as a loss.
    assert!(step(&mut history, &weights(&[("n1", 3), ("n2", 2)]), at(1)).changed);
}

#[test]
fn a_full_list_makes_additions_wait_while_all_of_it_is_needed() {
    let mut history = full_list(16);
    let Table::Made { weights: now, .. } = history.newest.clone() else { panic!("made") };
    let more: Weights = now.iter().map(|(name, w)| (name.clone(), w)).chain([("n77".into(), 5)]).collect();
    step_with_need(&mut history, &more, at(0), &[1; 16], false);
    let waits = step_with_need(&mut history, &more, at(9), &[1; 16], false);
    assert_eq!(waits, Step { look_again: Some(at(10)), ..Step::default() });
    // The oldest that nobody is known to need makes room.
    let mut needed = [1; 16];
    (needed[3], needed[11]) = (0, 0);
    let dropped = history.earlier[11].table.clone();
    let done = step_with_need(&mut history, &more, at(10), &needed, false);
    assert_eq!(done, Step { changed: true, ..Step::default() });
    assert!(history.tables().all(|table| *table != dropped));
    assert_eq!(history.earlier.len(), MAX_EARLIER);
}

#[test]
fn a_loss_drops_from_a_full_list_what_the_fewest_flows_need_and_counts_it() {
    let mut history = full_list(16);
    let Table::Made { weights: now, .. } = history.newest.clone() else { panic!("made") };
    let less: Weights = now.iter().skip(1).map(|(name, w)| (name.clone(), w)).collect();
    let mut needed = [9; 16];
    needed[5] = 2;
    let dropped = history.earlier[5].table.clone();
    let done = step_with_need(&mut history, &less, at(0), &needed, true);
    assert_eq!(done, Step { changed: true, look_again: None, lost: Some(2) });
    assert!(history.tables().all(|table| *table != dropped));
}

#[test]
fn what_nobody_needs_is_dropped_once_all_have_been_asked() {
    let mut history = full_list(3);
    let Table::Made { weights: now, .. } = history.newest.clone() else { panic!("made") };
    assert_eq!(step_with_need(&mut history, &now, at(0), &[0, 1, 0], false), Step::default());
    assert!(step_with_need(&mut history, &now, at(0), &[0, 1, 0], true).changed);
    assert_eq!(history.earlier.len(), 1);
}

#[test]
fn udp_forgets_tables_with_its_flows() {
    let mut history = full_list(2);
    let Table::Made { weights: now, .. } = history.newest.clone() else { panic!("made") };
    let age = ticks_of_ms(UDP_TIMEOUT_MS);
    let mut udp = |ticks| {
        let inputs = Inputs { weights: &now, now: at(0), ticks, udp: true, need: Need::default() };
        (history.step(&inputs).changed, history.earlier.len())
    };
    assert_eq!(udp(1 + age), (false, 2));
    assert_eq!(udp(2 + age), (true, 1));
    assert_eq!(udp(3 + age), (true, 0));
}

/// A Service's pods and flows on at most 8 nodes, as all nodes know it.
#[derive(Default)]
struct Simulation {
    history: History,
    pods: BTreeMap<u8, u32>,
    /// Hash, node, number of the pod on it (pods end in the reverse order of their start).
    flows: Vec<(u32, u8, u32)>,
    now: Moment,
}

impl Simulation {
    fn weights(&self) -> Weights {
        self.pods.iter().map(|(node, pods)| (node.to_string(), *pods)).collect()
    }

    /// Owners as the programs find them.
    fn owners(&self, hash: u32) -> Vec<u8> {
        let mut slots = Vec::<u16>::new();
        let mut place = |table: &Table| {
            let Table::Made { weights, rows } = table else { panic!("made") };
            let names: Vec<u16> = weights.iter().map(|(name, _)| name.parse().unwrap()).collect();
            if *rows < 2 {
                return TableRef { base: names.first().copied().unwrap_or(NO_NODE).into(), rows: *rows };
            }
            let base = slots.len() as u32;
            slots.extend(maglev::table(weights, *rows).into_iter().map(|owner| names[usize::from(owner)]));
            TableRef { base, rows: *rows }
        };
        let mut entry = ServiceEntry { newest: place(&self.history.newest), ..ServiceEntry::default() };
        for (at, earlier) in self.history.earlier.iter().enumerate() {
            entry.earlier[at] = abi::Earlier { table: place(&earlier.table), superseded: earlier.superseded };
        }
        entry.earlier_len = self.history.earlier.len() as u16;
        let found =
            owners(&entry, hash, false, 0, |slot| slots.get(slot as usize).copied(), |node| u64::from(node != NO_NODE));
        (0..found.len()).map(|place| found.get(place) as u8).collect()
    }

    fn settle(&mut self) -> Step {
        let weights = self.weights();
        step(&mut self.history, &weights, self.now)
    }

    fn start_flows(&mut self, hashes: &[u32]) {
        for hash in hashes {
            let newest = self.owners(*hash).first().copied();
            if let Some((node, pods)) = newest.and_then(|node| Some((node, *self.pods.get(&node)?))) {
                self.flows.push((*hash, node, hash % pods));
            }
        }
    }

    fn assert_no_flow_is_lost(&mut self) {
        let pods = &self.pods;
        self.flows.retain(|(_, node, pod)| pods.get(node).is_some_and(|pods| pod < pods));
        for (hash, node, _) in &self.flows {
            assert!(
                self.owners(*hash).contains(node),
                "flow {hash:#x} (row {} of {}) on n{node} is lost; list of {}",
                row(*hash, self.history.newest.rows()),
                self.history.newest.rows(),
                self.history.earlier.len(),
            );
        }
    }

    fn change(&mut self, node: u8, add: bool, pause: bool, hashes: &[u32]) {
        if add {
            *self.pods.entry(node).or_default() += 1;
        } else if let Some(pods) = self.pods.get_mut(&node) {
            *pods -= 1;
            if *pods == 0 {
                self.pods.remove(&node);
            }
        }
        let waits = self.settle().look_again;
        if pause && let Some(then) = waits {
            self.now = then;
            assert_eq!(self.settle().look_again, None, "on so few nodes a full list makes nobody wait");
        }
        self.now = Moment(self.now.0 + Duration::from_millis(100));
        self.start_flows(hashes);
        self.assert_no_flow_is_lost();
    }
}

#[test]
fn from_one_pod_to_ten_and_back_loses_no_flow() {
    let mut simulation = Simulation::default();
    let hashes: Vec<u32> = (0..20_u32).map(|n| n.wrapping_mul(0x9E37_79B1)).collect();
    for pod in 0..10 {
        simulation.change(pod % 3, true, true, &hashes);
    }
    for pod in [1, 0, 2, 0, 1, 2, 0, 1, 0] {
        simulation.change(pod, false, true, &hashes);
    }
    assert_eq!(simulation.weights(), weights(&[("2", 1)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn no_sequence_of_changes_on_at_most_eight_nodes_loses_a_flow_whose_pod_stays(
        nodes in 2_u8..=8,
        changes in prop::collection::vec((0_u8..8, any::<bool>(), any::<bool>()), 1..60),
        hashes in prop::collection::vec(any::<u32>(), 1..5),
    ) {
        let mut simulation = Simulation::default();
        for (node, add, pause) in changes {
            simulation.change(node % nodes, add, pause, &hashes);
        }
    }

    #[test]
    fn a_list_has_no_table_twice_and_never_more_than_fit(
        changes in prop::collection::vec((0_u8..14, any::<bool>()), 1..80),
        need in prop::collection::vec(0_u64..3, 16),
        complete in any::<bool>(),
    ) {
        let (mut history, mut pods, mut now) = (History::default(), BTreeMap::<u8, u32>::new(), at(0));
        for (node, add) in changes {
            let pods_there = pods.entry(node).or_default();
            *pods_there = if add { *pods_there + 1 } else { pods_there.saturating_sub(1) };
            let weights: Weights = pods.iter().map(|(node, pods)| (node.to_string(), *pods)).collect();
            step_with_need(&mut history, &weights, now, &need, complete);
            now = Moment(now.0 + GATHER);
            step_with_need(&mut history, &weights, now, &need, complete);
            prop_assert!(history.earlier.len() <= MAX_EARLIER);
            let distinct: BTreeSet<_> = history.tables().collect();
            prop_assert_eq!(distinct.len(), history.earlier.len() + 1);
            prop_assert!(history.earlier.iter().all(|earlier| earlier.table.rows() > 0));
        }
    }
}
