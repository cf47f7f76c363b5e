//! `load stall`: a quarter of a channel's clients read nothing; what does that do to the others?
//!
//! ```text
//! control   all read ───────────────────────────▶ measured ──▶ judged
//! stalled   all read ─▶ a quarter stops ─▶ full ─▶ measured ──▶ they read again ─▶ judged
//! ```
//!
//! Both kinds of run take turns on one server, each on a channel of its own. Measured is a stretch in which the sockets of
//! those that stopped hold no more: what the server does about them then is in the others' figures. Judged are the numbers of
//! all clients' messages: what was left out without a word is missing.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::fleet::{Fleet, Judged};
use crate::scenario::{Meter, drain, paced, sent_us, with_latencies};
use crate::target::Target;
use crate::{clock, measure, report, wire};

const CLIENTS: u64 = 200;
const STALLED: u64 = CLIENTS / 4;
/// Large enough to fill what the kernel holds for a client that stops, in the time that history reaches back.
const DATA_BYTES: usize = 8 * 1024;
const RATE: u32 = 80;
const SAMPLED: usize = 20;
const WARM_UP: Duration = Duration::from_secs(1);
const FILL: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(5);
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(30);

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server's binary.
    #[arg(long)]
    fanfare: PathBuf,
    /// How many runs of each kind.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A run's figures.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Run {
    /// CPU µs for each delivery to a client that reads.
    cost: f64,
    p99_ms: f64,
    resident_mib: f64,
    missing: u64,
    again: u64,
    told: u64,
}

/// All of them.
#[derive(Debug, Default, Serialize)]
struct Figures {
    control: Vec<Run>,
    stalled: Vec<Run>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let target = Target::fanfare(&options.fanfare)?;
    let mut figures = Figures::default();
    for round in 0..options.rounds {
        figures.control.push(one(&target, 2 * round, false)?);
        figures.stalled.push(one(&target, 2 * round + 1, true)?);
    }
    figures.print();
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&figures)? + "\n")?;
    }
    let lost = |runs: &[Run]| runs.iter().map(|run| run.missing + run.again).sum::<u64>();
    ensure!(lost(&figures.control) + lost(&figures.stalled) == 0, "messages are missing or came again");
    Ok(())
}

/// One run, on this channel.
fn one(target: &Target, channel: u32, stalls: bool) -> Result<Run> {
    let mut fleet = Fleet::new(target)?;
    fleet.add((0..CLIENTS).map(|_| Some(channel)))?;
    fleet.add([None])?;
    fleet.judge();
    let publisher = usize::try_from(CLIENTS)?;
    let publish = |fleet: &mut Fleet<'_>, time: Duration| {
        paced(fleet, time, RATE, |fleet, _| fleet.send(publisher, &wire::publish(channel, sent_us()?, DATA_BYTES)))
    };
    let mut sent = publish(&mut fleet, WARM_UP)?;
    drain(&mut fleet, sent * CLIENTS)?;
    let reading = if stalls {
        fleet.hold(usize::try_from(CLIENTS - STALLED)?..publisher);
        CLIENTS - STALLED
    } else {
        CLIENTS
    };
    let (before, filled) = (fleet.delivered, publish(&mut fleet, FILL)?);
    drain(&mut fleet, before + filled * reading)?;
    fleet.sample(SAMPLED);
    let (meter, before) = (Meter::start(target)?, fleet.delivered);
    let measured = publish(&mut fleet, MEASURED)?;
    let late = drain(&mut fleet, before + measured * reading)?;
    let figure = meter.figure(measured * reading - late, late)?;
    let resident = measure::resident(target.pid)?;
    let figure = with_latencies(figure, &mut fleet);
    sent += filled + measured;
    let judged = all_of(&mut fleet, sent)?;
    Ok(Run {
        cost: figure.cost,
        p99_ms: figure.p99_ms.unwrap_or_default(),
        resident_mib: resident as f64 / f64::from(1 << 20),
        ..judged
    })
}

/// Has everybody read on to the last message, and adds up what their numbers tell.
fn all_of(fleet: &mut Fleet<'_>, sent: u64) -> Result<Run> {
    fleet.thaw()?;
    let deadline = clock::now() + CAUGHT_UP_WITHIN;
    while fleet.judged().any(|client| client.last < sent) && clock::now() < deadline {
        fleet.turn(Duration::from_millis(20))?;
    }
    let add = |sum: Run, Judged { last, missing, again, told }: Judged| Run {
        missing: sum.missing + missing + sent.saturating_sub(last),
        again: sum.again + again,
        told: sum.told + told,
        ..sum
    };
    Ok(fleet.judged().fold(Run::default(), add))
}

impl Figures {
    fn print(&self) {
        let [control, stalled] = [&self.control, &self.stalled];
        let of = |runs: &[Run], figure: fn(&Run) -> f64| median(runs.iter().map(figure).collect());
        let [costs, p99s, memory] = [
            [of(control, |run| run.cost), of(stalled, |run| run.cost)],
            [of(control, |run| run.p99_ms), of(stalled, |run| run.p99_ms)],
            [of(control, |run| run.resident_mib), of(stalled, |run| run.resident_mib)],
        ];
        report::line(&format!("median of {} runs each       control    stalled", control.len()));
        report::line(&format!(
            "CPU µs / delivery         {:>9.2}  {:>9.2}   {:.3}×, must ≤ 1.05×",
            costs[0],
            costs[1],
            costs[1] / costs[0]
        ));
        report::line(&format!(
            "p99, ms                   {:>9.2}  {:>9.2}   must ≤ {:.2}",
            p99s[0],
            p99s[1],
            (p99s[0] * 1.1).max(p99s[0] + 2.0)
        ));
        report::line(&format!("resident, MiB             {:>9.1}  {:>9.1}", memory[0], memory[1]));
        for (name, runs) in [("control", control), ("stalled", stalled)] {
            let sum = |figure: fn(&Run) -> u64| runs.iter().map(figure).sum::<u64>();
            report::line(&format!(
                "{name}: {} missing, {} again, {} left out as told",
                sum(|run| run.missing),
                sum(|run| run.again),
                sum(|run| run.told)
            ));
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
    }
}
