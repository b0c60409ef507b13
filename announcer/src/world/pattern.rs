//! Regular expressions that name links, in settings and in policies.

use regex::{Regex, RegexBuilder};

/// An anchored regular expression of link names: `eth.*` matches `eth0`, not `veth0`.
#[derive(Debug, Clone)]
pub struct LinkPattern {
    text: String,
    regex: Regex,
}

/// A regular expression that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no regular expression of link names ({reason}): correct it, e.g. \"eth[0-9]+\"")]
pub struct PatternError {
    pub text: String,
    pub reason: String,
}

/// A compiled expression's size limit in bytes; names of links have 15 letters, so this is plenty.
const SIZE_LIMIT: usize = 64 << 10;

impl PartialEq for LinkPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for LinkPattern {}

impl LinkPattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// [`PatternError`] for bad syntax and for an expression that would need too much memory.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let compile = |expression: &str| {
            RegexBuilder::new(expression)
                .size_limit(SIZE_LIMIT)
                .dfa_size_limit(SIZE_LIMIT)
                .build()
                .map_err(|error| PatternError { text: text.to_owned(), reason: last_line(&error.to_string()) })
        };
        // By itself first: "a)|(b" would be well formed only inside the brackets of the anchored one.
        compile(text)?;
        Ok(Self { text: text.to_owned(), regex: compile(&format!("^(?:{text})$"))? })
    }

    #[must_use]
    pub fn matches(&self, link: &str) -> bool {
        self.regex.is_match(link)
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The regex crate draws the place of an error over several lines; its last line says what is wrong.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or(message).trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::LinkPattern;

    #[test]
    fn a_pattern_must_match_the_whole_name() {
        let pattern = LinkPattern::parse("eth[0-9]|bond0").unwrap();
        assert!(pattern.matches("eth1") && pattern.matches("bond0"));
        assert!(!pattern.matches("veth1") && !pattern.matches("eth10") && !pattern.matches("bond0.5"));
    }

    #[test]
    fn a_bad_or_huge_pattern_is_an_error_that_names_it() {
        let error = LinkPattern::parse("eth[0-").unwrap_err().to_string();
        assert!(error.contains("eth[0-") && error.contains("unclosed"), "{error}");
        assert!(LinkPattern::parse("(((a{100}){100}){100})").is_err());
        assert!(LinkPattern::parse("a)|(b").is_err());
    }
}
