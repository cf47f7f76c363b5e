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
