//! Something the reader tries: under way or not, and what the server said against it.

use std::future::Future;

use leptos::prelude::*;

use crate::api::{Answer, ApiError};

/// The state of a form or of a button that calls the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Whether it is under way.
    pub(crate) busy: RwSignal<bool>,
    /// What the server said against the last one.
    pub(crate) error: RwSignal<Option<ApiError>>,
}

impl Attempt {
    /// Nothing tried yet.
    pub(crate) fn new() -> Self {
        Self { busy: RwSignal::new(false), error: RwSignal::new(None) }
    }

    /// Tries, unless it is being tried, and goes on with the answer if it is a good one.
    pub(crate) fn run<T: 'static>(
        self,
        call: impl Future<Output = Answer<T>> + 'static,
        done: impl FnOnce(T) + 'static,
    ) {
        if self.busy.get_untracked() {
            return;
        }
        self.busy.set(true);
        leptos::task::spawn_local(async move {
            let answer = call.await;
            // The reader may have gone elsewhere meanwhile; then there is nobody to tell, but the deed is done.
            self.busy.try_set(false);
            match answer {
                Ok(answer) => {
                    self.error.try_set(None);
                    done(answer);
                }
                Err(refused) => {
                    self.error.try_set(Some(refused));
                }
            }
        });
    }
}
