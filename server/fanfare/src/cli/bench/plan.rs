//! What is to be done, fixed before it begins.

use std::time::Duration;

use anyhow::{Result, ensure};
use fanfare_core::{Capabilities, ChannelName, Operation, Pattern};
use rand::rngs::{StdRng, SysRng};
use rand::{RngExt as _, SeedableRng as _, TryRng as _};
use serde_json::{Value, json};

use super::Arguments;

/// The longest warm-up that nobody asked for.
const WARMUP_MAX: Duration = Duration::from_secs(2);

/// When messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Arrivals {
    /// At even distances.
    Constant,
    /// A Poisson process.
    Poisson,
}

/// How clients are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    Websocket,
    Sse,
}

/// How messages are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Publishing {
    /// One request each, with the key.
    Rest,
    /// The publish command, with a token.
    Socket,
}

/// A run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) url: String,
    pub(super) connections: u32,
    pub(super) channels: Vec<ChannelName>,
    /// What allows all of them.
    pub(super) pattern: Pattern,
    pub(super) rate: f64,
    pub(super) arrivals: Arrivals,
    pub(super) payload: usize,
    pub(super) duration: Duration,
    pub(super) warmup: Duration,
    pub(super) transport: Transport,
    pub(super) publishing: Publishing,
    pub(super) publishers: u32,
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn new(arguments: &Arguments, url: String) -> Result<Self> {
        let Arguments { connections, channels, rate, duration, publishers, .. } = *arguments;
        let warmup = arguments.warmup.unwrap_or((duration / 10).min(WARMUP_MAX));
        ensure!(
            channels <= connections,
            "with {channels} channels and {connections} connections some have no subscriber"
        );
        ensure!(warmup < duration, "the warm-up must be shorter than the whole: nothing would be measured");
        ensure!(
            f64::from(publishers) <= (rate * duration.as_secs_f64()).max(1.0),
            "some publishers would publish nothing"
        );
        // A run's channels are its own: what an earlier one left there is not judged.
        let lot = SysRng.try_next_u32().unwrap_or_default();
        let name = |number: u32| ChannelName::parse(&format!("{}:{lot:08x}:{number}", arguments.prefix));
        let named = (0..channels).map(name).collect::<Result<Vec<_>, _>>();
        let named = named.map_err(|error| anyhow::anyhow!("--prefix makes no channel: {error}"))?;
        let pattern = Pattern::parse(&format!("{}:{lot:08x}:*", arguments.prefix))
            .map_err(|error| anyhow::anyhow!("--prefix makes no pattern: {error}"))?;
        Ok(Self {
            url,
            connections,
            channels: named,
            pattern,
            rate,
            arrivals: arguments.arrivals,
            payload: arguments.payload as usize,
            duration,
            warmup,
            transport: arguments.transport,
            publishing: arguments.publish,
            publishers,
            seed: arguments.seed,
        })
    }

    /// The channel of a client.
    pub(super) fn channel_of(&self, connection: u32) -> usize {
        connection as usize % self.channels.len()
    }

    /// What a token of this run may do.
    pub(super) fn capabilities(&self, operation: Operation) -> Capabilities {
        Capabilities::new(vec![(self.pattern.clone(), [operation].into_iter().collect())])
    }

    /// The times at which a publisher's messages come, from the begin on, and their channels. Channels take turns.
    pub(super) fn arrivals(&self, publisher: u32) -> impl Iterator<Item = (Duration, usize)> + use<> {
        let (rate, publishers, channels) = (self.rate, f64::from(self.publishers), self.channels.len());
        let (constant, duration) = (self.arrivals == Arrivals::Constant, self.duration);
        let mut chance = StdRng::seed_from_u64(self.seed.wrapping_add(u64::from(publisher)));
        let mut last = 0.0;
        (0_u64..)
            .map(move |count| {
                let number = count * publishers as u64 + u64::from(publisher);
                last = if constant {
                    number as f64 / rate
                } else {
                    // Exponential distances; 1 - x is never 0.
                    last - (1.0 - chance.random::<f64>()).ln() * publishers / rate
                };
                (Duration::from_secs_f64(last), usize::try_from(number).unwrap_or_default() % channels)
            })
            .take_while(move |(at, _)| *at < duration)
    }

    /// As told in a report.
    pub(super) fn as_json(&self) -> Value {
        json!({
            "connections": self.connections,
            "channels": self.channels.len(),
            "rate_per_s": self.rate,
            "arrivals": format!("{:?}", self.arrivals).to_lowercase(),
            "payload_bytes": self.payload,
            "duration_ms": self.duration.as_millis(),
            "warmup_ms": self.warmup.as_millis(),
            "transport": format!("{:?}", self.transport).to_lowercase(),
            "publish": format!("{:?}", self.publishing).to_lowercase(),
            "publishers": self.publishers,
            "seed": self.seed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arrivals: Arrivals) -> Plan {
        Plan {
            url: String::new(),
            connections: 5,
            channels: ["a:0", "a:1"].into_iter().filter_map(|name| ChannelName::parse(name).ok()).collect(),
            pattern: Pattern::parse("a:*").expect("is one"),
            rate: 100.0,
            arrivals,
            payload: 16,
            duration: Duration::from_secs(10),
            warmup: Duration::ZERO,
            transport: Transport::Websocket,
            publishing: Publishing::Rest,
            publishers: 3,
            seed: 1,
        }
    }

    #[test]
    fn even_arrivals_are_shared_among_publishers_and_channels_without_a_gap() {
        let plan = plan(Arrivals::Constant);
        let mut all: Vec<(Duration, usize)> = (0..3).flat_map(|publisher| plan.arrivals(publisher)).collect();
        all.sort();
        assert_eq!(all.len(), 1_000);
        for (number, (at, channel)) in all.into_iter().enumerate() {
            assert_eq!((at.as_micros() as usize, channel), (number * 10_000, number % 2));
        }
    }

    #[test]
    fn arrivals_by_lot_come_as_often_and_the_same_seed_draws_the_same() {
        let plan = plan(Arrivals::Poisson);
        let all = || (0..3).flat_map(|publisher| plan.arrivals(publisher)).collect::<Vec<_>>();
        // Three standard deviations of a count of a thousand.
        assert!((905..=1_095).contains(&all().len()), "{}", all().len());
        assert_eq!(all(), all());
    }
}
