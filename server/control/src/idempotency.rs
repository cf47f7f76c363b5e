//! `Idempotency-Key`: a creating request that is sent again is answered again, and done once.
//!
//! Keys belong to the signed-in person and are kept for a day, with a hash of method, path and body: one key stands
//! for one request. Refusals are not kept, so that a corrected request may use the same key.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use fanfare_api::server::{BODY_BYTES_MAX, json_body, parse};
use fanfare_core::{ErrorCode, Problem};
use fanfare_store::{Begun, Idempotency, Keep, MemberStore, Reservation, StoreError, StoredAnswer};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use crate::error::ControlError;
use crate::state::Control;

/// The header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_BYTES_MAX: usize = 128;
const GIVE_BACK_AFTER: Duration = Duration::from_secs(1);
/// The last pause: all of them take about a minute.
const GIVE_BACK_PAUSE_MAX: Duration = Duration::from_secs(32);

/// A strict JSON body that may be sent again.
pub(crate) struct Repeatable<T> {
    /// What was asked.
    pub(crate) body: T,
    /// The right to create it once.
    pub(crate) once: Once,
}

/// Does a piece of work once for each `Idempotency-Key`; without one, each time.
pub(crate) struct Once {
    key: Option<String>,
    hash: [u8; 32],
}

impl<T: DeserializeOwned + Serialize> FromRequest<Control> for Repeatable<T> {
    type Rejection = ControlError;

    async fn from_request(request: Request, _control: &Control) -> Result<Self, ControlError> {
        let key = key(request.headers())?;
        let hash = Sha256::new().chain_update(request.method().as_str()).chain_update([0]);
        let hash = hash.chain_update(request.uri().path()).chain_update([0]);
        let bytes = json_body(request, BODY_BYTES_MAX).await?;
        let body = parse(&bytes)?;
        Ok(Self { body, once: Once { key, hash: hash.chain_update(&bytes).finalize().into() } })
    }
}

fn key(headers: &HeaderMap) -> Result<Option<String>, ControlError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    if second.is_some() || !(1..=KEY_BYTES_MAX).contains(&text.len()) {
        let detail = "`Idempotency-Key` is one text of 1 to 128 printable ASCII characters.";
        return Err(Problem::new(ErrorCode::InvalidRequest, detail).into());
    }
    Ok(Some(text.to_owned()))
}

impl Once {
    /// Does the work and answers 201 with a view of what it made, or answers what was answered before. The answer is kept
    /// in the transaction of the work, which is given what it takes for that.
    ///
    /// It goes on when the client goes away: whoever repeats the request finds it done.
    pub(crate) async fn create<M, V, W>(
        self,
        control: &Control,
        member: &MemberStore,
        view: impl Fn(&M) -> V + Clone + Send + Sync + 'static,
        work: impl FnOnce(Option<Keep<M>>) -> W + Send + 'static,
    ) -> Result<Response, ControlError>
    where
        M: Send + Sync + 'static,
        V: Serialize,
        W: Future<Output = Result<M, StoreError>> + Send + 'static,
    {
        let store = member.idempotency();
        let done = control.tasks().spawn(async move {
            let Some(key) = self.key else {
                return Ok(fresh(print(&view(&work(None).await?))?));
            };
            let reservation = match store.begin(&key, self.hash).await? {
                Begun::Replay(answer) => return Ok(replay(answer)),
                Begun::New(reservation) => reservation,
            };
            let printed = {
                let view = view.clone();
                move |made: &M| print(&view(made))
            };
            let keep = Keep::new(reservation.clone(), StatusCode::CREATED.as_u16(), printed);
            match work(Some(keep)).await {
                Ok(made) => Ok(fresh(print(&view(&made))?)),
                Err(error) => {
                    give_back(store, reservation);
                    Err(error.into())
                }
            }
        });
        done.await.map_err(|_| ControlError::Defect("the work of a creating request panicked"))?
    }
}

/// Lets a corrected request, or the same one later, use the key again. While Postgres is away that is tried for about as
/// long as the reservation lasts by itself.
#[expect(
    clippy::disallowed_methods,
    reason = "a back-off; the end of the server does not wait for it, for what is lost then ends by itself"
)]
fn give_back(store: Idempotency, reservation: Reservation) {
    tokio::spawn(async move {
        let mut pause = GIVE_BACK_AFTER;
        while let Err(error) = store.abandon(&reservation).await {
            if !error.is_temporary() || pause > GIVE_BACK_PAUSE_MAX {
                tracing::warn!(%error, "a reservation of an idempotency key was not given back");
                return;
            }
            sleep(pause).await;
            pause *= 2;
        }
    });
}

fn print<T: Serialize>(made: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(made).map_err(StoreError::NotPrintable)
}

fn fresh(body: Vec<u8>) -> Response {
    let json = HeaderValue::from_static("application/json");
    (StatusCode::CREATED, [(header::CONTENT_TYPE, json)], body).into_response()
}

fn replay(answer: StoredAnswer) -> Response {
    let mut response = fresh(answer.body);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::CREATED);
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_printable_text() {
        let with = |values: &[&'static str]| {
            let values = values.iter().map(|value| (IDEMPOTENCY_KEY, HeaderValue::from_static(value)));
            key(&values.collect())
        };
        assert!(matches!(with(&[]), Ok(None)));
        assert!(matches!(with(&["a-1"]), Ok(Some(key)) if key == "a-1"));
        for bad in [&[""][..], &["a", "b"], &["é"]] {
            let bad: Vec<_> =
                bad.iter().map(|value| (IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()))).collect();
            let bad: HeaderMap = bad.into_iter().map(|(name, value)| (name, value.expect("a header"))).collect();
            assert!(key(&bad).is_err(), "{bad:?}");
        }
        let long = HeaderMap::from_iter([(IDEMPOTENCY_KEY, HeaderValue::try_from("k".repeat(129)).expect("a header"))]);
        assert!(key(&long).is_err());
    }
}
