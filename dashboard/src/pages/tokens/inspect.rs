//! Looking into a token: what it says as it stands, what each check says, and what the data plane says of it.

use fanfare_api::SecretText;
use fanfare_api::data::{InspectTokenResponse, TokenClient};
use fanfare_core::Operation;
use leptos::prelude::*;
use serde_json::Value;

use super::Bench;
use super::at_hand::KeyAtHand;
use super::checks::{Against, Check, Verdict, checks};
use crate::browser;
use crate::components::attempt::Attempt;
use crate::components::capabilities::in_words;
use crate::components::icon::{Icon, Shape};
use crate::components::snippet::{AsCurl, Snippet};
use crate::components::states::{Empty, FormError};
use crate::components::text_area::TextArea;
use crate::components::time::Until;
use crate::jwt::Jwt;

/// The part of the page.
#[component]
pub(super) fn Inspect(bench: Bench) -> impl IntoView {
    let attempt = Attempt::new();
    // What was said, and of which text.
    let said = RwSignal::new(None::<(String, InspectTokenResponse)>);
    let text = Memo::new(move |_| bench.token.with(|token| token.trim().to_owned()));
    let read = Memo::new(move |_| text.with(|text| (!text.is_empty()).then(|| Jwt::read(text))));
    let ask = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let (asked, backend) = (text.get_untracked(), untrack(|| bench.backend()));
        if let Some(backend) = backend.filter(|_| !asked.is_empty()) {
            let token = SecretText::new(asked.clone());
            attempt.run(async move { backend.inspect(token).await }, move |answer| said.set(Some((asked, answer))));
        }
    };
    let current = move || said.get().filter(|(of, _)| text.with(|text| text == of)).map(|(_, answer)| answer);
    // The command reads the token from a variable: nobody's history should hold one.
    let command = format!(
        "curl -u \"$FANFARE_KEY\" --json \"{{\\\"token\\\":\\\"$TOKEN\\\"}}\" \\\n  \"{}/tokens/inspect\"",
        bench.url()
    );
    view! {
        <div class="halves">
            <div class="stack">
                <form class="card card-pad form" on:submit=ask novalidate=true>
                    <h2>"A token"</h2>
                    <TextArea
                        label="Token"
                        name="inspect-token"
                        value=bench.token
                        rows=6
                        help="It is read in this page. To judge its signature, it is sent to the data plane in the body of a request; nothing keeps or logs it."
                    />
                    <FormError error=attempt.error/>
                    <div class="row-end">
                        <button class="button" type="button" on:click=move |_| bench.token.set(String::new())>"Clear"</button>
                        <button
                            class="button button-primary"
                            type="submit"
                            disabled=move || bench.key().is_none() || read.with(Option::is_none) || attempt.busy.get()
                        >
                            "Judge it"
                        </button>
                    </div>
                    <AsCurl text=command plain=true/>
                </form>
                <section class="card card-pad stack" aria-label="Key that asks">
                    <h2>"Judged with"</h2>
                    <KeyAtHand bench=bench needs=Operation::Sign id="inspect-key"/>
                </section>
            </div>
            {move || match read.get() {
                None => view! { <Nothing/> }.into_any(),
                Some(Err(why)) => view! {
                    <div class="card card-pad"><p class="note note-bad" role="status">{format!("This is no token. {why}")}</p></div>
                }
                .into_any(),
                Some(Ok(token)) => view! { <Reading bench=bench token=token answer=Signal::derive(current)/> }.into_any(),
            }}
        </div>
    }
}

#[component]
fn Nothing() -> impl IntoView {
    view! {
        <div class="card">
            <Empty shape=Shape::TICKET title="Paste a token">
                <p>"What it says is shown at once, with what is wrong with it; a key that may sign has it judged as a connection would be."</p>
            </Empty>
        </div>
    }
}

#[component]
fn Reading(bench: Bench, token: Jwt, answer: Signal<Option<InspectTokenResponse>>) -> impl IntoView {
    let found = bench.keys.with_value(|keys| {
        bench.issuers.with_value(|issuers| {
            checks(&token, Against { app: bench.app(), keys, issuers, now_ms: browser::now_ms() })
        })
    });
    let rows: Vec<_> = found.into_iter().map(|check| view! { <Row check=check/> }).collect();
    let pretty = |map: &serde_json::Map<String, Value>| serde_json::to_string_pretty(map).expect("tokens print");
    view! {
        <div class="card">
            <div class="card-pad stack">
                {move || answer.get().map(|answer| view! { <Judged answer=answer/> })}
                <div class="table-wrap">
                    <table class="table table-cards" role="table" aria-label="Checks">
                        <thead role="rowgroup">
                            <tr role="row">
                                <th scope="col" role="columnheader">"Check"</th>
                                <th scope="col" role="columnheader">"Says"</th>
                                <th scope="col" role="columnheader">"Why"</th>
                            </tr>
                        </thead>
                        <tbody role="rowgroup">
                            {rows}
                            {move || view! { <Row check=signature(answer.get())/> }}
                        </tbody>
                    </table>
                </div>
                <Snippet text=pretty(&token.header) what="header"/>
                <Snippet text=pretty(&token.claims) what="claims"/>
            </div>
        </div>
    }
}

/// The check that only the data plane can make.
fn signature(answer: Option<InspectTokenResponse>) -> Check {
    let what = "Signature and the rest";
    match answer {
        None => Check { what, verdict: Verdict::Open, why: "Not judged yet: only the data plane can.".to_owned() },
        Some(InspectTokenResponse { problem: Some(problem), .. }) => {
            Check { what, verdict: Verdict::Bad, why: format!("{}: {}", problem.code.as_str(), problem.detail) }
        }
        Some(_) => Check { what, verdict: Verdict::Good, why: "It holds, and is not revoked.".to_owned() },
    }
}

#[component]
fn Row(check: Check) -> impl IntoView {
    let (class, word) = match check.verdict {
        Verdict::Good => ("badge badge-good", "Holds"),
        Verdict::Open => ("badge", "Open"),
        Verdict::Bad => ("badge badge-bad", "Wrong"),
    };
    view! {
        <tr role="row">
            <td role="cell" data-label="Check">{check.what}</td>
            <td role="cell" data-label="Says"><span class=class>{word}</span></td>
            <td role="cell" data-label="Why"><span class="small">{check.why}</span></td>
        </tr>
    }
}

/// What the data plane says.
#[component]
fn Judged(answer: InspectTokenResponse) -> impl IntoView {
    let (class, shape) = if answer.valid { ("note note-good", Shape::DONE) } else { ("note note-bad", Shape::ALERT) };
    let code = answer.problem.as_ref().map(|problem| problem.code);
    let word = match &answer.problem {
        None => "A connection with it would be let in now.".to_owned(),
        Some(problem) => format!("A connection with it would be refused. {}", problem.detail),
    };
    view! {
        <p class=class role="status" data-testid="judged">
            <Icon shape=shape/>
            <span>
                {word}
                {code.map(|code| view! { " " <a href=format!("/errors/{code}")>"What this means"</a> })}
            </span>
        </p>
        {answer.client.map(|client| view! { <Client client=client/> })}
    }
}

#[component]
fn Client(client: TokenClient) -> impl IntoView {
    let may = client.cap.as_ref().map_or_else(|| "what the access rules allow".to_owned(), in_words);
    let roles = if client.roles.is_empty() { "none".to_owned() } else { client.roles.join(", ") };
    view! {
        <dl class="facts">
            <dt>"User"</dt>
            <dd>{client.sub.unwrap_or_else(|| "anonymous".to_owned())}</dd>
            <dt>"Roles"</dt>
            <dd>{roles}</dd>
            <dt>"May"</dt>
            <dd>{may}</dd>
            <dt>"At most"</dt>
            <dd>{in_words(&client.ceiling)}</dd>
            <dt>"Ends"</dt>
            <dd><Until at=client.expires_at/></dd>
            <dt>"Signed by"</dt>
            <dd><code>{client.signer}</code></dd>
        </dl>
    }
}
