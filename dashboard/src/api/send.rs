//! One HTTP call: what goes with every request, and how answers are read.

use fanfare_api::ProblemDocument;
use gloo_net::http::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Answer, ApiError, Health};
use crate::browser;

/// A call before it is sent.
pub(super) struct Call {
    path: String,
    method: Method,
    body: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Call {
    /// Reads.
    pub(super) fn get(path: impl Into<String>) -> Self {
        Self { path: path.into(), method: Method::GET, body: None, headers: Vec::new() }
    }

    /// Does.
    pub(super) fn post(path: impl Into<String>) -> Self {
        Self { method: Method::POST, ..Self::get(path) }
    }

    /// Changes a part.
    pub(super) fn patch(path: impl Into<String>) -> Self {
        Self { method: Method::PATCH, ..Self::get(path) }
    }

    /// Replaces the whole.
    pub(super) fn put(path: impl Into<String>) -> Self {
        Self { method: Method::PUT, ..Self::get(path) }
    }

    /// Takes away.
    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// Sends this body.
    pub(super) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_string(body).expect("request types print as JSON"));
        self
    }

    /// Adds a header.
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Makes something new: the server makes it once, however often the call arrives.
    pub(super) fn creates(self) -> Self {
        self.header("Idempotency-Key", browser::unique())
    }

    /// Changes a document only if it is still at this version.
    pub(super) fn at_version(self, version: u64) -> Self {
        self.header("If-Match", format!("\"v{version}\""))
    }
}

/// Sends a call to the control plane and reads its answer.
pub(super) async fn send<T: DeserializeOwned>(health: Health, call: Call) -> Answer<T> {
    let call = if call.method == Method::GET { call } else { call.header("X-Fanfare-CSRF", "1") };
    let answer = exchange(call).await;
    health.note(answer.as_ref().err());
    answer
}

/// Sends a call anywhere.
pub(super) async fn exchange<T: DeserializeOwned>(call: Call) -> Answer<T> {
    let mut request = RequestBuilder::new(&call.path).method(call.method).header("Accept", "application/json");
    for (name, value) in &call.headers {
        request = request.header(name, value);
    }
    let response = match call.body {
        Some(body) => {
            request.header("Content-Type", "application/json").body(body).map_err(|_| ApiError::Unreachable)?
        }
        None => request.build().map_err(|_| ApiError::Unreachable)?,
    }
    .send()
    .await
    .map_err(|_| ApiError::Unreachable)?;
    read(response).await
}

async fn read<T: DeserializeOwned>(response: Response) -> Answer<T> {
    let status = response.status();
    let text = response.text().await.map_err(|_| ApiError::Unreachable)?;
    if response.ok() {
        // An answer without a body, such as signing out, reads as null.
        let text = if text.is_empty() { "null" } else { &text };
        return serde_json::from_str(text).map_err(|_| ApiError::Unreadable { status });
    }
    Err(match serde_json::from_str::<ProblemDocument>(&text) {
        Ok(problem) => ApiError::Problem(Box::new(problem)),
        Err(_) => ApiError::Unreadable { status },
    })
}
