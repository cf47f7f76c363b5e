//! How many files this process may have open: each connection is one.

use std::fs;
use std::process::{Command, Stdio};

use tracing::{debug, warn};

/// Descriptors that are needed beside one for each connection.
pub(crate) const RESERVED: u64 = 512;

/// The soft limit, which holds, and the hard one, up to which it may be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileLimit {
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

impl FileLimit {
    /// This process's, where the kernel tells.
    pub(crate) fn read() -> Option<Self> {
        parse(&fs::read_to_string("/proc/self/limits").ok()?)
    }
}

/// Raises the soft limit for so many connections, as far as the hard one lets it. Blocks for a moment.
///
/// `prlimit` comes with `setpriv`, and does from outside what would need `unsafe` code here.
pub(crate) fn raise(connections: u64) {
    let wanted = connections.saturating_add(RESERVED);
    let Some(limit) = FileLimit::read() else { return };
    let target = wanted.min(limit.hard);
    if limit.soft < target {
        let pid = std::process::id().to_string();
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid, &format!("--nofile={target}:")]);
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        debug!(target, raised = done.is_ok_and(|status| status.success()), "file limit");
    }
    if let Some(limit) = FileLimit::read().filter(|limit| limit.soft < wanted) {
        let enough_for = limit.soft.saturating_sub(RESERVED);
        warn!(limit = limit.soft, enough_for, connections_max = connections, "the file limit allows fewer connections");
    }
}

/// Reads a line such as `Max open files  1024  1048576  files`.
fn parse(limits: &str) -> Option<FileLimit> {
    let mut numbers = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace();
    let mut number =
        || numbers.next().and_then(|text| if text == "unlimited" { Some(u64::MAX) } else { text.parse().ok() });
    Some(FileLimit { soft: number()?, hard: number()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_as_the_kernel_prints_it() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 1048576              files     \n";
        assert_eq!(parse(limits), Some(FileLimit { soft: 1_024, hard: 1_048_576 }));
        let unlimited = "Max open files            unlimited            unlimited            files";
        assert_eq!(parse(unlimited), Some(FileLimit { soft: u64::MAX, hard: u64::MAX }));
        assert_eq!(parse(""), None);
    }
}
