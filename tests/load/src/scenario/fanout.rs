//! One channel with many subscribers.

use std::time::Duration;

use anyhow::Result;

use super::{DATA_BYTES, Figure, Meter, drain, paced, sent_us, with_latencies};
use crate::clock;
use crate::fleet::Fleet;
use crate::target::Target;
use crate::wire;

const SUBSCRIBERS: u64 = 1_000;
const RATE: u32 = 50;
/// How many clients look at when their messages were sent.
const SAMPLED: usize = 20;
/// How many messages may be under way, each to all subscribers. It also bounds how many a server can join into one
/// write; with these numbers the floor costs what `figures.md` says of it.
const WINDOW: u64 = 16;
/// How many messages a publisher sends in one write.
const BURST: u64 = 8;

/// As many messages as usual.
pub(super) fn steady(target: &Target, time: Duration) -> Result<Figure> {
    let mut fleet = subscribed(target)?;
    let publisher = SUBSCRIBERS as usize;
    // The first messages warm up what is lazy.
    paced(&mut fleet, Duration::from_secs(1), RATE, |fleet, _| {
        fleet.send(publisher, &wire::publish(0, sent_us()?, DATA_BYTES))
    })?;
    let before = fleet.delivered;
    drain(&mut fleet, before)?;
    fleet.sample(SAMPLED);
    let (meter, before) = (Meter::start(target)?, fleet.delivered);
    let sent =
        paced(&mut fleet, time, RATE, |fleet, _| fleet.send(publisher, &wire::publish(0, sent_us()?, DATA_BYTES)))?;
    let missing = drain(&mut fleet, before + sent * SUBSCRIBERS)?;
    let figure = meter.figure(sent * SUBSCRIBERS - missing, missing)?;
    Ok(with_latencies(figure, &mut fleet))
}

/// As many messages as go: the next are sent when the last have arrived.
pub(super) fn saturated(target: &Target, time: Duration) -> Result<Figure> {
    let mut fleet = subscribed(target)?;
    let publisher = SUBSCRIBERS as usize;
    let (meter, before) = (Meter::start(target)?, fleet.delivered);
    let deadline = clock::now() + time;
    let mut sent = 0;
    while clock::now() < deadline {
        while sent * SUBSCRIBERS < fleet.delivered - before + WINDOW * SUBSCRIBERS {
            let frame = wire::publish(0, sent_us()?, DATA_BYTES);
            fleet.send(publisher, &frame.repeat(usize::try_from(BURST)?))?;
            sent += BURST;
        }
        fleet.turn(Duration::from_millis(5))?;
    }
    let missing = drain(&mut fleet, before + sent * SUBSCRIBERS)?;
    meter.figure(sent * SUBSCRIBERS - missing, missing)
}

/// The subscribers, and behind them the publisher.
fn subscribed(target: &Target) -> Result<Fleet<'_>> {
    let mut fleet = Fleet::new(target)?;
    fleet.add((0..SUBSCRIBERS).map(|_| Some(0)))?;
    fleet.add([None])?;
    Ok(fleet)
}
