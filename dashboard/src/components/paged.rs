//! Lists that are read a page at a time: what is there stays while more is read, and nothing jumps.

use std::future::Future;
use std::rc::Rc;

use fanfare_api::Page;
use fanfare_core::{ErrorCode, Role};
use leptos::prelude::*;

use super::states::{Failure, Forbidden, FormError, Outline};
use crate::api::{Answer, ApiError};
use crate::browser;

type Fetch = Rc<dyn Fn(Option<String>)>;

/// What is known of a list.
struct Read<T: Send + Sync + 'static> {
    items: RwSignal<Option<Vec<T>>>,
    /// Where the next page begins; `None` at the end of what there was.
    next: RwSignal<Option<String>>,
    /// Whether the last reading found nothing more.
    at_end: RwSignal<bool>,
    /// Nodes whose part is missing in what is there.
    missing: RwSignal<u32>,
    read_at_ms: RwSignal<f64>,
    busy: RwSignal<bool>,
    error: RwSignal<Option<ApiError>>,
    /// Grows when the list begins anew; what arrives of an earlier one is let go.
    round: RwSignal<u32>,
    /// Reads what follows a place.
    fetch: StoredValue<Fetch, LocalStorage>,
    /// The place of an item, for reading on after the last.
    place: fn(&T) -> String,
}

/// A list. It begins anew whenever something changes that its fetching depends on.
pub(crate) struct Paged<T: Send + Sync + 'static>(StoredValue<Read<T>, LocalStorage>);

impl<T: Send + Sync + 'static> Clone for Paged<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Send + Sync + 'static> Copy for Paged<T> {}

impl<T: Clone + Send + Sync + 'static> Paged<T> {
    /// Reads the first page now, and anew when what `fetch` looks at has changed.
    pub(crate) fn new<F, A>(place: fn(&T) -> String, fetch: F) -> Self
    where
        F: Fn(Option<String>) -> A + 'static,
        A: Future<Output = Answer<Page<T>>> + 'static,
    {
        let items = RwSignal::new(None::<Vec<T>>);
        let (next, error) = (RwSignal::new(None), RwSignal::new(None));
        let (at_end, busy, round) = (RwSignal::new(false), RwSignal::new(false), RwSignal::new(0_u32));
        let (read_at_ms, missing) = (RwSignal::new(0.0), RwSignal::new(0_u32));
        let fetch: Fetch = Rc::new(move |after| {
            let (answer, first, begun) = (fetch(after.clone()), after.is_none(), round.get_untracked());
            busy.set(true);
            leptos::task::spawn_local(async move {
                let answer = answer.await;
                // Somebody left the page, or the list began anew meanwhile.
                if round.try_get_untracked() != Some(begun) {
                    return;
                }
                busy.set(false);
                error.set(answer.as_ref().err().cloned());
                let Ok(page) = answer else { return };
                read_at_ms.set(browser::now_ms());
                at_end.set(!first && page.items.is_empty());
                next.set(page.next);
                missing.update(|missing| *missing = page.missing_nodes.max(if first { 0 } else { *missing }));
                items.update(|items| match items {
                    Some(items) if !first => items.extend(page.items),
                    Some(_) | None => *items = Some(page.items),
                });
            });
        });
        let fetch = StoredValue::new_local(fetch);
        let read = Read { items, next, at_end, missing, read_at_ms, busy, error, round, fetch, place };
        let list = Self(StoredValue::new_local(read));
        Effect::new(move || {
            round.update_untracked(|round| *round += 1);
            // Whatever the fetch looks at is followed here.
            fetch.with_value(|fetch| fetch(None));
        });
        list
    }

    fn read<V>(self, look: impl FnOnce(&Read<T>) -> V) -> V {
        self.0.with_value(look)
    }

    /// Reads the list anew; what is shown stays until it is there.
    pub(crate) fn again(self) {
        // Whoever asks later may find the page gone.
        let _gone = self.0.try_with_value(|read| {
            read.round.update_untracked(|round| *round += 1);
            untrack(|| read.fetch.with_value(|fetch| fetch(None)));
        });
    }

    /// Reads what follows.
    pub(crate) fn more(self) {
        self.read(|read| {
            if read.busy.get_untracked() {
                return;
            }
            let last = || read.items.with_untracked(|items| items.as_ref()?.last().map(read.place));
            let after = read.next.get_untracked().or_else(last);
            untrack(|| read.fetch.with_value(|fetch| fetch(after)));
        });
    }

    /// Whether more is known to follow, tracked.
    pub(crate) fn has_more(self) -> bool {
        self.read(|read| read.next).get().is_some()
    }

    /// What is there, tracked.
    pub(crate) fn items(self) -> Signal<Vec<T>> {
        let items = self.read(|read| read.items);
        Signal::derive(move || items.get().unwrap_or_default())
    }

    /// Shows the list, or the state of not having it. `view` is made once; it follows the items by itself.
    pub(crate) fn show<V: IntoView + 'static>(
        self,
        what: &'static str,
        empty: impl Fn() -> AnyView + Send + 'static,
        view: impl Fn(Signal<Vec<T>>) -> V + Send + 'static,
    ) -> impl IntoView {
        let (items, error) = self.read(|read| (read.items, read.error));
        let state = Memo::new(move |_| items.with(|items| items.as_ref().map(Vec::is_empty)));
        let failed = Memo::new(move |_| state.get().is_none().then(|| error.get()).flatten());
        move || match (state.get(), failed.get()) {
            (Some(true), _) => empty(),
            (Some(false), _) => {
                view! { <div class:stale=move || error.get().is_some()>{view(self.items())}</div> }.into_any()
            }
            (None, Some(error)) if error.code() == Some(ErrorCode::Forbidden) => {
                view! { <Forbidden needs=Role::Viewer what=what/> }.into_any()
            }
            (None, Some(error)) => {
                view! { <Failure error=error retry=Callback::new(move |()| self.again())/> }.into_any()
            }
            (None, None) => view! { <Outline/> }.into_any(),
        }
    }

    /// Below a list: how old it is, what went wrong last, and the button that reads on.
    pub(crate) fn foot(self, more: &'static str, none: &'static str) -> impl IntoView {
        let (at_end, busy, error) = self.read(|read| (read.at_end, read.busy, read.error));
        let (items, read_at_ms, missing) = self.read(|read| (read.items, read.read_at_ms, read.missing));
        let is_there = move || items.with(Option::is_some);
        let shown_error = Signal::derive(move || if is_there() { error.get() } else { None });
        view! {
            <Show when=is_there>
                <div>
                <div class="list-foot">
                    <button
                        class="button button-small"
                        type="button"
                        disabled=move || busy.get()
                        on:click=move |_| self.more()
                    >
                        {more}
                    </button>
                    <p class="muted small" role="status">
                        {move || match (busy.get(), error.get().is_some(), at_end.get()) {
                            (true, ..) => "Reading".to_owned(),
                            (_, true, _) => format!("Old: of {}", browser::clock_time(read_at_ms.get())),
                            (_, _, true) => none.to_owned(),
                            (..) => format!("As of {}", browser::clock_time(read_at_ms.get())),
                        }}
                    </p>
                </div>
                <Show when=move || { missing.get() > 0 }>
                    <p class="muted small" role="status">{move || missing_nodes(missing.get())}</p>
                </Show>
                <FormError error=shown_error/>
                </div>
            </Show>
        }
    }
}

/// What is said where nodes did not answer.
fn missing_nodes(count: u32) -> String {
    match count {
        1 => "One node did not answer: what it has is missing here.".to_owned(),
        count => format!("{count} nodes did not answer: what they have is missing here."),
    }
}
