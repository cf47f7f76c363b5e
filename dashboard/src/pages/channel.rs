//! One channel: who is on it, what it keeps, how fast it goes, and what settings it has.

mod delete;
mod history;
mod members;
mod settings;

use std::time::Duration;

use fanfare_api::data::ChannelDetail;
use fanfare_core::{ChannelName, Role};
use leptos::prelude::*;
use leptos_router::components::A;

use super::not_found::Missing;
use crate::api::{Inspector, Member};
use crate::components::filters::chosen;
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::snippet::{CopyButton, Snippet};
use crate::session::Here;
use crate::{browser, format, snippets};
use delete::DeleteHistory;
use history::HistoryPart;
use members::Members;
use settings::Applied;

/// How often it is looked at again.
const AGAIN_EVERY: Duration = Duration::from_secs(2);
/// Over how long its rate is told.
const RATE_MS: f64 = 10_000.0;

/// The page.
#[component]
pub(crate) fn Channel(here: Here) -> impl IntoView {
    let name = chosen("name");
    move || match ChannelName::parse(&name.get()) {
        Ok(name) => view! { <One here=here.clone() name=name/> }.into_any(),
        Err(_) => view! { <Missing/> }.into_any(),
    }
}

#[component]
fn One(here: Here, name: ChannelName) -> impl IntoView {
    let inspector = Inspector::new(expect_context::<Member>(), &here);
    let (app, may_edit) = (here.app.id, here.may_edit());
    let asked = name.clone();
    let load = Load::new(move || inspector.channel(&asked));
    if let Ok(timer) = set_interval_with_handle(move || load.again(), AGAIN_EVERY) {
        on_cleanup(move || timer.clear());
    }
    // What is shown is made anew with each look; what was seen before outlives it.
    let seen = StoredValue::new(Seen::new());
    let top = Memo::new(move |_| load.get().map(|detail| detail.position));
    let deleting = RwSignal::new(false);
    let deleted = RwSignal::new(0_u32);
    let done = Callback::new(move |()| {
        deleting.set(false);
        deleted.update(|times| *times += 1);
        load.again();
    });
    let connections = browser::with_query(&format!("/apps/{app}/connections"), &[("channel", name.as_str())]);
    let place = format!("/channels/{}", browser::encoded(name.as_str()).replace("%3A", ":"));
    let curl = format!(
        "{}\n{}\n{}\n\n{}",
        snippets::get(&here.url, &place),
        snippets::get(&here.url, &format!("{place}/presence")),
        snippets::get(&here.url, &format!("{place}/messages?limit=50")),
        snippets::delete(&here.url, &format!("{place}/messages")),
    );
    view! {
        <PageHead title="Channel" about="As its node sees it, looked at again every two seconds.">
            <A href=format!("/apps/{app}/channels") attr:class="button">"All channels"</A>
            <A href=connections attr:class="button">"Connections"</A>
            {may_edit.then(|| view! {
                <button class="button button-danger" type="button" on:click=move |_| deleting.set(true)>
                    "Delete history"
                </button>
            })}
        </PageHead>
        <div class="stack">
            <p class="row">
                <code class="channel-name">{name.to_string()}</code>
                <CopyButton text=name.to_string() what="channel" icon=true/>
            </p>
            {move || load.error().filter(|_| load.get().is_some()).map(|error| view! {
                <p class="note" role="status">{format!("Nothing new is heard: {}", error.detail())}</p>
            })}
            {load.show("Seeing channels", move |detail| view! { <Figures detail=detail seen=seen/> })}
            <div class="halves">
                <Members inspector=inspector app=app name=name.clone()/>
                <Applied app=app name=name.clone()/>
            </div>
            <HistoryPart inspector=inspector name=name.clone() top=top deleted=deleted/>
            {(!may_edit).then(|| view! {
                <p class="muted small">
                    {format!("Deleting history needs the role {} or above.", Role::Developer.as_str())}
                </p>
            })}
            <details class="card card-pad">
                <summary>"As curl"</summary>
                <Snippet text=curl what="curl commands"/>
            </details>
        </div>
        <DeleteHistory inspector=inspector name=name open=deleting load=load on_done=done/>
    }
}

/// The newest number of a position, and its log.
fn parted(position: &str) -> Option<(&str, u64)> {
    let (lineage, seq) = position.rsplit_once('.')?;
    Some((lineage, seq.parse().ok()?))
}

/// Numbers as they were seen: `(when, log, newest)`.
type Seen = Vec<(f64, String, u64)>;

/// Notes a number, and says how many a second were published lately; nothing before two of them were seen.
fn rate(seen: &mut Seen, now_ms: f64, position: &str) -> Option<f64> {
    let (lineage, seq) = parted(position)?;
    seen.retain(|(at, of, _)| now_ms - at <= RATE_MS && of == lineage);
    seen.push((now_ms, lineage.to_owned(), seq));
    let (first_ms, _, first) = seen.first()?;
    let span_s = (now_ms - first_ms) / 1_000.0;
    #[expect(clippy::cast_precision_loss, reason = "differences of seconds are small")]
    (span_s >= 1.0).then(|| seq.saturating_sub(*first) as f64 / span_s)
}

#[component]
fn Figures(detail: ChannelDetail, seen: StoredValue<Seen>) -> impl IntoView {
    let speed = seen.try_update_value(|seen| rate(seen, browser::now_ms(), &detail.position)).flatten();
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let stats = [("Subscriptions", detail.subscribers as f64), ("Messages kept", detail.messages as f64)];
    let stats: Vec<_> = stats
        .into_iter()
        .map(|(name, number)| {
            view! {
                <div class="stat">
                    <dt>{name}</dt>
                    <dd class="figure" title=format::exact(number)>{format::short(number)}</dd>
                </div>
            }
        })
        .collect();
    let speed = speed.map_or_else(|| "–".to_owned(), |speed| format::short((speed * 10.0).round() / 10.0));
    view! {
        <dl class="card stats stats-four">
            {stats}
            <div class="stat">
                <dt>"Published, last 10 s"</dt>
                <dd class="figure">{speed}<small>" /s"</small></dd>
            </div>
            <div class="stat">
                <dt>"Newest message"</dt>
                <dd class="row row-tight">
                    <code class="clip">{detail.position.clone()}</code>
                    <CopyButton text=detail.position what="position" icon=true/>
                </dd>
            </div>
        </dl>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_of_one_log_and_of_the_last_seconds() {
        let mut seen = Vec::new();
        assert_eq!(rate(&mut seen, 0.0, "a.10"), None);
        assert_eq!(rate(&mut seen, 2_000.0, "a.30"), Some(10.0));
        assert_eq!(rate(&mut seen, 12_000.0, "a.30"), Some(0.0), "the first look is too old to count");
        assert_eq!(rate(&mut seen, 14_000.0, "b.2"), None, "another log counts anew");
        assert_eq!(rate(&mut seen, 15_000.0, "nonsense"), None);
    }
}
