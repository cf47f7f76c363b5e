//! The data plane's REST, and the socket below its commands: what is answered to good requests, to wrong ones, and to
//! nonsense.

use ::harness::answer::{Answer, http};
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::publisher::Publisher;
use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

mod direct;
mod input;
mod limits;
mod messages;
mod mutation;
mod pages;
mod publishing;
mod reading;
mod socket;

/// Sends a body as it is.
async fn post_text(publisher: &Publisher, path: &str, body: impl Into<reqwest::Body>) -> Result<Answer> {
    let request = publisher.request(Method::POST, path).header("content-type", "application/json");
    Answer::to(request.body(body)).await
}

/// The numbers that messages carry.
fn data(page: &Value) -> Vec<u64> {
    let messages = page["messages"].as_array().map_or(&[][..], Vec::as_slice);
    messages.iter().filter_map(|message| message["data"].as_u64()).collect()
}

/// Where each wrong place of a refused request is.
fn pointers(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
    errors.iter().filter_map(|error| error["pointer"].as_str()).collect()
}

/// Waits until a publish of so many bytes is refused: until lowered limits are in force.
pub(crate) async fn refused_at(owner: &Owner, bytes: usize) -> Result<()> {
    let (publisher, body) = (owner.publisher(), json!({ "data": "x".repeat(bytes) }));
    eventually("the limits arrive", async || {
        Ok((publisher.post("/channels/probe/messages", &body).await?.status == 413).then_some(()))
    })
    .await
}

/// A request without a credential.
fn stranger(method: Method, url: &str) -> Result<reqwest::RequestBuilder> {
    Ok(http()?.request(method, url))
}
