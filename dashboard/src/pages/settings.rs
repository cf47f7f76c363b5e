//! Channel settings of an app, by pattern: each is saved when its form is, and nobody overwrites another unseen.

mod fields;
mod form;
mod remove;
mod table;

use fanfare_api::settings::{ChannelSettingsView, ReplaceChannelSettings};
use fanfare_core::{ChannelSettings, Role};
use leptos::prelude::*;

use crate::api::Member;
use crate::components::dialog::{Dialog, open_about};
use crate::components::icon::{Icon, Shape};
use crate::components::load::Load;
use crate::components::page_head::PageHead;
use crate::components::snippet::AsCurl;
use crate::session::Here;
use crate::snippets;
use form::SettingForm;
use remove::RemoveForm;
use table::SettingsTable;

pub(super) use table::{about, bounds, history, meaning};

/// What a dialog of the page is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Act {
    /// Settings for another pattern.
    Add,
    /// Those at this place.
    Edit(usize),
    /// Take those at this place out.
    Remove(usize),
}

/// The page.
#[component]
pub(crate) fn Settings(here: Here) -> impl IntoView {
    let member = expect_context::<Member>();
    let app = here.app.id;
    let load = Load::new(move || member.channel_settings(app));
    let act = RwSignal::new(None::<Act>);
    let may_edit = here.may_edit();
    view! {
        <PageHead
            title="Settings"
            about="How channels behave, by pattern. The most specific pattern that covers a channel counts, whole. Changes reach live subscriptions within a second."
        >
            {may_edit.then(|| view! {
                <button class="button button-primary" type="button" on:click=move |_| act.set(Some(Act::Add))>
                    <Icon shape=Shape::PLUS/>
                    "Add settings"
                </button>
            })}
        </PageHead>
        {load.show("Seeing channel settings", move |found| {
            let command = snippets::put_settings(&format!("/api/v1/apps/{app}/channel-settings"), &found);
            view! {
                <div class="stack">
                    <SettingsTable found=found may_edit=may_edit act=act/>
                    <AsCurl text=command/>
                </div>
            }
        })}
        {(!may_edit).then(|| view! {
            <p class="muted small">
                {format!("Changing settings needs the role {} or above.", Role::Developer.as_str())}
            </p>
        })}
        <ActDialog here=here act=act load=load/>
    }
}

/// The dialog about one pattern's settings.
#[component]
fn ActDialog(here: Here, act: RwSignal<Option<Act>>, load: Load<ChannelSettingsView>) -> impl IntoView {
    let acting = open_about(act);
    let title = Signal::derive(move || {
        let word = match act.get() {
            Some(Act::Edit(_)) => "Change settings",
            Some(Act::Remove(_)) => "Remove settings",
            Some(Act::Add) | None => "Add settings",
        };
        word.to_owned()
    });
    let close = Callback::new(move |()| act.set(None));
    let done = Callback::new(move |()| {
        act.set(None);
        load.again();
    });
    let app = here.app.id;
    view! {
        <Dialog open=acting title=title id="settings-action">
            {move || {
                let found = load.get()?;
                Some(match act.get()? {
                    Act::Add => view! { <SettingForm app=app found=found at=None on_done=done on_cancel=close/> }.into_any(),
                    Act::Edit(at) => {
                        view! { <SettingForm app=app found=found at=Some(at) on_done=done on_cancel=close/> }.into_any()
                    }
                    Act::Remove(at) => {
                        view! { <RemoveForm app=app found=found at=at on_done=done on_cancel=close/> }.into_any()
                    }
                })
            }}
        </Dialog>
    }
}

/// The document with the settings at this place replaced, added where there is none, or taken out.
pub(super) fn with(found: &ChannelSettingsView, at: usize, one: Option<ChannelSettings>) -> ReplaceChannelSettings {
    let mut settings = found.settings.clone();
    match one {
        Some(one) if at < settings.len() => settings[at] = one,
        Some(one) => settings.push(one),
        None => drop(settings.remove(at)),
    }
    ReplaceChannelSettings { settings }
}
