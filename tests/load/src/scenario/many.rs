//! Many channels with one subscriber each, who publishes to its neighbour.

use std::time::Duration;

use anyhow::Result;

use super::{DATA_BYTES, Figure, Meter, drain, paced, sent_us, with_latencies};
use crate::fleet::Fleet;
use crate::target::Target;
use crate::wire;

const CHANNELS: u32 = 1_000;
const RATE: u32 = 20_000;
const SAMPLED: usize = 20;

pub(super) fn run(target: &Target, time: Duration) -> Result<Figure> {
    let mut fleet = Fleet::new(target)?;
    fleet.add((0..CHANNELS).map(Some))?;
    let publish = |fleet: &mut Fleet<'_>, number: u64| {
        let from = u32::try_from(number % u64::from(CHANNELS))?;
        fleet.send(from as usize, &wire::publish((from + 1) % CHANNELS, sent_us()?, DATA_BYTES))
    };
    let warm = paced(&mut fleet, Duration::from_secs(1), RATE, publish)?;
    drain(&mut fleet, warm)?;
    fleet.sample(SAMPLED);
    let (meter, before) = (Meter::start(target)?, fleet.delivered);
    let sent = paced(&mut fleet, time, RATE, publish)?;
    let missing = drain(&mut fleet, before + sent)?;
    let figure = meter.figure(sent - missing, missing)?;
    Ok(with_latencies(figure, &mut fleet))
}
