//! The `fanfare` binary as a command: runs it, waits for its end, and hands over what it said.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::server::binary;

/// A command that takes longer has not ended as it should have: a server that should have refused to start runs.
const WITHIN_S: &str = "60";

/// What a command left behind.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it answered.
    pub out: String,
    /// What it explained or complained of.
    pub err: String,
}

/// Runs `fanfare` with these arguments and variables and no other that speaks to it. Blocks.
///
/// # Errors
/// When it cannot be run or does not end.
pub fn fanfare<A: AsRef<OsStr>>(arguments: &[A], variables: &[(&str, &str)]) -> Result<Ran> {
    let output = prepared(arguments, variables)?.output().context("run `timeout` (of coreutils)")?;
    let text = |bytes| String::from_utf8(bytes).context("what it says is UTF-8");
    let (out, err) = (text(output.stdout)?, text(output.stderr)?);
    match output.status.code() {
        Some(124) => bail!("it still runs after {WITHIN_S} s:\n{out}\n{err}"),
        Some(code) => Ok(Ran { code, out, err }),
        None => bail!("it ended by a signal:\n{out}\n{err}"),
    }
}

/// The same, ready to be spawned.
///
/// # Errors
/// When the binary has to be built first.
pub fn prepared<A: AsRef<OsStr>>(arguments: &[A], variables: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new("timeout");
    command.arg(WITHIN_S).arg(binary()?).args(arguments).env_clear();
    let kept = ["PATH", "HOME", "TMPDIR", "FANFARE_PG_BIN", "RUST_BACKTRACE"];
    command.envs(kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    Ok(command)
}

impl Ran {
    /// The answer of a success.
    ///
    /// # Errors
    /// When it was none.
    pub fn ok(self) -> Result<String> {
        ensure!(self.code == 0, "it ended with {}:\n{}{}", self.code, self.out, self.err);
        Ok(self.out)
    }

    /// The answer of a success as JSON.
    ///
    /// # Errors
    /// When it was none.
    pub fn json(self) -> Result<Value> {
        let out = self.ok()?;
        serde_json::from_str(&out).with_context(|| format!("not JSON: {out}"))
    }

    /// What a failure complained of.
    ///
    /// # Errors
    /// When it was none.
    pub fn refusal(self) -> Result<String> {
        ensure!(self.code == 1, "expected a refusal, but it ended with {}:\n{}{}", self.code, self.out, self.err);
        ensure!(!self.err.contains("panicked"), "it panicked:\n{}", self.err);
        Ok(self.err)
    }
}
