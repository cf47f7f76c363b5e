//! The live figures of the app that is shown. They are collected as long as the frame is there, so that coming back to
//! the overview finds the last minutes still drawn.

use fanfare_core::id::AppId;
use leptos::prelude::*;

use crate::live::{Listening, Live};
use crate::samples::{CHANNEL, Sample, Samples};

/// What the pages of an app share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// The last minutes.
    pub(crate) samples: ReadSignal<Samples>,
    /// How their subscription is doing.
    pub(crate) listening: ReadSignal<Listening>,
}

impl Figures {
    /// Collects the figures of whichever app is shown.
    pub(crate) fn of(live: Live, app: Memo<Option<AppId>>) -> Self {
        let (samples, set_samples) = signal(Samples::default());
        let listening = live.listen(CHANNEL, move |arrival| {
            // A sample of a newer server that cannot be read is left out; the gap shows.
            if let Ok(sample) = serde_json::from_value::<Sample>(arrival.message.data) {
                set_samples.update(|samples| samples.push(sample));
            }
        });
        Effect::new(move |before: Option<Option<AppId>>| {
            let now = app.get();
            if before.is_some_and(|before| before != now) {
                set_samples.set(Samples::default());
            }
            now
        });
        Self { samples, listening }
    }
}
