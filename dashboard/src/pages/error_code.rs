//! The page of one error code: what you see, why, what to do.

use fanfare_core::{ErrorCode, Problem};
use leptos::prelude::*;
use leptos_router::components::A;
use leptos_router::hooks::use_params_map;

use super::error_codes::advice;
use super::not_found::Missing;
use crate::components::door::Door;
use crate::components::page_head::PageHead;
use crate::components::snippet::Snippet;

/// The page of the code that the path names.
#[component]
pub(crate) fn ErrorCodePage() -> impl IntoView {
    let params = use_params_map();
    let code =
        Memo::new(move |_| params.with(|params| params.get("code")).and_then(|slug| ErrorCode::from_slug(&slug)));
    move || {
        let inside = match code.get() {
            Some(code) => view! { <OneCode code=code/> }.into_any(),
            None => view! { <Missing/> }.into_any(),
        };
        view! { <Door text=true>{inside}</Door> }
    }
}

#[component]
fn OneCode(code: ErrorCode) -> impl IntoView {
    let (heading, sentence) = advice(code.retry());
    view! {
        <nav
            class="small"
            aria-label="Breadcrumb"
        >
            <A href="/errors">"Error codes"</A>" / "<code>{code.as_str()}</code>
        </nav>
        <PageHead title=code.title()/>
        <div class="stack">
            <div class="card card-pad">
                <dl class="facts">
                    <dt>"Code"</dt>
                    <dd><code>{code.as_str()}</code></dd>
                    <dt>"HTTP status"</dt>
                    <dd>{code.status()}</dd>
                    <dt>"Closes with"</dt>
                    <dd>{code.close()}</dd>
                    <dt>"A client should"</dt>
                    <dd><strong>{heading.to_lowercase()}</strong>". "<span class="muted">{prose(sentence)}</span></dd>
                </dl>
            </div>
            <section><h2>"What you see"</h2><p>{prose(code.see())}</p></section>
            <section><h2>"Why"</h2><p>{prose(code.why())}</p></section>
            <section><h2>"What to do"</h2><p>{prose(code.todo())}</p></section>
            <section class="stack">
                <h2>"How it reads"</h2>
                <Snippet text=example(code) what="example" wrap=true/>
            </section>
        </div>
    }
}

/// Text of the table, in which code stands between backticks.
pub(super) fn prose(text: &'static str) -> impl IntoView {
    let part = |(index, part): (usize, &'static str)| match index % 2 {
        0 => part.into_any(),
        _ => view! { <code>{part}</code> }.into_any(),
    };
    text.split('`').enumerate().map(part).collect::<Vec<_>>()
}

/// The error as a socket sends it.
fn example(code: ErrorCode) -> String {
    let problem = serde_json::to_string_pretty(&Problem::of(code)).expect("a problem prints as JSON");
    format!("{{\"id\": 7, \"error\": {problem}}}")
}
