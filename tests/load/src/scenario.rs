//! The work that is measured, the same for every server: what `figures.md` tabulates.

mod churn;
mod fanout;
mod idle;
mod many;
mod rest;

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::fleet::Fleet;
use crate::measure;
use crate::target::Target;

/// Payload of a message.
const DATA_BYTES: usize = 128;
/// How long deliveries that are under way may still take when a measurement ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// A scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// One channel, 1,000 subscribers, 50 messages a second.
    FanOut,
    /// One channel, 1,000 subscribers, as many messages as go.
    Saturated,
    /// 1,000 channels with a subscriber each, 20,000 messages a second over sockets.
    ManyChannels,
    /// Subscribed connections that do nothing.
    Idle,
    /// Connect, subscribe, close.
    Churn,
    /// Publishing over REST to one subscriber, keep-alive.
    Rest,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long a steady measurement takes.
    pub(crate) seconds: u64,
    /// How many connections are opened to do nothing.
    pub(crate) idle_connections: u32,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// CPU microseconds, or resident bytes, per unit of work.
    pub(crate) cost: f64,
    /// How many units were done.
    pub(crate) units: u64,
    /// Units a second.
    pub(crate) rate: f64,
    /// Deliveries that never came.
    pub(crate) missing: u64,
    /// Publish to received, half of them.
    pub(crate) p50_ms: Option<f64>,
    /// Publish to received, all but one in a hundred.
    pub(crate) p99_ms: Option<f64>,
}

impl Name {
    /// The named ones, or all.
    pub(crate) fn chosen(named: &[Self]) -> Vec<Self> {
        if named.is_empty() { Self::value_variants().to_vec() } else { named.to_vec() }
    }

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::FanOut => "fan-out",
            Self::Saturated => "saturated",
            Self::ManyChannels => "many channels",
            Self::Idle => "idle",
            Self::Churn => "churn",
            Self::Rest => "REST publish",
        }
    }

    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::FanOut | Self::Saturated => "CPU µs / delivery",
            Self::ManyChannels => "CPU µs / message",
            Self::Idle => "bytes / connection",
            Self::Churn => "CPU µs / connection",
            Self::Rest => "CPU µs / publish",
        }
    }

    /// What `figures.md` asks of Fanfare.
    pub(crate) const fn must(self) -> &'static str {
        match self {
            Self::FanOut => "≤ 1.2 × floor",
            Self::Saturated => "≤ 0.7 µs",
            Self::ManyChannels => "≤ 1.4 × floor",
            Self::Idle => "≤ 2560 bytes",
            Self::Churn => "≤ 1.6 × floor + 5",
            Self::Rest => "≤ 1.8 × floor",
        }
    }
}

/// Measures one scenario on a server.
pub(crate) fn run(name: Name, target: &Target, bounds: Bounds) -> Result<Figure> {
    let time = Duration::from_secs(bounds.seconds);
    match name {
        Name::FanOut => fanout::steady(target, time),
        Name::Saturated => fanout::saturated(target, time),
        Name::ManyChannels => many::run(target, time),
        Name::Idle => idle::run(target, bounds.idle_connections),
        Name::Churn => churn::run(target, time),
        Name::Rest => rest::run(target, time),
    }
}

/// CPU time between two moments.
pub(crate) struct Meter {
    pid: u32,
    cpu: Duration,
    begun: Duration,
}

impl Meter {
    pub(crate) fn start(target: &Target) -> Result<Self> {
        Ok(Self { pid: target.pid, cpu: measure::cpu(target.pid)?, begun: crate::clock::now() })
    }

    /// The figure for this many units, of which so many more were due.
    pub(crate) fn figure(&self, units: u64, missing: u64) -> Result<Figure> {
        let cpu = measure::cpu(self.pid)?.saturating_sub(self.cpu);
        let took = crate::clock::now().saturating_sub(self.begun);
        let count = units.max(1) as f64;
        let cost = cpu.as_secs_f64() * 1e6 / count;
        Ok(Figure { cost, units, rate: count / took.as_secs_f64(), missing, ..Figure::default() })
    }
}

/// Sends on schedule: `due(n)` is called for each of `rate` a second, until the time is over.
pub(crate) fn paced(
    fleet: &mut Fleet<'_>,
    time: Duration,
    rate: u32,
    mut due: impl FnMut(&mut Fleet<'_>, u64) -> Result<()>,
) -> Result<u64> {
    let begun = crate::clock::now();
    let mut sent = 0_u64;
    loop {
        let elapsed = crate::clock::now().saturating_sub(begun);
        if elapsed >= time {
            return Ok(sent);
        }
        let target = u64::try_from(elapsed.as_micros() * u128::from(rate) / 1_000_000)?;
        while sent < target {
            due(fleet, sent)?;
            sent += 1;
        }
        // A millisecond at least: at high rates a turn's publishes go together, as they do from busy publishers. What comes
        // meanwhile is read, but brings no publish forward: how quickly a server answers must not say how it is asked.
        let next =
            Duration::from_micros((sent + 1) * 1_000_000 / u64::from(rate)).max(elapsed + Duration::from_millis(1));
        loop {
            let now = crate::clock::now().saturating_sub(begun);
            if now >= next {
                break;
            }
            fleet.turn(next - now)?;
        }
    }
}

/// Waits for what is under way, and returns how many deliveries are still missing.
pub(crate) fn drain(fleet: &mut Fleet<'_>, expected: u64) -> Result<u64> {
    let deadline = crate::clock::now() + DRAIN_TIMEOUT;
    while fleet.delivered < expected && crate::clock::now() < deadline {
        fleet.turn(Duration::from_millis(10))?;
    }
    Ok(expected.saturating_sub(fleet.delivered))
}

/// Adds the percentiles of what the fleet saw.
pub(crate) fn with_latencies(mut figure: Figure, fleet: &mut Fleet<'_>) -> Figure {
    let samples = &mut fleet.latencies_us;
    samples.sort_unstable();
    let at = |share: usize| samples.get((samples.len() * share / 100).min(samples.len().saturating_sub(1)));
    let ms = |us: &u64| *us as f64 / 1e3;
    figure.p50_ms = at(50).map(ms);
    figure.p99_ms = at(99).map(ms);
    figure
}

/// The time to put into a message.
pub(crate) fn sent_us() -> Result<u64> {
    Ok(u64::try_from(crate::clock::now().as_micros())?)
}
