//! Every error and close code, from the one table.

use fanfare_core::ErrorCode;
use fanfare_core::codes::Retry;
use leptos::prelude::*;
use leptos_router::components::A;

use super::error_code::prose;
use crate::components::door::Door;
use crate::components::page_head::PageHead;

/// What a client should do after an error of this kind, in a heading and a sentence.
pub(crate) const fn advice(retry: Retry) -> (&'static str, &'static str) {
    match retry {
        Retry::Never => {
            ("Do not come back unchanged", "The same again fails again: something has to be corrected first.")
        }
        Retry::Backoff => {
            ("Back off", "Again later, waiting longer each time; `retry_after_ms` says how long where it is known.")
        }
        Retry::Now => ("Come back now", "Reconnect at once and resume from the last positions."),
        Retry::Token => ("Get a token and come back", "Again with a new token, or after signing in again."),
    }
}

/// The index.
#[component]
pub(crate) fn ErrorCodes() -> impl IntoView {
    let group = |retry: Retry, numbers: &'static str| {
        let (title, sentence) = advice(retry);
        let rows: Vec<_> = ErrorCode::ALL.iter().filter(|code| code.retry() == retry).copied().map(row).collect();
        view! {
            <section class="stack" aria-label=title>
                <div class="section-head">
                    <h2>{title}" "<span class="muted">{numbers}</span></h2>
                    <p class="small">{prose(sentence)}</p>
                </div>
                <div class="card table-wrap">
                    <table class="table">
                        <thead>
                            <tr>
                                <th scope="col">"Code"</th>
                                <th scope="col" class="number">"Closes with"</th>
                                <th scope="col" class="number">"HTTP"</th>
                            </tr>
                        </thead>
                        <tbody>{rows}</tbody>
                    </table>
                </div>
            </section>
        }
    };
    view! {
        <Door text=true>
            <PageHead
                title="Error codes"
                about="REST and sockets use the same codes. A closed connection carries the number; its hundred says what a client should do."
            />
            <div class="stack">
                {group(Retry::Never, "4000–4099")}
                {group(Retry::Backoff, "4100–4199")}
                {group(Retry::Now, "4200–4299")}
                {group(Retry::Token, "4400–4499")}
            </div>
        </Door>
    }
}

fn row(code: ErrorCode) -> impl IntoView {
    view! {
        <tr>
            <td>
                <A href=format!("/errors/{code}")><code>{code.as_str()}</code></A>
                <p class="small muted">{code.title()}</p>
            </td>
            <td class="number">{code.close()}</td>
            <td class="number">{code.status()}</td>
        </tr>
    }
}
