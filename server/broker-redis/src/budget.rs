//! What limits of apps and keys all nodes share, in Redis: one call for all that is due on a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fanfare_core::Signer;
use fanfare_engine::budget::{Account, Away, Budget, Part, Use, Used, WHOLE};
use fanfare_engine::{BrokerError, Pending};
use redis::Value;

use crate::answer;
use crate::functions::Functions;
use crate::lane::{Lane, Silence};

/// How long any word may hold.
const HOLDS_MAX: Duration = Duration::from_secs(60);

/// A node's way to what is shared.
pub(crate) struct RedisBudget {
    pub(crate) functions: Arc<Functions>,
    pub(crate) lane: Lane,
    /// Tells this node from the others.
    pub(crate) node: Box<str>,
    pub(crate) known: Arc<AtomicU32>,
}

impl Budget for RedisBudget {
    fn nodes(&self) -> u32 {
        self.known.load(Ordering::Relaxed)
    }

    fn settle(&self, uses: Vec<Use>) -> Pending<Result<Vec<Part>, Away>> {
        let keys: Vec<String> = uses.iter().map(|used| key(&used.account)).collect();
        let mut call = self.functions.share(&keys);
        call.arg(&*self.node).arg(self.nodes());
        for Use { holds, used, .. } in &uses {
            call.arg((*holds).min(HOLDS_MAX).as_millis() as u64);
            match used {
                Used::Count(count) => call.arg("c").arg(*count),
                Used::Rate { value, drawn, demand, over, full_in } => call
                    .arg("r")
                    .arg(value.max)
                    .arg(value.burst)
                    .arg(*drawn)
                    .arg(*demand)
                    .arg(over.as_micros() as u64)
                    .arg(full_in.as_micros() as u64),
            };
        }
        let answered = self.lane.ask(call);
        Pending::Later(Box::pin(async move { parts(answered.await, &uses).map_err(|_| Away) }))
    }
}

/// `{p0}a:<app>:<limit>`, and whose it is where each signer has its own.
fn key(account: &Account) -> String {
    let Account { app, limit, signer } = account;
    let key = format!("{{p0}}a:{app}:{}", limit.as_str());
    match signer {
        None => key,
        Some(Signer::Key(id)) => format!("{key}:{id}"),
        Some(Signer::Issuer(id)) => format!("{key}:{id}"),
    }
}

fn parts(answer: Result<Value, Silence>, uses: &[Use]) -> Result<Vec<Part>, BrokerError> {
    let answers = answer::texts(answer)?;
    let parts = answers.iter().zip(uses).map(|(text, used)| part(text, used).ok_or(BrokerError::Unavailable));
    parts.collect()
}

fn part(text: &str, used: &Use) -> Option<Part> {
    let mut numbers = text.split(' ').map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let mut millionths = || Some(u32::try_from(number()?).ok()?.clamp(1, WHOLE));
    Some(match used.used {
        Used::Count(_) => Part::Elsewhere(number()?),
        Used::Rate { .. } => {
            let (part, alone) = (millionths()?, millionths()?);
            Part::Rate { part, alone, full_in: Duration::from_micros(number()?) }
        }
    })
}
