//! What commands answer, to stdout. Logs go to stderr.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints one line. A reader that has gone (`| head`) ends the process quietly, as it does other tools.
pub(crate) fn line(text: impl Display) {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    if written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        std::process::exit(0);
    }
}

/// Prints a value as one line of JSON.
pub(crate) fn json(value: &serde_json::Value) {
    line(value);
}

/// Prints one line of explanation to stderr, for people who wait.
pub(crate) fn note(text: impl Display) {
    // Nobody reads on: there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// An error with its causes, each said once: many errors repeat their cause in their own words.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = anyhow::anyhow!("refused").context("no connection: refused").context("it does not start");
        assert_eq!(causes(&error), "it does not start: no connection: refused");
    }
}
