//! What is wrong at present, for `status` and, when it begins, for the log.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use tracing::{info, warn};

/// Messages by topic.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<String, BTreeSet<String>>);

impl Problems {
    /// The topic has this problem, or none.
    pub(super) fn note(&mut self, topic: &str, problem: Option<impl Display>) {
        self.replace(topic, problem.map(|problem| problem.to_string()));
    }

    /// The topic has no problem any more.
    pub(super) fn clear(&mut self, topic: &str) {
        self.replace(topic, None);
    }

    /// The topic has just these problems. What is new is logged, and the end of all of them.
    pub(super) fn replace(&mut self, topic: &str, problems: impl IntoIterator<Item = String>) {
        let new: BTreeSet<String> = problems.into_iter().collect();
        let old = self.0.remove(topic).unwrap_or_default();
        for problem in new.difference(&old) {
            warn!("{problem}");
        }
        if new.is_empty() {
            if !old.is_empty() {
                info!(topic, "the problem is over");
            }
        } else {
            self.0.insert(topic.to_owned(), new);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stands_until_its_topic_is_cleared() {
        let mut problems = Problems::default();
        problems.note("maps", Some("map SLOTS is full"));
        problems.note("link eth0", Some("link eth0 is gone"));
        problems.clear("maps");
        assert_eq!(problems.iter().collect::<Vec<_>>(), ["link eth0 is gone"]);
        problems.note("link eth0", None::<String>);
        assert_eq!(problems.iter().count(), 0);
    }
}
