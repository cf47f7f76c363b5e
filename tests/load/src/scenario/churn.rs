//! Connect, subscribe, close, over and over.

use std::time::Duration;

use anyhow::Result;

use super::{Figure, Meter};
use crate::clock;
use crate::fleet::Fleet;
use crate::target::Target;

/// How many connections are open at a time.
const AT_ONCE: u32 = 50;
/// Closed connections hold their port for a minute, so there must be an end.
const CONNECTIONS_MAX: u64 = 10_000;
const CHANNELS: u32 = 1_000;

pub(super) fn run(target: &Target, time: Duration) -> Result<Figure> {
    let mut fleet = Fleet::new(target)?;
    // The first ones warm up what is lazy.
    fleet.add((0..AT_ONCE).map(Some))?;
    fleet.clear();
    let meter = Meter::start(target)?;
    let deadline = clock::now() + time;
    let mut done = 0;
    while clock::now() < deadline && done < CONNECTIONS_MAX {
        let first = u32::try_from(done)? % CHANNELS;
        fleet.add((0..AT_ONCE).map(|number| Some((first + number) % CHANNELS)))?;
        fleet.clear();
        done += u64::from(AT_ONCE);
    }
    meter.figure(done, 0)
}
