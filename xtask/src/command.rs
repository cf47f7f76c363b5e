//! Running other programs: from the root of the work tree, their output in a log that is shown when they fail.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How many of the last lines of a log are shown after a failure.
const SHOWN_LINES_MAX: usize = 80;

/// The root of the work tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is one directory below the root")
}

/// Where cargo builds: in the work tree, or where the caller said.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |given| root().join(given))
}

/// A program at the root of the work tree.
pub(crate) fn program(name: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root()).stdin(Stdio::null()).env("CARGO_TERM_COLOR", "never");
    // Cargo describes xtask to us; passed on, it would make cargo rebuild whatever looks at such variables.
    for (variable, _) in std::env::vars_os() {
        let about_us = variable.to_str().is_some_and(|name| {
            ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
        });
        if about_us {
            command.env_remove(variable);
        }
    }
    command
}

/// The cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// npm in a package of the work tree.
pub(crate) fn npm(package: &str, arguments: &[&str]) -> Command {
    let mut command = program("npm", arguments);
    command.current_dir(root().join(package)).env("NPM_CONFIG_AUDIT", "false").env("NPM_CONFIG_FUND", "false");
    command.env("NPM_CONFIG_UPDATE_NOTIFIER", "false");
    command
}

/// Runs a command with its output in `target/xtask/<log>.log`, and returns that output.
///
/// # Errors
/// When it cannot be started or fails; the error ends with what it said last.
pub(crate) fn logged(log: &str, command: Command) -> Result<String> {
    let (succeeded, output) = attempt(log, command)?;
    if !succeeded {
        bail!("{}", failure(log, &output));
    }
    Ok(output)
}

/// As [`logged`], but a command that fails is told from one that succeeds instead of an error.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn attempt(log: &str, mut command: Command) -> Result<(bool, String)> {
    let path = log_path(log)?;
    let file = File::options().create(true).append(true).open(&path)?;
    let begins_at = file.metadata()?.len();
    command.stdout(file.try_clone()?).stderr(file);
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("start {name}"))?;
    let output = fs::read(&path)?;
    let output = output.get(usize::try_from(begins_at)?..).unwrap_or_default();
    Ok((status.success(), String::from_utf8_lossy(output).into_owned()))
}

/// What a program prints, trimmed; nothing if it fails or is not there.
pub(crate) fn answer(name: &str, arguments: &[&str]) -> Option<String> {
    let output = program(name, arguments).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The end of a log and where the whole is.
pub(crate) fn failure(log: &str, output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN_LINES_MAX)..].join("\n");
    format!("{log} failed:\n{end}\n(all of it: {})", target().join("xtask").join(format!("{log}.log")).display())
}

/// Forgets the logs of earlier runs.
///
/// # Errors
/// When they cannot be removed.
pub(crate) fn clear_logs() -> Result<()> {
    let directory = target().join("xtask");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

/// Where the log of that name is.
///
/// # Errors
/// When its directory cannot be made.
pub(crate) fn log_path(log: &str) -> Result<PathBuf> {
    let directory = target().join("xtask");
    fs::create_dir_all(&directory)?;
    Ok(directory.join(format!("{log}.log")))
}
