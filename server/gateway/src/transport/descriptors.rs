//! A reserve of file descriptors, so that connections never take those that Postgres, a broker, a log or a snapshot need.
//!
//! The kernel gives out the lowest number that is free. A connection whose number lies in the last of those the process
//! may have is one too many, and nothing has to be counted to see it.

use std::fs;

/// Descriptors kept for everything that is no client: pools of the database, logs, snapshots, and the listeners.
const RESERVE: u64 = 64;
/// How many connections pass between two looks at the process's limit, which an operator may change while it runs.
const LOOK_EVERY: u32 = 256;

/// How far connections may go.
#[derive(Debug)]
pub(super) struct Descriptors {
    line: u64,
    until_look: u32,
}

impl Descriptors {
    pub(super) fn new() -> Self {
        Self { line: line(), until_look: LOOK_EVERY }
    }

    /// Whether a connection with this descriptor may stay.
    pub(super) fn admits(&mut self, descriptor: i32) -> bool {
        self.until_look -= 1;
        if self.until_look == 0 {
            *self = Self::new();
        }
        u64::try_from(descriptor).is_ok_and(|number| number < self.line)
    }
}

/// The first number that is of the reserve; without one where the system does not tell.
fn line() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    soft_limit(&limits).map_or(u64::MAX, |limit| limit.saturating_sub(RESERVE.min(limit / 2)))
}

fn soft_limit(limits: &str) -> Option<u64> {
    let row = limits.lines().find_map(|row| row.strip_prefix("Max open files"))?;
    row.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_as_the_kernel_writes_it() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             15000                15000                processes \n\
                    Max open files            512                  1048576              files     \n";
        assert_eq!(soft_limit(text), Some(512));
        assert_eq!(soft_limit("Max open files            unlimited            unlimited            files"), None);
    }

    #[test]
    fn the_last_descriptors_are_not_for_connections() {
        let mut descriptors = Descriptors { line: 448, until_look: LOOK_EVERY };
        assert!(descriptors.admits(447) && !descriptors.admits(448) && !descriptors.admits(-1));
    }
}
