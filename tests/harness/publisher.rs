//! A backend: REST with a key.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::{Client as Http, Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::ledger::{Ledger, Outcome, Payload, Position, Publish};

/// How a publish was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Published {
    /// The message's id.
    pub id: String,
    /// Its place, `<lineage>.<seq>`.
    pub position: String,
    /// What the acknowledgement means.
    pub durability: String,
    /// Whether this id was published before.
    pub duplicate: bool,
}

/// A backend with a key of an app.
#[derive(Debug, Clone)]
pub struct Publisher {
    http: Http,
    app_url: String,
    id: String,
    secret: String,
}

impl Publisher {
    pub(crate) fn new(http: Http, app_url: String, key: &str) -> Self {
        let (id, secret) = key.split_once(':').unwrap_or((key, ""));
        Self { http, app_url, id: id.to_owned(), secret: secret.to_owned() }
    }

    /// Publishes data to a channel.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn publish(&self, channel: &str, data: impl Into<Value>) -> Result<Published> {
        self.post(&messages(channel), &json!({ "data": data.into() })).await?.parse()
    }

    /// Publishes data to a channel and enters how that ended into a ledger.
    ///
    /// # Errors
    /// Never for how it ended: that is in the ledger.
    pub async fn publish_into(&self, ledger: &mut Ledger, channel: &str, data: impl Into<Value>) -> Result<Outcome> {
        let data = data.into();
        let outcome = match self.post(&messages(channel), &json!({ "data": data })).await {
            Ok(answer) if answer.status == 200 => {
                let published: Published = answer.parse()?;
                Outcome::Acked(Position::parse(&published.position).context("a position reads <lineage>.<seq>")?)
            }
            // A client's error is a promise that nothing was appended; anything else promises nothing.
            Ok(answer) if (400..500).contains(&answer.status) => Outcome::Nacked,
            Ok(_) | Err(_) => Outcome::Unknown,
        };
        ledger.publish(Publish {
            publisher: self.id.clone(),
            channel: channel.to_owned(),
            payload: Payload::of(data.to_string().as_bytes()),
            outcome: outcome.clone(),
        });
        Ok(outcome)
    }

    /// `GET` below the app's URL.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        Answer::to(self.request(Method::GET, path)).await
    }

    /// `POST` below the app's URL.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer> {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    /// A request below the app's URL with the key, for what the others do not do.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.app_url));
        request.basic_auth(&self.id, Some(&self.secret)).timeout(Duration::from_secs(10))
    }
}

/// The path of a channel's messages, whatever is in its name.
#[must_use]
pub fn messages(channel: &str) -> String {
    let escaped = channel.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    format!("/channels/{}/messages", escaped.collect::<String>())
}
