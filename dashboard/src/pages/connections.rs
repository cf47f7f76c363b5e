//! Who is connected: those that came first at the top, narrowed by user and by channel.

mod disconnect;
mod table;

use fanfare_api::manage::ConnectionView;
use fanfare_core::Role;
use leptos::prelude::*;

use crate::api::{Inspector, Member};
use crate::browser;
use crate::components::filters::{Filter, Filters, chosen};
use crate::components::icon::Shape;
use crate::components::page_head::PageHead;
use crate::components::paged::Paged;
use crate::components::snippet::Snippet;
use crate::components::states::Empty;
use crate::session::{Here, SessionHandle};
use crate::snippets;
use disconnect::DisconnectAll;
use table::ConnectionTable;

pub(super) use disconnect::Disconnect;

const FILTERS: &[Filter] = &[Filter { name: "user", label: "User" }, Filter { name: "channel", label: "Channel" }];

/// The page.
#[component]
pub(crate) fn Connections(here: Here) -> impl IntoView {
    let inspector = Inspector::new(expect_context::<Member>(), &here);
    let (user, channel) = (chosen("user"), chosen("channel"));
    let list = Paged::new(
        |one: &ConnectionView| one.id.to_string(),
        move |after| inspector.connections(&user.get(), &channel.get(), after.as_deref()),
    );
    let me = untrack(|| expect_context::<SessionHandle>().view()).map(|view| view.user.id.to_string());
    let (app, may_edit) = (here.app.id, here.may_edit());
    let (url, narrowed) = (here.url.clone(), here.url.clone());
    let command = Signal::derive(move || {
        let query =
            [("user", &*user.get()), ("channel", &*channel.get())].map(|(name, value)| (name, value.to_owned()));
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        snippets::get(&narrowed, &browser::with_query("/connections", &query))
    });
    let is_narrowed = Memo::new(move |_| !user.get().is_empty() || !channel.get().is_empty());
    let path = format!("/apps/{app}/connections");
    let back = path.clone();
    view! {
        <PageHead title="Connections" about="Who is connected, and what each connection is doing. The newest are at the end.">
            <button class="button" type="button" on:click=move |_| list.again()>"Refresh"</button>
            {may_edit.then(|| view! { <DisconnectAll inspector=inspector list=list user=user channel=channel/> })}
        </PageHead>
        <div class="stack">
            <Filters filters=FILTERS path=path/>
            {list.show(
                "Seeing connections",
                move || {
                    if is_narrowed.get() { view! { <NoMatch back=back.clone()/> }.into_any() } else { nobody(&url) }
                },
                move |items| view! { <ConnectionTable app=app items=items me=me.clone()/> },
            )}
            {list.foot("Load newer", "Nobody came since")}
            {(!may_edit).then(|| view! {
                <p class="muted small">
                    {format!("Disconnecting needs the role {} or above.", Role::Developer.as_str())}
                </p>
            })}
            <details class="card card-pad">
                <summary>"As curl"</summary>
                <Snippet text=command what="curl command"/>
            </details>
        </div>
    }
}

fn nobody(url: &str) -> AnyView {
    let snippet = snippets::websocat_of(url);
    view! {
        <div class="card">
            <Empty shape=Shape::PLUG title="Nobody is connected">
                <p>"A connection shows here as soon as a client connects. This one works as it stands:"</p>
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
            <Empty shape=Shape::PLUG title="No connection matches">
                <p>"A user's connections are those with a token of exactly this " <code>"sub"</code> "; a channel's are
                those that are subscribed to it."</p>
                <a class="button" href=back>"Show all"</a>
            </Empty>
        </div>
    }
}
