//! Whether the control plane and its storage answer, as seen from this page.

use leptos::prelude::*;

use super::ApiError;
use crate::browser;

/// Something is away.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Away {
    /// Since when, Unix milliseconds.
    pub(crate) since_ms: f64,
    /// What the last call said.
    pub(crate) error: ApiError,
}

/// The handle that every call reports to and the banner reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Health(RwSignal<Option<Away>>);

impl Health {
    /// A handle that thinks all is well.
    pub(crate) fn new() -> Self {
        Self(RwSignal::new(None))
    }

    /// What is away, tracked.
    pub(crate) fn away(self) -> Option<Away> {
        self.0.get()
    }

    /// Takes note of how a call ended.
    pub(super) fn note(self, error: Option<&ApiError>) {
        match error.filter(|error| error.is_away()) {
            Some(error) => self.0.update(|away| {
                let since_ms = away.as_ref().map_or_else(browser::now_ms, |away| away.since_ms);
                *away = Some(Away { since_ms, error: error.clone() });
            }),
            None if self.0.with_untracked(Option::is_some) => self.0.set(None),
            None => {}
        }
    }
}
