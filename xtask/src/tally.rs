//! Counts of tests, as read from what the test programs print.

use std::fmt;
use std::ops::AddAssign;

/// What came of a number of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) const ONE_PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub(crate) const ONE_FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// Reads the closing line of `announcer-tests`: `12 passed, 0 failed, 1 skipped`, nothing else on the line.
    pub(crate) fn from_closing_line(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(", ").map(|part| part.split_once(' '));
        let mut count = |word: &str| {
            let (number, name) = parts.next()??;
            (name == word).then(|| number.parse().ok())?
        };
        let tally = Self { passed: count("passed")?, failed: count("failed")?, skipped: count("skipped")? };
        parts.next().is_none().then_some(tally)
    }

    /// Reads the line that ends each of cargo's test binaries: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    pub(crate) fn from_cargo_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count =
            |word: &str| counts.split("; ").find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
        Some(Self { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::of_a_run("12 passed, 0 failed, 1 skipped", Some(Tally { passed: 12, failed: 0, skipped: 1 }))]
    #[case::with_more_on_the_line("12 passed, 0 failed, 1 skipped, 3 lost", None)]
    #[case::in_a_sentence("lab: 12 passed, 0 failed, 1 skipped", None)]
    #[case::in_another_order("0 failed, 12 passed, 1 skipped", None)]
    #[case::cut_off("12 passed, 0 failed", None)]
    fn a_closing_line_is_read_only_when_it_is_exactly_that(#[case] line: &str, #[case] expected: Option<Tally>) {
        assert_eq!(Tally::from_closing_line(line), expected);
    }

    #[test]
    fn a_tally_is_printed_as_the_line_that_it_is_read_from() {
        let tally = Tally { passed: 3, failed: 2, skipped: 1 };
        assert_eq!(Tally::from_closing_line(&tally.to_string()), Some(tally));
    }

    #[test]
    fn cargos_result_line_is_read_whether_it_passed_or_not() {
        let ok = "test result: ok. 41 passed; 0 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.31s";
        assert_eq!(Tally::from_cargo_line(ok), Some(Tally { passed: 41, failed: 0, skipped: 2 }));
        let failed =
            "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(Tally::from_cargo_line(failed), Some(Tally { passed: 1, failed: 3, skipped: 0 }));
        assert_eq!(Tally::from_cargo_line("test plan::ipam::tests::x ... ok"), None);
    }
}
