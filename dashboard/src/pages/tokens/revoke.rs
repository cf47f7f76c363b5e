//! Taking tokens back before their time: one by its id, those of a user, those with a label, those of a key, or all.

use fanfare_api::manage::{RevocationCreated, RevokeRequest};
use fanfare_core::Operation;
use leptos::prelude::*;

use super::Bench;
use super::at_hand::KeyAtHand;
use super::revoked::Revoked;
use crate::api::ApiError;
use crate::components::attempt::Attempt;
use crate::components::field::Field;
use crate::components::icon::{Icon, Shape};
use crate::components::reading::Reading;
use crate::components::snippet::AsCurl;
use crate::components::states::FormError;
use crate::figures::Figures;
use crate::{format, snippets};

/// Which tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Token,
    User,
    Label,
    Key,
    All,
}

impl Which {
    const ALL: [Self; 5] = [Self::Token, Self::User, Self::Label, Self::Key, Self::All];

    const fn word(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::User => "user",
            Self::Label => "label",
            Self::Key => "key",
            Self::All => "all",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Token => "The one with this id (jti)",
            Self::User => "Those of a user",
            Self::Label => "Those with a label",
            Self::Key => "Those that a key signed",
            Self::All => "All of the app",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Token => "Its own id, as its claim jti says.",
            Self::User => "The sub of their tokens.",
            Self::Label => "As it stands in ff.labels.",
            Self::Key => "key_…",
            Self::All => "Type all to confirm: every client has to get another token.",
        }
    }

    /// The request, or what is wrong with what is typed.
    fn request(self, typed: &str) -> Result<RevokeRequest, ApiError> {
        let typed = typed.trim();
        let mut reading = Reading::new();
        let text = reading.at("/value", if typed.is_empty() { Err("say which") } else { Ok(typed.to_owned()) });
        let request = match (self, text) {
            (_, None) => None,
            (Self::Token, text) => Some(RevokeRequest { token: text, ..RevokeRequest::default() }),
            (Self::User, text) => Some(RevokeRequest { user: text, ..RevokeRequest::default() }),
            (Self::Label, text) => Some(RevokeRequest { label: text, ..RevokeRequest::default() }),
            (Self::Key, _) => reading
                .at("/value", typed.parse())
                .map(|key| RevokeRequest { key: Some(key), ..RevokeRequest::default() }),
            (Self::All, _) => reading
                .at("/value", if typed == "all" { Ok(()) } else { Err("type all to confirm") })
                .map(|()| RevokeRequest { all: Some(true), ..RevokeRequest::default() }),
        };
        request.ok_or_else(|| reading.error())
    }
}

/// The part of the page.
#[component]
pub(super) fn Revoke(bench: Bench) -> impl IntoView {
    let attempt = Attempt::new();
    let (which, typed) = (RwSignal::new(Which::Token), RwSignal::new(String::new()));
    let done = RwSignal::new(None::<RevocationCreated>);
    let round = RwSignal::new(0_u32);
    let submit = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        done.set(None);
        match (which.get_untracked().request(&typed.get_untracked()), untrack(|| bench.backend())) {
            (Ok(request), Some(backend)) => {
                attempt.run(async move { backend.revoke(&request).await }, move |made| {
                    typed.set(String::new());
                    done.set(Some(made));
                    round.update(|round| *round += 1);
                });
            }
            (Err(wrong), _) => attempt.error.set(Some(wrong)),
            (Ok(_), None) => {}
        }
    };
    let url = bench.url();
    let command = Signal::derive(move || match which.get().request(&typed.get()) {
        Ok(request) => {
            let body = serde_json::to_string(&request).expect("requests print");
            format!("curl -u \"$FANFARE_KEY\" --json {} \\\n  \"{url}/revocations\"", snippets::quoted(&body))
        }
        Err(wrong) => format!("# {}", wrong.detail()),
    });
    view! {
        <div class="stack">
            <div class="halves">
                <form class="card card-pad form" on:submit=submit novalidate=true>
                    <h2>"Refuse tokens from now on"</h2>
                    <Choice which=which/>
                    <Field
                        label="Which"
                        name="revoke-value"
                        value=typed
                        pointer="/value"
                        error=attempt.error
                        help=Signal::derive(move || which.get().help().to_owned())
                    />
                    <Closes/>
                    <FormError error=attempt.error/>
                    {move || done.get().map(|done| view! { <Done done=done/> })}
                    <div class="row-end">
                        <button
                            class="button button-danger-solid"
                            type="submit"
                            disabled=move || bench.key().is_none() || attempt.busy.get()
                        >
                            "Revoke tokens"
                        </button>
                    </div>
                    <AsCurl text=command plain=true/>
                </form>
                <section class="card card-pad stack" aria-label="Key that revokes">
                    <h2>"Revoked with"</h2>
                    <KeyAtHand bench=bench needs=Operation::Manage id="revoke-key"/>
                </section>
            </div>
            <Revoked bench=bench round=round/>
        </div>
    }
}

#[component]
fn Choice(which: RwSignal<Which>) -> impl IntoView {
    let options: Vec<_> =
        Which::ALL.into_iter().map(|one| view! { <option value=one.word()>{one.title()}</option> }).collect();
    let choose = move |word: String| {
        which.set(Which::ALL.into_iter().find(|one| one.word() == word).unwrap_or(Which::Token));
    };
    view! {
        <div class="field">
            <label class="field-label" for="revoke-which">"Tokens"</label>
            <div class="input-group">
                <select class="input" id="revoke-which" on:change:target=move |event| choose(event.target().value())>
                    {options}
                </select>
                <Icon shape=Shape::CHEVRONS/>
            </div>
        </div>
    }
}

/// What will happen.
#[component]
fn Closes() -> impl IntoView {
    let figures = expect_context::<Figures>();
    let open = move || figures.samples.with(|samples| samples.last().map(|sample| sample.connections));
    view! {
        <ul class="bullets small">
            <li>"Tokens issued until now are refused; one that is signed later works."</li>
            <li>
                "Connections made with them are closed, usually within a second."
                {move || open().map(|count| format!(" The app has {} open now.", format::counted(count, "connection")))}
            </li>
        </ul>
    }
}

#[component]
fn Done(done: RevocationCreated) -> impl IntoView {
    let reach = done.reach;
    let text = format!(
        "Revoked. {} being closed, on {} of {}.",
        match reach.connections {
            1 => "1 connection is".to_owned(),
            count => format!("{} are", format::counted(count as f64, "connection")),
        },
        reach.nodes.applied,
        format::counted(f64::from(reach.nodes.known), "node")
    );
    view! { <p class="note note-good" role="status" data-testid="revoked"><Icon shape=Shape::DONE/><span>{text}</span></p> }
}
