//! The settings of one pattern, to be added or changed.

use fanfare_api::settings::ChannelSettingsView;
use fanfare_core::SlowPolicy;
use fanfare_core::id::AppId;
use fanfare_core::settings::Durability;
use leptos::prelude::*;

use super::fields::Fields;
use super::table::{about, meaning};
use super::with;
use crate::api::{ApiError, Member};
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::icon::{Icon, Shape};
use crate::components::states::FormError;

/// The inside of the dialog; `at` is the place of the settings that are changed.
#[component]
pub(super) fn SettingForm(
    app: AppId,
    found: ChannelSettingsView,
    at: Option<usize>,
    on_done: Callback<()>,
    on_cancel: Callback<()>,
) -> impl IntoView {
    let member = expect_context::<Member>();
    let attempt = Attempt::new();
    let place = at.unwrap_or(found.settings.len());
    let known = found.settings.get(place);
    let pattern = known.map(|one| one.pattern.to_string()).unwrap_or_default();
    let fields = Fields::of(known.unwrap_or(&found.defaults), pattern);
    let error = Signal::derive(move || {
        let below = format!("/settings/{place}");
        attempt.error.with(|error| error.as_ref().map(|error| error.below(&below)))
    });
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        match fields.read() {
            Ok(one) => {
                let (version, replace) = (found.version, with(&found, place, Some(one)));
                attempt.run(async move { member.replace_channel_settings(app, version, &replace).await }, move |_| {
                    on_done.run(())
                });
            }
            Err(wrong) => attempt.error.set(Some(wrong)),
        }
    };
    view! {
        <form class="form" on:submit=submit novalidate=true>
            <Field
                label="Channels"
                name="setting-pattern"
                value=fields.pattern
                pointer="/pattern"
                error=error
                focus=true
                help="room:9, room:* for one segment, room:** for one or more"
            />
            <HistoryFields fields=fields error=error/>
            <Choice
                label="Acknowledged once it is"
                name="setting-durability"
                all=Durability::ALL
                chosen=fields.durability
                word=Durability::as_str
                about=meaning
                pointer="/durability"
                error=error
            />
            <Choice
                label="Slow subscribers"
                name="setting-slow"
                all=SlowPolicy::ALL
                chosen=fields.slow
                word=SlowPolicy::as_str
                about=about
                pointer="/slow"
                error=error
            />
            <Bounds fields=fields error=error/>
            <Switches fields=fields/>
            <FormError error=attempt.error/>
            <div class="row-end">
                <button class="button" type="button" on:click=move |_| on_cancel.run(())>"Cancel"</button>
                <button class="button button-primary" type="submit" disabled=move || attempt.busy.get()>"Save settings"</button>
            </div>
        </form>
    }
}

#[component]
fn HistoryFields(fields: Fields, error: Signal<Option<ApiError>>) -> impl IntoView {
    view! {
        <fieldset class="field">
            <legend class="field-label legend-gap">"History: whatever bound is reached first trims, zeros keep nothing"</legend>
            <div class="form-thirds">
                <Field label="Seconds" name="setting-kept" value=fields.kept_s pointer="/history/ttl_ms" error=error/>
                <Field label="Messages" name="setting-messages" value=fields.messages pointer="/history/messages" error=error/>
                <Field label="Bytes" name="setting-bytes" value=fields.bytes pointer="/history/bytes" error=error/>
            </div>
        </fieldset>
    }
}

/// One of a few words, with what it means.
#[component]
fn Choice<T>(
    label: &'static str,
    name: &'static str,
    /// All of them.
    all: &'static [T],
    chosen: RwSignal<T>,
    word: fn(T) -> &'static str,
    about: fn(T) -> &'static str,
    /// Where the server's error about it would point to.
    pointer: &'static str,
    /// What the server said of the whole form.
    error: Signal<Option<ApiError>>,
) -> impl IntoView
where
    T: Copy + PartialEq + Send + Sync + 'static,
{
    let options: Vec<_> = all
        .iter()
        .map(|one| {
            let text = word(*one);
            view! { <option value=text selected=move || chosen.get() == *one>{text.replace('_', " ")}</option> }
        })
        .collect();
    let choose = move |text: String| {
        if let Some(one) = all.iter().find(|one| word(**one) == text) {
            chosen.set(*one);
        }
    };
    let wrong = move || error.get().and_then(|error| error.at(pointer));
    let (help, told) = (format!("{name}-help"), format!("{name}-error"));
    view! {
        <div class="field">
            <label class="field-label" for=name>{label}</label>
            <div class="input-group">
                <select
                    class="input"
                    id=name
                    aria-describedby=format!("{help} {told}")
                    aria-invalid=move || wrong().is_some().to_string()
                    on:change:target=move |event| choose(event.target().value())
                >
                    {options}
                </select>
                <Icon shape=Shape::CHEVRONS/>
            </div>
            <p class="field-help" id=help aria-live="polite" hidden=move || wrong().is_some()>
                {move || about(chosen.get())}
            </p>
            <p class="field-error" id=told aria-live="polite">{wrong}</p>
        </div>
    }
}

#[component]
fn Bounds(fields: Fields, error: Signal<Option<ApiError>>) -> impl IntoView {
    view! {
        <fieldset class="field">
            <legend class="field-label legend-gap">"Bounds: inside the app's limits; empty leaves those"</legend>
            <div class="form-thirds">
                <Field
                    label="Message bytes"
                    name="setting-message-bytes"
                    value=fields.message_bytes
                    pointer="/message_bytes"
                    error=error
                    optional=true
                />
                <Field
                    label="Per second"
                    name="setting-rate"
                    value=fields.rate
                    pointer="/publish_rate/max"
                    error=error
                    optional=true
                />
                <Field
                    label="At once"
                    name="setting-burst"
                    value=fields.burst
                    pointer="/publish_rate/burst"
                    error=error
                    optional=true
                />
            </div>
        </fieldset>
        <Field
            label="Message ids remembered, seconds"
            name="setting-idempotency"
            value=fields.idempotency_s
            pointer="/idempotency_ms"
            error=error
            help="How long a repeated publish with the same id is still one message; at most a day."
        />
    }
}

#[component]
fn Switches(fields: Fields) -> impl IntoView {
    let switch = |on: RwSignal<bool>, word: &'static str| {
        view! {
            <label>
                <input type="checkbox" prop:checked=move || on.get() on:change=move |_| on.update(|on| *on = !*on)/>
                {word}
            </label>
        }
    };
    view! {
        <fieldset class="field">
            <legend class="field-label">"Switches"</legend>
            <div class="check-row">
                {switch(fields.presence, "Presence")}
                {switch(fields.join_leave, "Subscribers hear who joins and leaves")}
                {switch(fields.occupancy, "Subscribers hear how many there are")}
                {switch(fields.echo, "Publishers receive their own messages")}
                {switch(fields.compression, "Compression")}
            </div>
        </fieldset>
    }
}
