//! The keys of an issuer: which they are, when they were fetched, what went wrong, and what that means for its tokens.

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_api::issuer::{IssuerView, JwksView};
use leptos::prelude::*;

use crate::browser;
use crate::components::capabilities::in_words;
use crate::components::snippet::{CopyButton, Snippet};
use crate::components::time::Ago;

/// How long keys serve after they were fetched.
const SERVE_FOR: TimeDelta = TimeDelta::hours(24);

/// How the keys of an issuer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It has one key of its own.
    Given,
    /// Nobody has tried to fetch them yet.
    Waiting,
    /// They were fetched, and none of them can verify a token.
    Useless,
    /// They were fetched.
    Good,
    /// Fetching fails; what was fetched before still serves.
    Serving,
    /// Fetching fails, and nothing serves.
    Down,
}

impl Standing {
    fn of(issuer: &IssuerView, now: DateTime<Utc>) -> Self {
        let Some(JwksView { attempted_at, fetched_at, error, keys, .. }) = &issuer.jwks else { return Self::Given };
        match (attempted_at, fetched_at, error) {
            (None, ..) => Self::Waiting,
            (_, Some(at), Some(_)) if *at + SERVE_FOR > now && !keys.is_empty() => Self::Serving,
            (_, _, Some(_)) | (_, None, None) => Self::Down,
            (_, Some(_), None) if keys.is_empty() => Self::Useless,
            (_, Some(_), None) => Self::Good,
        }
    }

    const fn badge(self) -> (&'static str, &'static str) {
        match self {
            Self::Given => ("badge badge-good", "Own key"),
            Self::Waiting => ("badge", "Not fetched yet"),
            Self::Useless => ("badge badge-bad", "No usable key"),
            Self::Good => ("badge badge-good", "Fetched"),
            Self::Serving => ("badge badge-warn", "Fetching fails"),
            Self::Down => ("badge badge-bad", "Not available"),
        }
    }

    const fn means(self) -> &'static str {
        match self {
            Self::Given => "Tokens are verified with the key of the record.",
            Self::Waiting => {
                "A node fetches them within seconds. Until then its tokens are answered with issuer_unavailable."
            }
            Self::Useless => "What is at the URL holds no key that can verify its tokens: they are refused.",
            Self::Good => {
                "They are fetched again every five to ten minutes, and when a token names a key that is not there."
            }
            Self::Serving => {
                "What was fetched before serves on for 24 hours. It is tried again within one to eight minutes."
            }
            Self::Down => {
                "Its tokens are answered with issuer_unavailable. It is tried again within one to eight minutes."
            }
        }
    }
}

fn standing(issuer: &IssuerView) -> Standing {
    let now = DateTime::from_timestamp_millis(browser::now_ms() as i64).unwrap_or_default();
    Standing::of(issuer, now)
}

/// The state in a cell of the table.
#[component]
pub(super) fn KeyState(issuer: IssuerView) -> impl IntoView {
    let standing = standing(&issuer);
    let (class, word) = standing.badge();
    let algorithms = issuer.algorithms.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ");
    let about = match (&issuer.jwks, standing) {
        (Some(jwks), Standing::Good) => crate::format::counted(jwks.keys.len() as f64, "key"),
        _ => algorithms,
    };
    let fetched = issuer.jwks.and_then(|jwks| jwks.fetched_at).map(|at| view! { ", "<Ago at=at/> });
    view! {
        <span class="row">
            <span class=class title=standing.means()><span class="dot" aria-hidden="true"></span>{word}</span>
            <span class="small muted">{about}{fetched}</span>
        </span>
    }
}

/// All that is known of an issuer, in a dialog.
#[component]
pub(super) fn Details(issuer: IssuerView) -> impl IntoView {
    let standing = standing(&issuer);
    let (class, word) = standing.badge();
    let claims = serde_json::to_string_pretty(&issuer.claims).expect("claim maps print");
    let id = issuer.id.to_string();
    let key = issuer.key.as_ref().map(|key| serde_json::to_string_pretty(key).expect("keys print"));
    view! {
        <div class="stack">
            <dl class="facts">
                <dt>"Id"</dt>
                <dd><span class="row row-tight"><code>{id.clone()}</code><CopyButton text=id what="issuer id" icon=true/></span></dd>
                <dt>"iss"</dt>
                <dd><code>{issuer.iss.clone()}</code></dd>
                <dt>"aud"</dt>
                <dd>
                    {match issuer.aud.clone() {
                        Some(aud) => view! { <code>{aud}</code> }.into_any(),
                        None => view! { <span class="muted">"none, or the app’s id"</span> }.into_any(),
                    }}
                </dd>
                <dt>"At most"</dt>
                <dd>{in_words(&issuer.ceiling)}</dd>
                <dt>"Keys"</dt>
                <dd><span class=class><span class="dot" aria-hidden="true"></span>{word}</span></dd>
                {issuer.jwks.clone().map(|jwks| view! { <Fetching jwks=jwks/> })}
            </dl>
            <p class="muted small">{standing.means()}</p>
            {issuer.jwks.filter(|jwks| !jwks.keys.is_empty()).map(|jwks| view! { <Found jwks=jwks/> })}
            {key.map(|key| view! { <Snippet text=key what="public key"/> })}
            <Snippet text=claims what="claim map"/>
        </div>
    }
}

#[component]
fn Fetching(jwks: JwksView) -> impl IntoView {
    let when = |at: Option<DateTime<Utc>>| match at {
        Some(at) => view! { <Ago at=at/> }.into_any(),
        None => view! { <span class="muted">"never"</span> }.into_any(),
    };
    view! {
        <dt>"URL"</dt>
        <dd><code>{jwks.url}</code></dd>
        <dt>"Tried"</dt>
        <dd>{when(jwks.attempted_at)}</dd>
        <dt>"Fetched"</dt>
        <dd>{when(jwks.fetched_at)}</dd>
        {jwks.error.map(|error| view! { <dt>"Went wrong"</dt><dd class="bad">{error}</dd> })}
    }
}

#[component]
fn Found(jwks: JwksView) -> impl IntoView {
    let rows: Vec<_> = jwks
        .keys
        .into_iter()
        .map(|key| view! { <tr><td><code>{key.kid}</code></td><td>{key.algorithm.as_str()}</td></tr> })
        .collect();
    view! {
        <div class="card table-wrap figures" tabindex="0" role="group" aria-label="Keys that were found">
            <table class="table">
                <thead><tr><th scope="col">"Key id"</th><th scope="col">"Algorithm"</th></tr></thead>
                <tbody>{rows}</tbody>
            </table>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_fetch_is_no_outage_for_a_day() {
        let issuer = |jwks: &str| -> IssuerView {
            let text = format!(
                r#"{{"id":"iss_01JD0000000000000000000000","name":"a","iss":"b","algorithms":["ES256"],"ceiling":{{}},
                    "claims":{{}},"enabled":true,"created_at":"2026-01-01T00:00:00Z","version":1,"jwks":{{"url":"https://x.y",{jwks}}}}}"#
            );
            serde_json::from_str(&text).expect("reads")
        };
        let key = r#""keys":[{"kid":"k","algorithm":"ES256"}]"#;
        let tried = r#""attempted_at":"2026-01-02T00:00:00Z","#;
        let fetched = r#""fetched_at":"2026-01-01T00:10:00Z","#;
        let wrong = r#""error":"no answer","#;
        let now = DateTime::from_timestamp(1_767_312_000, 0).expect("a time"); // 2026-01-02T00:00:00Z
        for (jwks, expected) in [
            (r#""keys":[]"#.to_owned(), Standing::Waiting),
            (format!("{tried}{fetched}{key}"), Standing::Good),
            (format!(r#"{tried}{fetched}"keys":[]"#), Standing::Useless),
            (format!("{tried}{fetched}{wrong}{key}"), Standing::Serving),
            (format!(r#"{tried}{wrong}"keys":[]"#), Standing::Down),
        ] {
            assert_eq!(Standing::of(&issuer(&jwks), now), expected, "{jwks}");
        }
        let late = now + TimeDelta::minutes(11);
        assert_eq!(Standing::of(&issuer(&format!("{tried}{fetched}{wrong}{key}")), late), Standing::Down);
    }
}
