//! What a person sees: a line per step with its outcome and time.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Error, Result};

/// How a step ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// It did its work; a few words on it.
    Ok(String),
    /// It could not be done here, and need not be; why.
    Skipped(String),
}

impl Done {
    /// Done, with nothing to add.
    #[expect(clippy::unnecessary_wraps, reason = "the last expression of a step")]
    pub(crate) fn ok() -> Result<Self> {
        Ok(Self::Ok(String::new()))
    }
}

/// Does one step and prints its line. The error, if any, is printed by whoever takes it.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<Done>) -> Result<Done> {
    write(format_args!("  {name:<22} "));
    let begun = now();
    let outcome = work();
    let took = seconds(begun.elapsed());
    match &outcome {
        Ok(Done::Ok(note)) => write(format_args!("ok      {took:>8}  {note}\n")),
        Ok(Done::Skipped(why)) => write(format_args!("skipped {took:>8}  {why}\n")),
        Err(_) => write(format_args!("FAILED  {took:>8}\n")),
    }
    outcome
}

/// Prints a line as it is.
pub(crate) fn line(text: &str) {
    write(format_args!("{text}\n"));
}

/// Prints why a command failed.
pub(crate) fn error(error: &Error) {
    write(format_args!("\nerror: {error:#}\n"));
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    let all = duration.as_secs();
    if all >= 60 { format!("{} m {:02} s", all / 60, all % 60) } else { format!("{:.1} s", duration.as_secs_f64()) }
}

/// The time, for telling how long something took.
#[expect(clippy::disallowed_methods, reason = "a build tool has nobody to hand it a clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn write(text: std::fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    // When nobody reads any more, there is nobody to tell.
    let _ = out.write_fmt(text);
    let _ = out.flush();
}
