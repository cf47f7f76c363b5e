//! How many tests ran, as the runners say it themselves.

use std::fmt;

/// Tests that ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, more: Self) {
        self.passed += more.passed;
        self.failed += more.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Reads nextest's `Summary [ 0.049s] 15 tests run: 14 passed, 1 failed, 0 skipped`; returns that line too.
pub(crate) fn nextest(output: &str) -> (Counts, String) {
    let Some(line) = output.lines().rev().find(|line| line.trim_start().starts_with("Summary [")) else {
        return Default::default();
    };
    // A test past its time is told apart from a failed one; both failed.
    let failed = ["failed", "timed out", "exec failed"].iter().map(|word| before(line, word)).sum();
    (Counts { passed: before(line, "passed"), failed }, line.to_owned())
}

/// Adds up `test result: ok. 15 passed; 0 failed; …`, one line for each binary; returns the last of them.
pub(crate) fn cargo_test(output: &str) -> (Counts, String) {
    let mut counts = Counts::default();
    let mut closing = String::new();
    for line in output.lines().filter(|line| line.starts_with("test result: ")) {
        counts.add(Counts { passed: before(line, "passed"), failed: before(line, "failed") });
        line.clone_into(&mut closing);
    }
    (counts, closing)
}

/// Reads node's `# pass 12` and `# fail 0`, with whatever sign its reporter puts before them.
pub(crate) fn node(output: &str) -> Counts {
    let after = |word: &str| {
        let number = |line: &str| {
            let (sign, rest) = line.split_once(' ')?;
            (sign.chars().count() == 1).then_some(rest)?.strip_prefix(word)?.trim().parse::<u64>().ok()
        };
        output.lines().filter_map(number).sum()
    };
    Counts { passed: after("pass "), failed: after("fail ") + after("cancelled ") }
}

/// What node says of each test that failed, from its `not ok` to the `...` that ends it: the tests after a failed one push
/// its words out of the end of the log.
pub(crate) fn node_failures(output: &str) -> String {
    /// A failed test's stack goes on long after what it says.
    const LINES_MAX: usize = 40;
    let mut failures = String::new();
    let mut left = 0;
    for line in output.lines() {
        let words = line.trim_start();
        if words.starts_with("not ok ") {
            left = LINES_MAX;
        }
        if left > 0 {
            failures.push_str(line);
            failures.push('\n');
            left = if words == "..." { 0 } else { left - 1 };
        }
    }
    failures
}

/// The number that stands before a word.
fn before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ',', ';']).filter(|part| !part.is_empty()).collect();
    let wanted: Vec<&str> = word.split(' ').collect();
    let at = words.windows(wanted.len()).position(|window| window == wanted);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_is_read_from_its_summary() {
        let output =
            "  PASS a\n     Summary [   0.049s] 17 tests run: 14 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        let (counts, line) = nextest(output);
        assert_eq!(counts, Counts { passed: 14, failed: 3 });
        assert!(line.contains("17 tests run"));
        assert_eq!(nextest("error: could not compile").0, Counts::default());
    }

    #[test]
    fn cargo_test_is_added_up_over_its_binaries() {
        let output =
            "test result: ok. 15 passed; 0 failed; 0 ignored\ntest result: FAILED. 2 passed; 1 failed; 0 ignored\n";
        assert_eq!(cargo_test(output).0, Counts { passed: 17, failed: 1 });
    }

    #[test]
    fn a_failed_test_of_node_is_shown_without_those_that_passed() {
        let output =
            "ok 1 - first\n  ---\n  ...\nnot ok 2 - second\n  ---\n  error: 'why'\n  ...\nok 3 - third\n  ---\n  ...\n";
        assert_eq!(node_failures(output), "not ok 2 - second\n  ---\n  error: 'why'\n  ...\n");
    }

    #[test]
    fn node_is_read_with_either_reporter() {
        assert_eq!(node("# tests 13\n# pass 12\n# fail 1\n# cancelled 0\n"), Counts { passed: 12, failed: 1 });
        assert_eq!(node("ℹ pass 12\nℹ fail 0\nℹ cancelled 2\n"), Counts { passed: 12, failed: 2 });
    }
}
