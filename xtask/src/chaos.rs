//! Faults under load, for longer and with more load than CI: each by its number in turn, its result kept for each commit.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{answer, attempt, cargo, failure, logged, target};
use crate::install;
use crate::report::{Done, line, step};

/// Every fault, by its number in the order they run.
const FAULTS: &[u32] = &[1, 2, 3, 5, 6, 7, 8, 10, 18, 21, 39, 49];

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these faults, such as `F1,F18`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// For how long publishers publish.
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How much load: `small`, `quarter` or `whole` (20 tenants, 200 channels, 2,000 subscribers, 2,000 publishes a second).
    #[arg(long, default_value = "whole", value_parser = ["small", "quarter", "whole"])]
    scale: String,
    /// Also those that this commit has a result of, for as long and with as much load.
    #[arg(long)]
    again: bool,
}

/// The command.
pub(crate) fn run(options: &Options) -> Result<()> {
    let wanted = wanted(&options.only)?;
    step("Postgres", install::postgres)?;
    step("Redis", install::redis)?;
    step("release build", || {
        logged("chaos-build", cargo(&["build", "--release", "--package", "fanfare"]))?;
        logged("chaos-build", cargo(&["build", "--package", "fanfare-tests", "--tests"]))?;
        Done::ok()
    })?;
    let commit = answer("git", &["rev-parse", "--short", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let directory = target().join("chaos");
    fs::create_dir_all(&directory)?;
    let results = directory.join(format!("{commit}.txt"));
    let mut known = read(&fs::read_to_string(&results).unwrap_or_default());
    let mut failed = Vec::new();
    for fault in wanted {
        let name = format!("F{fault}");
        let same = format!("{} s, {}: ", options.seconds, options.scale);
        if let Some(result) = known.get(&name).filter(|result| !options.again && result.starts_with(&same)) {
            line(&format!("  {name:<22} {result} (before)"));
            continue;
        }
        let outcome = step(&name, || {
            let result = strike(fault, options)?;
            let mut file = File::options().create(true).append(true).open(&results)?;
            writeln!(file, "{name}: {result}")?;
            known.insert(name.clone(), result.clone());
            Ok(Done::Ok(result))
        });
        if let Err(error) = outcome {
            line(&format!("\n{error:#}\n"));
            failed.push(name);
        }
    }
    line(&format!("\nResults: {}", results.display()));
    ensure!(failed.is_empty(), "not survived: {}", failed.join(", "));
    Ok(())
}

/// Runs one fault; what was seen.
fn strike(fault: u32, options: &Options) -> Result<String> {
    let test = format!("chaos::f{fault:02}_");
    let arguments = ["test", "--package", "fanfare-tests", "--test", "it", "--", &test, "--nocapture"];
    let mut command = cargo(&arguments);
    command.env("FANFARE_CHAOS_SECONDS", options.seconds.to_string()).env("FANFARE_CHAOS_SCALE", &options.scale);
    command.env("FANFARE_TEST_BINARY", target().join("release").join("fanfare")).env("RUST_BACKTRACE", "0");
    let log = format!("chaos-F{fault}");
    let (succeeded, output) = attempt(&log, command)?;
    if !succeeded {
        bail!("{}", failure(&log, &output));
    }
    let seen = output.lines().find_map(|line| line.split_once(&format!("F{fault}: ")));
    let (_, seen) = seen.with_context(|| failure(&log, "no fault of that number ran"))?;
    Ok(format!("{} s, {}: {seen}", options.seconds, options.scale))
}

fn read(results: &str) -> BTreeMap<String, String> {
    let lines = results.lines().filter_map(|line| line.split_once(": "));
    lines.map(|(name, result)| (name.to_owned(), result.to_owned())).collect()
}

fn wanted(only: &[String]) -> Result<Vec<u32>> {
    if only.is_empty() {
        return Ok(FAULTS.to_vec());
    }
    let number = |name: &String| {
        let number = name.strip_prefix(['F', 'f']).and_then(|number| number.parse().ok());
        let all = || FAULTS.iter().map(|fault| format!("F{fault}")).collect::<Vec<_>>().join(", ");
        number.filter(|number| FAULTS.contains(number)).with_context(|| format!("{name} is none of {}", all()))
    };
    only.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_by_their_numbers() {
        assert_eq!(wanted(&[]).expect("all"), FAULTS);
        assert_eq!(wanted(&["F18".into(), "f1".into()]).expect("two"), [18, 1]);
        for wrong in ["18", "F4", "F", ""] {
            assert!(wanted(&[wrong.into()]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn results_are_read_back() {
        let known = read("F1: 120 s, whole: 7 acknowledged\nF1: 60 s, whole: 9 acknowledged\nno result\n");
        assert_eq!(known, BTreeMap::from([("F1".to_owned(), "60 s, whole: 9 acknowledged".to_owned())]));
    }
}
