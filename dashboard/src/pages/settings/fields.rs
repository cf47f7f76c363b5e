//! What is typed into the form, and the settings it stands for.

use fanfare_core::settings::{Durability, History};
use fanfare_core::{ChannelSettings, LimitValue, Pattern, SlowPolicy};
use leptos::prelude::*;

use crate::api::ApiError;
use crate::components::reading::Reading;

/// The fields as typed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    pub(super) pattern: RwSignal<String>,
    pub(super) kept_s: RwSignal<String>,
    pub(super) messages: RwSignal<String>,
    pub(super) bytes: RwSignal<String>,
    pub(super) durability: RwSignal<Durability>,
    pub(super) slow: RwSignal<SlowPolicy>,
    pub(super) message_bytes: RwSignal<String>,
    pub(super) rate: RwSignal<String>,
    pub(super) burst: RwSignal<String>,
    pub(super) idempotency_s: RwSignal<String>,
    pub(super) presence: RwSignal<bool>,
    pub(super) join_leave: RwSignal<bool>,
    pub(super) occupancy: RwSignal<bool>,
    pub(super) echo: RwSignal<bool>,
    pub(super) compression: RwSignal<bool>,
}

impl Fields {
    /// Filled with these settings.
    pub(super) fn of(one: &ChannelSettings, pattern: String) -> Self {
        let text = |number: Option<u64>| RwSignal::new(number.map_or_else(String::new, |number| number.to_string()));
        Self {
            pattern: RwSignal::new(pattern),
            kept_s: RwSignal::new(seconds(one.history.ttl_ms)),
            messages: text(Some(one.history.messages.into())),
            bytes: text(Some(one.history.bytes)),
            durability: RwSignal::new(one.durability),
            slow: RwSignal::new(one.slow),
            message_bytes: text(one.message_bytes),
            rate: text(one.publish_rate.map(|rate| rate.max)),
            burst: text(one.publish_rate.map(|rate| rate.burst)),
            idempotency_s: RwSignal::new(seconds(one.idempotency_ms)),
            presence: RwSignal::new(one.presence),
            join_leave: RwSignal::new(one.join_leave),
            occupancy: RwSignal::new(one.occupancy),
            echo: RwSignal::new(one.echo),
            compression: RwSignal::new(one.compression),
        }
    }

    /// The settings, or every field that cannot be read.
    pub(super) fn read(self) -> Result<ChannelSettings, ApiError> {
        let mut wrong = Reading::new();
        let pattern = wrong.at("/pattern", Pattern::parse(self.pattern.get_untracked().trim()));
        let history = History {
            ttl_ms: wrong.at("/history/ttl_ms", milliseconds(&self.kept_s.get_untracked())).unwrap_or_default(),
            messages: wrong.at("/history/messages", whole(&self.messages.get_untracked())).unwrap_or_default(),
            bytes: wrong.at("/history/bytes", whole(&self.bytes.get_untracked())).unwrap_or_default(),
        };
        let message_bytes = wrong.at("/message_bytes", optional(&self.message_bytes.get_untracked())).flatten();
        let rate: Option<u64> = wrong.at("/publish_rate/max", optional(&self.rate.get_untracked())).flatten();
        let burst: Option<u64> = wrong.at("/publish_rate/burst", optional(&self.burst.get_untracked())).flatten();
        let publish_rate = match (rate, burst) {
            (None, None) => None,
            // A burst of a second's worth is what people mean who give a rate alone.
            (Some(rate), burst) => Some(LimitValue::rate(rate, burst.unwrap_or(rate))),
            (None, Some(burst)) => Some(LimitValue::rate(0, burst)),
        };
        let idempotency_ms = wrong.at("/idempotency_ms", milliseconds(&self.idempotency_s.get_untracked()));
        match (pattern, wrong.is_whole()) {
            (Some(pattern), true) => Ok(ChannelSettings {
                pattern,
                history,
                durability: self.durability.get_untracked(),
                presence: self.presence.get_untracked(),
                join_leave: self.join_leave.get_untracked(),
                occupancy: self.occupancy.get_untracked(),
                echo: self.echo.get_untracked(),
                slow: self.slow.get_untracked(),
                message_bytes,
                publish_rate,
                compression: self.compression.get_untracked(),
                idempotency_ms: idempotency_ms.unwrap_or_default(),
            }),
            _ => Err(wrong.error()),
        }
    }
}

fn whole<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    let digits: String = text.chars().filter(|digit| !matches!(digit, ' ' | ',' | '_')).collect();
    digits.parse().map_err(|_| "a whole number".to_owned())
}

fn optional(text: &str) -> Result<Option<u64>, String> {
    if text.trim().is_empty() { Ok(None) } else { whole(text).map(Some) }
}

/// Seconds, fractions down to milliseconds kept.
fn seconds(ms: u64) -> String {
    match ms % 1_000 {
        0 => (ms / 1_000).to_string(),
        rest => format!("{}.{rest:03}", ms / 1_000).trim_end_matches('0').to_owned(),
    }
}

fn milliseconds(text: &str) -> Result<u64, String> {
    let wrong = || "seconds, such as 120 or 0.5".to_owned();
    let (full, part) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if part.len() > 3 {
        return Err(wrong());
    }
    let full: u64 = whole(full).map_err(|_| wrong())?;
    let part: u64 = if part.is_empty() { 0 } else { format!("{part:0<3}").parse().map_err(|_| wrong())? };
    full.checked_mul(1_000).and_then(|ms| ms.checked_add(part)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_keep_their_milliseconds() {
        for (ms, text) in [(0, "0"), (120_000, "120"), (1_500, "1.5"), (7, "0.007")] {
            assert_eq!((seconds(ms), milliseconds(text)), (text.to_owned(), Ok(ms)));
        }
        for wrong in ["", "x", "-1", "1.2345", "1.x", "99999999999999999999"] {
            assert!(milliseconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!((whole::<u64>("16,777,216"), optional(" ")), (Ok(16_777_216), Ok(None)));
    }
}
