//! Which channels are in use, and the way to any other.

use fanfare_api::data::ChannelView;
use fanfare_core::ChannelName;
use fanfare_core::id::AppId;
use leptos::prelude::*;
use leptos_router::NavigateOptions;
use leptos_router::components::A;
use leptos_router::hooks::use_navigate;

use crate::api::{Inspector, Member};
use crate::components::filters::{Filter, Filters, chosen};
use crate::components::icon::Shape;
use crate::components::page_head::PageHead;
use crate::components::paged::Paged;
use crate::components::rows;
use crate::components::snippet::{CopyButton, Snippet};
use crate::components::states::Empty;
use crate::session::Here;
use crate::{browser, format, snippets};

const FILTERS: &[Filter] = &[Filter { name: "prefix", label: "Name begins with" }];

/// The page of one channel.
pub(super) fn href(app: AppId, channel: &str) -> String {
    browser::with_query(&format!("/apps/{app}/channels/one"), &[("name", channel)])
}

/// The page.
#[component]
pub(crate) fn Channels(here: Here) -> impl IntoView {
    let inspector = Inspector::new(expect_context::<Member>(), &here);
    let prefix = chosen("prefix");
    let list = Paged::new(
        |one: &ChannelView| one.name.to_string(),
        move |after| inspector.channels(&prefix.get(), after.as_deref()),
    );
    let app = here.app.id;
    let (url, narrowed) = (here.url.clone(), here.url.clone());
    let command = Signal::derive(move || {
        snippets::get(&narrowed, &browser::with_query("/channels", &[("prefix", &prefix.get())]))
    });
    let path = format!("/apps/{app}/channels");
    let back = path.clone();
    view! {
        <PageHead title="Channels" about="Channels that somebody is subscribed to, by name.">
            <button class="button" type="button" on:click=move |_| list.again()>"Refresh"</button>
        </PageHead>
        <div class="stack">
            <div class="row row-apart">
                <Filters filters=FILTERS path=path/>
                <GoTo app=app/>
            </div>
            {list.show(
                "Seeing channels",
                move || match prefix.get().is_empty() {
                    true => none_in_use(&url),
                    false => view! { <NoMatch back=back.clone()/> }.into_any(),
                },
                move |items| view! { <Table app=app items=items/> },
            )}
            {list.foot("Load more", "That is all")}
            <details class="card card-pad">
                <summary>"As curl"</summary>
                <Snippet text=command what="curl command"/>
            </details>
        </div>
    }
}

/// Opens a channel that nobody may be subscribed to.
#[component]
fn GoTo(app: AppId) -> impl IntoView {
    let name = RwSignal::new(String::new());
    let wrong = RwSignal::new(None::<String>);
    let go = use_navigate();
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match ChannelName::parse(name.get_untracked().trim()) {
            Ok(name) => go(&href(app, name.as_str()), NavigateOptions::default()),
            Err(why) => wrong.set(Some(format::sentence(&why.to_string()))),
        }
    };
    view! {
        <form class="filter-row" aria-label="Open a channel" on:submit=submit>
            <div class="filter">
                <label class="field-label" for="open-channel">"Open a channel by its name"</label>
                <input
                    class="input input-small"
                    id="open-channel"
                    type="text"
                    autocomplete="off"
                    spellcheck="false"
                    aria-describedby="open-channel-error"
                    aria-invalid=move || wrong.with(Option::is_some).to_string()
                    prop:value=move || name.get()
                    on:input:target=move |event| { name.set(event.target().value()); wrong.set(None); }
                />
                <p class="field-error" id="open-channel-error" aria-live="polite">{move || wrong.get()}</p>
            </div>
            <button class="button" type="submit">"Open"</button>
        </form>
    }
}

#[component]
fn Table(app: AppId, items: Signal<Vec<ChannelView>>) -> impl IntoView {
    view! {
        <div class="card table-wrap">
            <table class="table table-cards" role="table">
                <thead role="rowgroup">
                    <tr role="row">
                        <th scope="col" role="columnheader">"Channel"</th>
                        <th scope="col" role="columnheader" class="number">"Subscriptions"</th>
                        <th scope="col" role="columnheader"><span class="visually-hidden">"Connections"</span></th>
                    </tr>
                </thead>
                <tbody role="rowgroup" on:keydown=|event| rows::step(&event, "row-link")>
                    <For each=move || items.get() key=|one| (one.name.clone(), one.subscribers) let:one>
                        <Row app=app one=one/>
                    </For>
                </tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(app: AppId, one: ChannelView) -> impl IntoView {
    let name = one.name.to_string();
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    let count = one.subscribers as f64;
    let connections = browser::with_query(&format!("/apps/{app}/connections"), &[("channel", &name)]);
    let (shown, copied) = (name.clone(), name.clone());
    view! {
        <tr role="row">
            <td role="cell" data-label="Channel">
                <span class="row row-tight">
                    <A href=href(app, &name) attr:class="row-link"><code>{shown}</code></A>
                    <CopyButton text=copied what="channel" icon=true/>
                </span>
            </td>
            <td role="cell" data-label="Subscriptions" class="number">
                <span title=format::exact(count)>{format::short(count)}</span>
            </td>
            <td role="cell" data-label="" class="table-actions">
                <A href=connections attr:class="button button-small">
                    "Connections"<span class="visually-hidden">" on "{name}</span>
                </A>
            </td>
        </tr>
    }
}

fn none_in_use(url: &str) -> AnyView {
    let snippet = snippets::websocat_of(url);
    view! {
        <div class="card">
            <Empty shape=Shape::HASH title="No channel is in use">
                <p>"A channel exists while somebody is subscribed to it or its history lives; nobody has to make one. This subscribes to one:"</p>
                <Snippet text=snippet what="websocat"/>
            </Empty>
        </div>
    }
    .into_any()
}

#[component]
fn NoMatch(back: String) -> impl IntoView {
    view! {
        <div class="card">
            <Empty shape=Shape::HASH title="No channel in use begins so">
                <p>"Channels without subscribers are not listed, even where they keep history: open one by its name."</p>
                <a class="button" href=back>"Show all"</a>
            </Empty>
        </div>
    }
}
