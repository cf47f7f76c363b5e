//! The first pane: a subscriber of this page.

use leptos::prelude::*;

use super::CHANNEL;
use crate::browser;
use crate::components::snippet::Snippet;
use crate::live::{Link, Listening, Live};
use crate::session::Here;

/// Says whether the page listens, where and since which position.
#[component]
pub(super) fn ListeningPane(here: Here, listening: ReadSignal<Listening>) -> impl IntoView {
    let live = expect_context::<Live>();
    let state = move || match (live.link(), listening.get()) {
        (Link::Live, Listening::On(_)) => ("badge badge-good", "dot", "Subscribed"),
        (Link::Refused(_), _) | (_, Listening::Refused(_)) => ("badge badge-bad", "dot dot-hollow", "Refused"),
        (Link::Reconnecting { .. }, _) => ("badge badge-warn", "dot dot-hollow", "Reconnecting"),
        (Link::Paused, _) => ("badge", "dot dot-bars", "Paused"),
        (Link::Connecting | Link::Live, _) => ("badge", "dot dot-hollow", "Connecting"),
    };
    let sentence = move || match (live.link(), listening.get()) {
        (Link::Live, Listening::On(_)) => {
            "A subscriber in this page is connected. Everything published from now on arrives here.".to_owned()
        }
        (Link::Refused(problem), _) | (_, Listening::Refused(problem)) => problem.detail,
        (Link::Reconnecting { since_ms, why }, _) => {
            format!("The line was lost at {}: {why}", browser::clock_time(since_ms))
        }
        (Link::Paused, _) => "The live link is paused. Resume it at the top of the page.".to_owned(),
        (Link::Connecting | Link::Live, _) => "The page is connecting.".to_owned(),
    };
    let position = move || match listening.get() {
        Listening::On(fence) => format!("{}.{}", fence.lineage, fence.seq),
        Listening::Waiting | Listening::Refused(_) => "–".to_owned(),
    };
    view! {
        <section class="card pane" aria-labelledby="listening-title">
            <div class="card-head">
                <h2 id="listening-title"><span class="pane-step" aria-hidden="true">"1"</span>"Listening"</h2>
                <span
                    class=move || state().0
                    role="status"
                >
                    <span class=move || state().1 aria-hidden="true"></span>{move || state().2}
                </span>
            </div>
            <div class="pane-body">
                <p>{sentence}</p>
                <dl class="facts facts-narrow small">
                    <dt>"Channel"</dt>
                    <dd><code>{CHANNEL}</code></dd>
                    <dt>"From"</dt>
                    <dd><code>{position}</code></dd>
                    <dt>"Protocol"</dt>
                    <dd><code>"fanfare.v1.json"</code></dd>
                </dl>
                <Snippet text=here.url.clone() what="app URL" wrap=true/>
                <p class="muted small">"The one address that clients and backends configure."</p>
            </div>
        </section>
    }
}
