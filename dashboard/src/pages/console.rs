//! What happens in the app, as it happens: the last of it in memory, narrowed by the URL, paused, one event by its link.

mod detail;
mod memory;
mod rows;

use fanfare_core::debug::{self, DebugEvent, DebugEvents, Happened};
use leptos::prelude::*;

use crate::components::filters::{Filter, Filters, chosen};
use crate::components::icon::Shape;
use crate::components::page_head::PageHead;
use crate::components::snippet::Snippet;
use crate::components::states::Empty;
use crate::live::{Listening, Live};
use crate::session::Here;
use crate::{browser, format, snippets};
use detail::Detail;
use memory::{KEPT, Memory, Narrowed};
use rows::Rows;

const FILTERS: &[Filter] = &[
    Filter { name: "channel", label: "Channel" },
    Filter { name: "user", label: "User" },
    Filter { name: "connection", label: "Connection" },
];
/// How many tellings of the past the page begins with.
const PAST: u32 = 200;

/// The page.
#[component]
pub(crate) fn Console(here: Here) -> impl IntoView {
    let live = expect_context::<Live>();
    let memory = RwSignal::new(Memory::default());
    let listening = live.listen_with_past(debug::CHANNEL, PAST, move |arrival| {
        // What a newer server tells and this page cannot read is left out.
        if let Ok(told) = serde_json::from_value::<DebugEvents>(arrival.message.data) {
            memory.update(|memory| memory.take(told));
        }
    });
    // While it is paused, what was there then is shown.
    let paused = RwSignal::new(None::<Memory>);
    let shown = Memo::new(move |_| paused.get().unwrap_or_else(|| memory.get()));
    let missed =
        Memo::new(move |_| paused.with(|paused| paused.as_ref().map(|then| memory.with(|now| now.since(then)))));
    let narrowed = narrowed();
    let found = Memo::new(move |_| shown.with(|shown| shown.matching(&narrowed.get())));
    let event = chosen("event");
    let app = here.app.id;
    let path = format!("/apps/{app}/console");
    let link = StoredValue::new(path.clone());
    let href = move |id: &str| link.with_value(|path| narrowed.with(|narrowed| narrowed.url(path, id)));
    // The filters of the form leave the kinds as they are.
    let form = Signal::derive(move || {
        let kinds = narrowed.with(|narrowed| narrowed.kinds.join(","));
        link.with_value(|path| browser::with_query(path, &[("kind", &kinds)]))
    });
    let url = here.url.clone();
    view! {
        <PageHead
            title="Console"
            about="What happens in this app, as it happens: who comes and goes, subscribes, publishes, and what is refused and why. No payloads."
        >
            <Pause paused=paused memory=memory missed=missed/>
        </PageHead>
        <div class="stack">
            <Kinds path=path narrowed=narrowed/>
            <Filters filters=FILTERS path=form/>
            {move || refused(&listening.get())}
            <Dropped shown=shown/>
            <div class="console" class:stale=move || live.is_stale()>
                <Show
                    when=move || !found.with(Vec::is_empty)
                    fallback=move || nothing(shown.with(Memory::is_empty), &url)
                >
                    <Rows app=app found=found chosen=event href=Callback::new(move |id: String| href(&id))/>
                </Show>
                <Detail app=app shown=shown event=event close=Signal::derive(move || href(""))/>
            </div>
            <details class="card card-pad">
                <summary>"As curl"</summary>
                <p class="small muted">
                    "With a token whose " <code>"cap"</code> " gives " <code>"subscribe"</code> " on " <code>"$debug:*"</code>
                    ", signed by a key that may hand that on."
                </p>
                <Snippet text=snippets::debug_stream(&here.url) what="curl command"/>
            </details>
        </div>
    }
}

/// What the URL narrows the list to, tracked.
fn narrowed() -> Memo<Narrowed> {
    let (kinds, channel, user, connection) = (chosen("kind"), chosen("channel"), chosen("user"), chosen("connection"));
    Memo::new(move |_| Narrowed {
        kinds: kinds.get().split(',').filter(|kind| !kind.is_empty()).map(Into::into).collect(),
        channel: channel.get(),
        user: user.get(),
        connection: connection.get(),
    })
}

/// One switch for each kind of event; none chosen shows all.
#[component]
fn Kinds(path: String, narrowed: Memo<Narrowed>) -> impl IntoView {
    let path = StoredValue::new(path);
    let link = move |kind: &'static str| {
        let is_on = Memo::new(move |_| narrowed.with(|narrowed| narrowed.kinds.iter().any(|known| known == kind)));
        let href = move || {
            let other = narrowed.with(|narrowed| narrowed.switched(kind));
            path.with_value(|path| other.url(path, ""))
        };
        view! {
            <li>
                <a class="chip" href=href aria-current=move || is_on.get().then_some("true")>{kind}</a>
            </li>
        }
    };
    let links: Vec<_> = Happened::KINDS.map(link).into_iter().collect();
    view! { <nav aria-label="Kinds of events"><ul class="chip-list">{links}</ul></nav> }
}

/// Stops and goes on.
#[component]
fn Pause(paused: RwSignal<Option<Memory>>, memory: RwSignal<Memory>, missed: Memo<Option<usize>>) -> impl IntoView {
    let act = move |_| match paused.with_untracked(Option::is_some) {
        true => paused.set(None),
        false => paused.set(Some(memory.get_untracked())),
    };
    let word = move || match missed.get() {
        None => "Pause".to_owned(),
        Some(0) => "Go on".to_owned(),
        #[expect(clippy::cast_precision_loss, reason = "the page keeps two thousand")]
        Some(missed) => format!("Go on, {} new", format::exact(missed as f64)),
    };
    view! {
        <button class="button" type="button" aria-pressed=move || missed.get().is_some().to_string() on:click=act>
            {word}
        </button>
        <button
            class="button"
            type="button"
            on:click=move |_| {
                paused.set(None);
                memory.update(Memory::clear);
            }
        >
            "Clear"
        </button>
    }
}

fn refused(listening: &Listening) -> Option<impl IntoView + use<>> {
    match listening {
        Listening::Refused(problem) => Some(view! {
            <p class="note note-bad" role="alert">{format!("The app's events are refused: {}", problem.detail)}</p>
        }),
        Listening::Waiting | Listening::On(_) => None,
    }
}

/// More happened than is told, or kept here.
#[component]
fn Dropped(shown: Memo<Memory>) -> impl IntoView {
    let words = move || {
        let (dropped, let_go) = shown.with(|shown| (shown.dropped, shown.let_go));
        #[expect(clippy::cast_precision_loss, reason = "shown to people")]
        let of = |number: u64| format::counted(number as f64, "event");
        let dropped =
            (dropped > 0).then(|| format!("{} more happened than a thousand a second, and are not told.", of(dropped)));
        let let_go = (let_go > 0).then(|| format!("This page keeps the last {KEPT}; {} are gone.", of(let_go)));
        let all: Vec<String> = dropped.into_iter().chain(let_go).collect();
        (!all.is_empty()).then(|| all.join(" "))
    };
    view! { <div role="status">{move || words().map(|words| view! { <p class="note">{words}</p> })}</div> }
}

fn nothing(is_empty: bool, url: &str) -> AnyView {
    match is_empty {
        true => {
            let snippet = snippets::curl(url, None, "demo:hello");
            view! {
                <div class="card">
                    <Empty shape=Shape::TERMINAL title="Nothing has happened yet">
                        <p>"Events are made while somebody watches, and kept for five minutes. This makes one:"</p>
                        <Snippet text=snippet what="curl command"/>
                    </Empty>
                </div>
            }
            .into_any()
        }
        false => view! {
            <div class="card">
                <Empty shape=Shape::TERMINAL title="Nothing that matches">
                    <p>"What comes and matches shows here by itself."</p>
                </Empty>
            </div>
        }
        .into_any(),
    }
}

/// What happened, in words.
fn words(event: &DebugEvent) -> String {
    match &event.what {
        Happened::Connected { transport, resumed: true, .. } => format!("came back by {transport}"),
        Happened::Connected { transport, .. } => format!("connected by {transport}"),
        Happened::Disconnected { reason, .. } => match reason.as_str() {
            "client" => "said goodbye".to_owned(),
            "lost" => "was lost without a word".to_owned(),
            code => format!("was closed: {code}"),
        },
        Happened::Subscribed { .. } => "subscribed".to_owned(),
        Happened::Unsubscribed { reason: Some(code), .. } => format!("was unsubscribed: {code}"),
        Happened::Unsubscribed { .. } => "unsubscribed".to_owned(),
        Happened::Published { seq, bytes, name, duplicate, .. } => {
            #[expect(clippy::cast_precision_loss, reason = "shown to people")]
            let (number, bytes) = (format::exact(*seq as f64), format::bytes(*bytes as f64));
            let name = name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
            format!("published{name}, number {number}, {bytes}{}", if *duplicate { ", a duplicate" } else { "" })
        }
        Happened::Refused(refused) => {
            let operation = refused.operation.as_ref().map_or_else(String::new, |operation| format!("{operation}: "));
            format!("{operation}{}", refused.detail)
        }
    }
}
