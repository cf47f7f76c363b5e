//! The third pane: the message, its milliseconds, and the four steps it took.

use leptos::prelude::*;

use super::{CHANNEL, Sent, Shown, Stage};
use crate::components::icon::{Icon, Shape};
use crate::live::{Listening, Travel};
use crate::{browser, format};

/// Waits for a message, then shows it and those before it.
#[component]
pub(super) fn ReceivedPane(stage: Stage, listening: ReadSignal<Listening>) -> impl IntoView {
    let lineage = move || match listening.get() {
        Listening::On(fence) => fence.lineage,
        Listening::Waiting | Listening::Refused(_) => "…".to_owned(),
    };
    let newest =
        Memo::new(move |_| stage.shown.with(|shown| shown.first().map(|shown| shown.arrival.message.id.clone())));
    let older = move || stage.shown.with(|shown| shown.iter().skip(1).map(row).collect::<Vec<_>>());
    view! {
        <section class="card pane" aria-labelledby="received-title">
            <div class="card-head">
                <h2 id="received-title"><span class="pane-step" aria-hidden="true">"3"</span>"Received"</h2>
            </div>
            <div class="pane-body" aria-live="polite" data-testid="received">
                <Show when=move || newest.with(Option::is_none)>
                    <div class="pane-wait">
                        <Icon shape=Shape::RADIO/>
                        <p>"Waiting for a message on "<code>{CHANNEL}</code></p>
                    </div>
                </Show>
                // Keyed, so that each message slides in anew.
                <For each=move || newest.get() key=Clone::clone let(_id)>
                    <Newest stage=stage lineage=Signal::derive(lineage)/>
                </For>
                <Show when=move || stage.shown.with(|shown| shown.len() > 1)>
                    <ol class="arrivals" aria-label="Earlier messages">{older}</ol>
                </Show>
            </div>
        </section>
    }
}

#[component]
fn Newest(stage: Stage, lineage: Signal<String>) -> impl IntoView {
    let shown = Memo::new(move |_| stage.shown.with(|shown| shown.first().cloned()));
    let sent = Memo::new(move |_| {
        let sent = stage.sent.get()?;
        shown.with(|shown| shown.as_ref().is_some_and(|shown| shown.arrival.message.id == sent.id)).then_some(sent)
    });
    move || {
        shown.get().map(|shown| {
            let (figure, about) = headline(&shown, sent.get().as_ref());
            let message = shown.arrival.message.clone();
            let name = message.name.clone().unwrap_or_else(|| "message".to_owned());
            let steps: Vec<_> = steps(&shown, sent.get().as_ref(), &lineage.get())
                .into_iter()
                .map(|(step, when)| {
                    view! {
                        <li class="step"><span>{step}</span><span class="muted number">{when}</span></li>
                    }
                })
                .collect();
            view! {
                <div class="arrival">
                    <div>
                        <p class="arrival-time">{figure}<small>" ms"</small></p>
                        <p class="muted small">{about}</p>
                    </div>
                    <div class="snippet snippet-wrap"><pre><code>{name}" "{message.data.to_string()}</code></pre></div>
                    <ol class="steps" aria-label="The steps it took">{steps}</ol>
                </div>
            }
        })
    }
}

/// The one number, and what it measures.
fn headline(shown: &Shown, sent: Option<&Sent>) -> (String, &'static str) {
    match (sent, shown.arrival.travel) {
        (Some(sent), _) => {
            (format::millis(shown.arrival.at_ms - sent.at_ms), "from your click to this page, over the gateway")
        }
        (None, Some(travel)) => (span(travel), "from the gateway's log to this page"),
        (None, None) => ("–".to_owned(), "the clocks were not compared yet"),
    }
}

/// As much as the clocks can tell.
fn span(travel: Travel) -> String {
    if travel.ms < travel.doubt_ms {
        format!("< {}", format::millis(travel.ms + travel.doubt_ms))
    } else {
        format::millis(travel.ms)
    }
}

/// Published, appended, delivered, shown.
fn steps(shown: &Shown, sent: Option<&Sent>, lineage: &str) -> [(String, String); 4] {
    let arrival = &shown.arrival;
    let message = &arrival.message;
    // Everything is told from the first moment that is known: the click, or the append.
    let appended_ms = arrival.travel.map(|travel| arrival.at_ms - travel.ms);
    let start_ms = sent.map(|sent| sent.at_ms).or(appended_ms);
    let since = |moment: Option<f64>| match (moment, start_ms) {
        (Some(moment), Some(start)) => format!("{} ms", format::millis((moment - start).max(0.0))),
        (None, _) | (_, None) => "–".to_owned(),
    };
    let publisher = match (&message.publisher, sent) {
        (_, Some(_)) => "Published by this page".to_owned(),
        (Some(user), None) => format!("Published by {user}"),
        (None, None) => "Published by a backend".to_owned(),
    };
    let published = if sent.is_some() { "0 ms".to_owned() } else { browser::clock_time(message.time) };
    let (logged, delivered) = match (sent, arrival.travel) {
        (None, Some(travel)) => ("0 ms".to_owned(), format!("{} ms", span(travel))),
        (Some(_), _) | (None, None) => (since(appended_ms), since(Some(arrival.at_ms))),
    };
    [
        (publisher, published),
        (format!("Logged at {lineage}.{}", message.seq), logged),
        ("Delivered to this page".to_owned(), delivered),
        ("Shown on the screen".to_owned(), since(shown.painted_ms)),
    ]
}

fn row(shown: &Shown) -> impl IntoView + use<> {
    let message = &shown.arrival.message;
    view! {
        <li>
            <code>{message.name.clone()}" "{message.data.to_string()}</code>
            <span class="muted">{browser::clock_time(shown.arrival.at_ms)}</span>
        </li>
    }
}
