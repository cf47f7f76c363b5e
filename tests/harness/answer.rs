//! What a REST call was answered, read whole.

use anyhow::{Context, Result, ensure};
use reqwest::header::HeaderMap;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::TIMEOUT;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body if it is JSON, else its text as a JSON string; null when there is none.
    pub body: Value,
    request: String,
}

impl Answer {
    /// Sends a request and reads the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn to(request: RequestBuilder) -> Result<Self> {
        let (client, request) = request.timeout(TIMEOUT).build_split();
        let request = request?;
        let said = format!("{} {}", request.method(), request.url());
        let response = client.execute(request).await.with_context(|| said.clone())?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await?;
        let body =
            serde_json::from_str(&text).unwrap_or(if text.is_empty() { Value::Null } else { Value::String(text) });
        Ok(Self { status, headers, body, request: said })
    }

    /// The body of a success.
    ///
    /// # Errors
    /// When it was none.
    pub fn ok(self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "{}: {} {}", self.request, self.status, self.body);
        Ok(self.body)
    }

    /// The body of a success as a type.
    ///
    /// # Errors
    /// When it was none, or is of another shape.
    pub fn parse<T: DeserializeOwned>(self) -> Result<T> {
        let request = self.request.clone();
        serde_json::from_value(self.ok()?).context(request)
    }

    /// The code of a refusal: its problem document's, with the status that belongs to it.
    ///
    /// # Errors
    /// When it was no refusal, or not a proper one.
    pub fn refusal(&self) -> Result<String> {
        ensure!(self.status >= 400, "{}: expected a refusal, got {} {}", self.request, self.status, self.body);
        let kind = self.headers.get("content-type").map(|kind| kind.as_bytes());
        ensure!(kind == Some(b"application/problem+json"), "{}: not a problem document: {}", self.request, self.body);
        ensure!(self.body["status"] == self.status, "{}: {} says {}", self.request, self.status, self.body);
        Ok(self.body["code"].as_str().context("a problem has a code")?.to_owned())
    }

    /// The cookie it sets, as `name=value`: what a browser sends back.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        self.header("set-cookie")?.split(';').next()
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// An HTTP client with a cookie jar of its own.
///
/// # Errors
/// When the TLS stack is broken.
pub fn http() -> Result<Client> {
    // Installed already when this is not the first client of the process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().cookie_store(true).redirect(reqwest::redirect::Policy::none()).build()?)
}
