//! Connections that are subscribed and do nothing: what they weigh.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::Figure;
use crate::clock;
use crate::fleet::Fleet;
use crate::measure;
use crate::target::Target;

/// Connected before the first look, so that what is made once is not counted.
const WARM: u32 = 200;
const CHANNELS: u32 = 1_000;
/// Memory that is given back late would be counted.
const SETTLE: Duration = Duration::from_secs(3);
/// Files that both ends have open besides the connections.
const OTHER_FILES: u64 = 400;

pub(super) fn run(target: &Target, connections: u32) -> Result<Figure> {
    let files = measure::files_max()?;
    ensure!(
        u64::from(connections) + OTHER_FILES <= files,
        "only {files} files may be open: raise `ulimit -n`, or pass a smaller --idle-connections"
    );
    let mut fleet = Fleet::new(target)?;
    fleet.add((0..WARM).map(|number| Some(number % CHANNELS)))?;
    settle(&mut fleet)?;
    let (before, begun) = (measure::resident(target.pid)?, clock::now());
    let more = connections.saturating_sub(WARM);
    fleet.add((0..more).map(|number| Some(number % CHANNELS)))?;
    let took = clock::now().saturating_sub(begun);
    settle(&mut fleet)?;
    let grown = measure::resident(target.pid)?.saturating_sub(before);
    let cost = grown as f64 / f64::from(more);
    Ok(Figure { cost, units: u64::from(more), rate: f64::from(more) / took.as_secs_f64(), ..Figure::default() })
}

fn settle(fleet: &mut Fleet<'_>) -> Result<()> {
    let until = clock::now() + SETTLE;
    while clock::now() < until {
        fleet.turn(Duration::from_millis(100))?;
    }
    Ok(())
}
