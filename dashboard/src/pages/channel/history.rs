//! What a channel keeps, the newest first, a page at a time.

use fanfare_api::data::MessageView;
use fanfare_core::ChannelName;
use leptos::prelude::*;

use super::parted;
use crate::api::Inspector;
use crate::components::icon::Shape;
use crate::components::paged::Paged;
use crate::components::snippet::CopyButton;
use crate::components::states::Empty;
use crate::components::time::Ago;
use crate::format;

/// The kept messages.
#[component]
pub(super) fn HistoryPart(
    inspector: Inspector,
    name: ChannelName,
    /// Where the newest message stands now.
    top: Memo<Option<String>>,
    /// Grows when the history was deleted.
    deleted: RwSignal<u32>,
) -> impl IntoView {
    let list = Paged::new(
        |one: &MessageView| one.position.clone(),
        move |from| {
            deleted.track();
            inspector.history(&name, from.as_deref())
        },
    );
    let items = list.items();
    let newer = Memo::new(move |_| {
        let top = top.get()?;
        let (lineage, now) = parted(&top)?;
        let shown = items.with(|items| {
            let newest = items.first()?;
            let (of, _) = parted(&newest.position)?;
            (of == lineage).then_some(newest.seq)
        });
        Some(now.saturating_sub(shown.unwrap_or(0))).filter(|newer| *newer > 0 && (shown.is_some() || now > 0))
    });
    view! {
        <section class="stack" aria-labelledby="channel-history">
            <div class="section-head">
                <h2 id="channel-history">"History"</h2>
                <span role="status">
                    {move || newer.get().map(|newer| view! {
                        <button class="button button-small" type="button" on:click=move |_| list.again()>
                            {load_newer(newer)}
                        </button>
                    })}
                </span>
            </div>
            {list.show("Reading history", empty, move |items| view! { <Messages items=items/> })}
            <Show when=move || list.has_more()>{list.foot("Load older", "That is all that is kept")}</Show>
        </section>
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn load_newer(newer: u64) -> String {
    format!("Load {}", format::counted(newer as f64, "newer message"))
}

fn empty() -> AnyView {
    view! {
        <div class="card">
            <Empty shape=Shape::INBOX title="Nothing is kept">
                <p>"Nothing was published, or what was is no longer kept: the settings say how long."</p>
            </Empty>
        </div>
    }
    .into_any()
}

#[component]
fn Messages(items: Signal<Vec<MessageView>>) -> impl IntoView {
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader" class="number">"No."</th>
                        <th scope="col" role="columnheader">"When"</th>
                        <th scope="col" role="columnheader">"Name"</th>
                        <th scope="col" role="columnheader">"By"</th>
                        <th scope="col" role="columnheader">"Data"</th>
                        <th scope="col" role="columnheader">"Id"</th>
                    </tr>
                </thead>
                <tbody role="rowgroup">
                    <For each=move || items.get() key=|one| (one.position.clone(), one.deleted) let:one>
                        <Row one=one/>
                    </For>
                </tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(one: MessageView) -> impl IntoView {
    let data = match one.deleted {
        true => view! { <span class="badge">"deleted"</span> }.into_any(),
        false => data_of(&one),
    };
    let id = one.id.clone();
    let short = id.chars().take(14).collect::<String>();
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let number = format::exact(one.seq as f64);
    let by = one.publisher.clone().map_or_else(
        || view! { <span class="muted">"backend"</span> }.into_any(),
        |user| view! { <span>{user}</span> }.into_any(),
    );
    view! {
        <tr role="row">
            <td role="cell" data-label="No." class="number"><span title=one.position.clone()>{number}</span></td>
            <td role="cell" data-label="When"><Ago at=one.time/></td>
            <td role="cell" data-label="Name">{one.name.clone().map(|name| view! { <code>{name}</code> })}</td>
            <td role="cell" data-label="By">{by}</td>
            <td role="cell" data-label="Data">{data}</td>
            <td role="cell" data-label="Id">
                <span class="row row-tight">
                    <code title=id.clone()>{short}</code><CopyButton text=id what="message id" icon=true/>
                </span>
            </td>
        </tr>
    }
}

/// The payload in a line, and whole when it is opened.
fn data_of(one: &MessageView) -> AnyView {
    const LINE: usize = 60;
    let line = one.data.to_string();
    let mut extras = Vec::new();
    if one.encoding.is_some() {
        extras.push("base64".to_owned());
    }
    extras.extend(one.key.as_ref().map(|key| format!("key {key}")));
    extras.extend(one.headers.iter().flatten().map(|(name, value)| format!("{name}: {value}")));
    let extras: Vec<_> = extras.into_iter().map(|text| view! { <span class="badge">{text}</span> }).collect();
    if line.chars().count() <= LINE {
        return view! { <span class="row"><code>{line}</code>{extras}</span> }.into_any();
    }
    let head: String = line.chars().take(LINE).collect();
    let whole = serde_json::to_string_pretty(&one.data).unwrap_or(line);
    view! {
        <details class="payload">
            <summary><code>{head}"…"</code></summary>
            <pre tabindex="0" role="group" aria-label="Data"><code>{whole}</code></pre>
        </details>
        <span class="row">{extras}</span>
    }
    .into_any()
}
