//! Things that are fetched: their value, their failure, and how the page shows both.

use std::future::Future;

use fanfare_core::{ErrorCode, Role};
use leptos::prelude::*;

use super::states::{Failure, Forbidden, Outline};
use crate::api::{Answer, ApiError, Health};

/// Something that is fetched now and whenever it is asked for again. A failure keeps the last value.
pub(crate) struct Load<T: Send + Sync + 'static> {
    value: RwSignal<Option<T>>,
    error: RwSignal<Option<ApiError>>,
    round: RwSignal<u32>,
}

impl<T: Send + Sync + 'static> Clone for Load<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Load<T> {}

impl<T: Clone + Send + Sync + 'static> Load<T> {
    /// Fetches now, on [`Load::again`], and when storage that was away is back.
    pub(crate) fn new<F, A>(fetch: F) -> Self
    where
        F: Fn() -> A + 'static,
        A: Future<Output = Answer<T>> + 'static,
    {
        let load = Self { value: RwSignal::new(None), error: RwSignal::new(None), round: RwSignal::new(0) };
        let health = expect_context::<Health>();
        Effect::new(move || {
            let round = load.round.get();
            let answer = fetch();
            leptos::task::spawn_local(async move {
                let answer = answer.await;
                // Somebody left the page, or asked again meanwhile.
                if load.round.try_get_untracked() != Some(round) {
                    return;
                }
                load.error.set(answer.as_ref().err().cloned());
                if let Ok(value) = answer {
                    load.value.set(Some(value));
                }
            });
        });
        Effect::new(move |was_away: Option<bool>| {
            let away = health.away().is_some();
            if was_away == Some(true) && !away && load.error.with_untracked(Option::is_some) {
                load.again();
            }
            away
        });
        load
    }

    /// Fetches again.
    pub(crate) fn again(self) {
        self.round.update(|round| *round += 1);
    }

    /// The value, tracked.
    pub(crate) fn get(self) -> Option<T> {
        self.value.get()
    }

    /// Why it could not be fetched last, tracked; a failure keeps the last value.
    pub(crate) fn error(self) -> Option<ApiError> {
        self.error.get()
    }

    /// Shows the value, or the state of not having it.
    pub(crate) fn show<V: IntoView + 'static>(
        self,
        what: &'static str,
        view: impl Fn(T) -> V + Send + 'static,
    ) -> impl IntoView {
        move || match (self.value.get(), self.error.get()) {
            (Some(value), None) => view(value).into_any(),
            (Some(value), Some(_)) => view! { <div class="stale">{view(value)}</div> }.into_any(),
            (None, Some(error)) if error.code() == Some(ErrorCode::Forbidden) => {
                view! { <Forbidden needs=Role::Developer what=what/> }.into_any()
            }
            (None, Some(error)) => {
                view! { <Failure error=error retry=Callback::new(move |()| self.again())/> }.into_any()
            }
            (None, None) => view! { <Outline/> }.into_any(),
        }
    }
}
