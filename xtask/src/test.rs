//! Everything CI does, in stages: each prints a line with its time, none stops the others, any failure fails the whole.

mod browser;
mod counts;

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::command::{answer, attempt, cargo, clear_logs, failure, log_path, logged, npm, target};
use crate::report::{Done, line, now, seconds, step};
use crate::{dash, install, openapi, sdk, server};
use counts::Counts;

/// All crates that build for this machine; the dashboard builds for wasm only.
const NATIVE: &[&str] = &["--workspace", "--exclude", "fanfare-dashboard"];

/// The black-box tests whose servers may keep what they keep elsewhere, by the beginnings of their names.
const OVER_REDIS: &[&str] = &[
    "bombs::",
    "carried::",
    "changes::",
    "connections::",
    "fairness::",
    "first_light::",
    "isolation::",
    "outage::",
    "presence::",
    "recovery::",
    "rest::",
    "shortage::",
];

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only the stages of these names, or whose names contain them; what they need must have been built.
    only: Vec<String>,
}

/// A stage adds the tests it ran to the counts.
type Stage = (&'static str, fn(&mut Counts) -> Result<Done>);

const STAGES: &[Stage] = &[
    ("wasm target", |_| install::wasm_target()),
    ("node", |_| install::node()),
    ("postgres", |_| install::postgres()),
    ("redis", |_| install::redis()),
    ("nginx", |_| install::nginx()),
    // Only the names of the files: `cargo fmt` says the rest.
    ("format", |_| check("format", &["fmt", "--all", "--check", "--", "--files-with-diff"])),
    ("sdk", |_| sdk::build()),
    ("lints", |_| lints()),
    ("lints (dashboard)", |_| dashboard_lints()),
    ("server", |_| server::build()),
    ("openapi", |_| openapi::compare()),
    ("tests", tests),
    ("tests over redis", tests_over_redis),
    ("sdk tests", |counts| node_tests("sdk-tests", npm("clients/typescript", &["test"]), counts)),
    ("sdk against server", sdk_against_server),
    ("dashboard", |_| dash::build(false)),
    ("dashboard tests", dashboard_tests),
    ("browser tests", browser::run),
    ("dependencies", |_| dependencies()),
];

/// The command.
pub(crate) fn run(options: &Options) -> ExitCode {
    let begun = now();
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    if let Err(error) = clear_logs() {
        line(&format!("cannot clear {}: {error:#}", target().join("xtask").display()));
        return ExitCode::FAILURE;
    }
    let is_whole = |word: &String| STAGES.iter().any(|(name, _)| name == word);
    let asked = |name: &str, word: &String| name == word || !is_whole(word) && name.contains(word.as_str());
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|word| asked(name, word));
    for (name, work) in STAGES.iter().filter(|(name, _)| wanted(name)) {
        if let Err(error) = step(name, || work(&mut counts)) {
            line(&format!("\n{error:#}\n"));
            failures.push(*name);
        }
    }
    line(&format!("\n{} in {}", verdict(&failures), seconds(begun.elapsed())));
    // Alone on the last line: CI reads it.
    line(&counts.to_string());
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn verdict(failures: &[&str]) -> String {
    if failures.is_empty() { "All stages passed".into() } else { format!("FAILED: {}", failures.join(", ")) }
}

/// A cargo command that says nothing when all is well.
fn check(log: &str, arguments: &[&str]) -> Result<Done> {
    logged(log, cargo(arguments))?;
    Done::ok()
}

fn lints() -> Result<Done> {
    check("lints", &[&["clippy"], NATIVE, &["--all-targets", "--", "--deny", "warnings"]].concat())
}

fn dashboard_lints() -> Result<Done> {
    let package = ["clippy", "--package", "fanfare-dashboard", "--target", "wasm32-unknown-unknown"];
    let mut command = cargo(&package);
    command.args(["--", "--deny", "warnings"]).env("CARGO_TARGET_DIR", target().join("dash"));
    logged("lints-dashboard", command)?;
    Done::ok()
}

fn tests(counts: &mut Counts) -> Result<Done> {
    rust_tests("tests", cargo, NATIVE, counts)
}

/// What clients and backends are promised, once more with each server over a Redis of its own.
fn tests_over_redis(counts: &mut Counts) -> Result<Done> {
    let over_redis = |arguments: &[&str]| {
        let mut command = cargo(arguments);
        command.env("FANFARE_TEST_OVER_REDIS", "1");
        command
    };
    rust_tests("tests-over-redis", over_redis, &[&["--package", "fanfare-tests", "--"], OVER_REDIS].concat(), counts)
}

/// The dashboard's pure parts, built for this machine.
fn dashboard_tests(counts: &mut Counts) -> Result<Done> {
    let target = target().join("dash");
    let target = target.to_str().context("the target directory's path is not text")?;
    rust_tests("tests-dashboard", cargo, &["--package", "fanfare-dashboard", "--target-dir", target], counts)
}

/// Unit, property and black-box tests: by nextest, a process each, or where that is missing by `cargo test`.
fn rust_tests(log: &str, cargo: impl FnOnce(&[&str]) -> Command, scope: &[&str], counts: &mut Counts) -> Result<Done> {
    let has_nextest = answer("cargo", &["nextest", "--version"]).is_some();
    let arguments: &[&str] = if has_nextest {
        &["nextest", "run", "--profile", "ci"]
    } else {
        &["test", "--no-fail-fast", "--lib", "--bins", "--tests"]
    };
    let mut command = cargo(&[arguments, scope].concat());
    // A failed assertion says where it is; fifty frames of the runtime below it hide what it says.
    command.env("RUST_BACKTRACE", "0");
    let (succeeded, output) = attempt(log, command)?;
    let (ran, closing) = if has_nextest { counts::nextest(&output) } else { counts::cargo_test(&output) };
    counts.add(ran);
    if !succeeded {
        bail!("{}", failure(log, &output));
    }
    if ran.passed == 0 {
        bail!("no test ran; see {}", log_path(log)?.display());
    }
    Ok(Done::Ok(format!("\n{closing}")))
}

/// Runs a package's tests by node's own runner.
fn node_tests(log: &str, command: Command, counts: &mut Counts) -> Result<Done> {
    let (succeeded, output) = attempt(log, command)?;
    let ran = counts::node(&output);
    counts.add(ran);
    if !succeeded || ran.failed > 0 {
        bail!("{}\n{}", counts::node_failures(&output), failure(log, &output));
    }
    if ran.passed == 0 {
        bail!("no test ran; see {}", log_path(log)?.display());
    }
    Ok(Done::Ok(ran.to_string()))
}

fn sdk_against_server(counts: &mut Counts) -> Result<Done> {
    let server = server::start("sdk-server")?;
    let mut command = npm("clients/typescript", &["run", "test:server"]);
    command.envs(server::access(&server)?);
    node_tests("sdk-against-server", command, counts)
}

fn dependencies() -> Result<Done> {
    if answer("cargo", &["deny", "--version"]).is_none() {
        return Ok(Done::Skipped("cargo-deny is not installed".into()));
    }
    check("dependencies", &["deny", "--offline", "check", "bans", "licenses", "sources"])
}
