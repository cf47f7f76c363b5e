//! The settings as a table, the defaults last.

use fanfare_api::settings::ChannelSettingsView;
use fanfare_core::settings::Durability;
use fanfare_core::{ChannelSettings, SlowPolicy};
use leptos::prelude::*;

use super::Act;
use crate::components::icon::{Icon, Shape};
use crate::components::states::Empty;
use crate::format;

/// The patterns in the order of the document, and what holds everywhere else.
#[component]
pub(super) fn SettingsTable(found: ChannelSettingsView, may_edit: bool, act: RwSignal<Option<Act>>) -> impl IntoView {
    let none = found.settings.is_empty();
    let own = found.settings.into_iter().enumerate();
    let rows: Vec<_> = own
        .map(|(at, one)| view! { <Row one=one at=Some(at) may_edit=may_edit act=act/> })
        .chain([view! { <Row one=found.defaults at=None may_edit=false act=act/> }])
        .collect();
    view! {
        <div class="card table-wrap">
            {none.then(|| view! {
                <Empty shape=Shape::SLIDERS title="The defaults hold everywhere">
                    <p>"They work unasked. Add settings where channels need more history, or where only the newest value counts: the pattern "<code>"prices:**"</code>" that conflates, say."</p>
                </Empty>
            })}
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Channels"</th>
                        <th scope="col" role="columnheader">"History"</th>
                        <th scope="col" role="columnheader">"Slow subscribers"</th>
                        <th scope="col" role="columnheader">"Bounds"</th>
                        <th scope="col" role="columnheader">"Switches"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Actions"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup">{rows}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(one: ChannelSettings, at: Option<usize>, may_edit: bool, act: RwSignal<Option<Act>>) -> impl IntoView {
    let pattern = one.pattern.to_string();
    let name = match at {
        Some(_) => view! { <code>{pattern.clone()}</code> }.into_any(),
        None => view! { "Everything else "<span class="badge">"defaults"</span> }.into_any(),
    };
    let switches = [("presence", one.presence), ("echo", one.echo), ("compression", one.compression)];
    let switches: Vec<_> = switches
        .into_iter()
        .map(|(name, on)| {
            let (class, word) = if on { ("badge badge-good", "on") } else { ("badge", "off") };
            view! { <li class=class>{format!("{name} {word}")}</li> }
        })
        .collect();
    let replicated = (one.durability == Durability::Replicated).then(|| {
        view! { <li class="badge badge-good" title=meaning(one.durability)>"replicated"</li> }
    });
    view! {
        <tr role="row">
            <td role="cell" data-label="Channels">{name}</td>
            <td role="cell" data-label="History"><span class="small">{history(&one)}</span></td>
            <td role="cell" data-label="Slow subscribers">{policy(one.slow)}</td>
            <td role="cell" data-label="Bounds"><span class="small">{bounds(&one)}</span></td>
            <td role="cell" data-label="Switches"><ul class="chip-list">{replicated}{switches}</ul></td>
            <td role="cell" class="table-actions" data-label="">
                {at.filter(|_| may_edit).map(|at| view! {
                    <span class="row-end row-tight">
                        <button class="button button-small" type="button" on:click=move |_| act.set(Some(Act::Edit(at)))>
                            "Change"<span class="visually-hidden">" "{pattern.clone()}</span>
                        </button>
                        <button
                            class="icon-button"
                            type="button"
                            aria-label=format!("Remove the settings of {pattern}")
                            title="Remove"
                            on:click=move |_| act.set(Some(Act::Remove(at)))
                        >
                            <Icon shape=Shape::TRASH/>
                        </button>
                    </span>
                })}
            </td>
        </tr>
    }
}

pub(crate) fn history(one: &ChannelSettings) -> String {
    if !one.history.is_kept() {
        return "nothing is kept".to_owned();
    }
    let count = f64::from(one.history.messages);
    #[expect(clippy::cast_precision_loss, reason = "settings stop at 2^53")]
    let (span, bytes) = (format::span(one.history.ttl_ms as f64), format::bytes(one.history.bytes as f64));
    format!("{span}, {}, {bytes}", format::counted(count, "message"))
}

pub(crate) fn bounds(one: &ChannelSettings) -> String {
    #[expect(clippy::cast_precision_loss, reason = "settings stop at 2^53")]
    let (bytes, rate) = (
        one.message_bytes.map(|bytes| format!("messages up to {}", format::bytes(bytes as f64))),
        one.publish_rate
            .map(|rate| format!("{}/s, {} at once", format::exact(rate.max as f64), format::exact(rate.burst as f64))),
    );
    let own: Vec<String> = bytes.into_iter().chain(rate).collect();
    if own.is_empty() { "the app's limits".to_owned() } else { own.join("; ") }
}

/// The policy, with what it means.
fn policy(slow: SlowPolicy) -> impl IntoView {
    let word = slow.as_str().replace('_', " ");
    view! { <span class="badge" title=about(slow)>{word}</span> }
}

/// What an acknowledgement means, in a sentence.
pub(crate) const fn meaning(durability: Durability) -> &'static str {
    match durability {
        Durability::Memory => "In the memory of one machine: quickest.",
        Durability::Replicated => {
            "On a second machine too, or refused as not_replicated: needs history, and a Redis with a replica."
        }
    }
}

/// What a policy does, in a sentence.
pub(crate) const fn about(slow: SlowPolicy) -> &'static str {
    match slow {
        SlowPolicy::Recover => "Falls behind and reads on from history: every message counts.",
        SlowPolicy::Conflate => {
            "Keeps only the latest message with each key of those that wait: the newest value counts."
        }
        SlowPolicy::DropOldest => "Lets the oldest go and tells the client how many: late is worthless.",
        SlowPolicy::Disconnect => "Closes the connection with slow_consumer; the client comes back from its position.",
    }
}
