//! The control plane through its front door: what signing up makes, who may change what, and how everything that is wrong
//! is said. Folders follow the URLs. Who may not see whose things is `isolation.rs`.

mod access;
mod apps;
mod audit;
mod console;
mod csrf;
mod dry_run;
mod headers;
mod idempotency;
mod inspector;
mod keys;
mod live;
mod permissions;
mod refusals;
mod sessions;
mod settings;
mod sign_up;
mod statistics;
mod versions;

use anyhow::{Context, Result, ensure};
use harness::answer::{Answer, http};
use harness::server::Server;
use reqwest::{Client, Method, RequestBuilder};
use serde::Serialize;
use serde_json::Value;

/// Somebody without a session, who keeps no cookies: what a request says of its sender is all there is.
struct Visitor {
    http: Client,
    base: String,
}

impl Visitor {
    fn at(base: &str) -> Result<Self> {
        // Installs the TLS that any client needs.
        drop(http()?);
        Ok(Self { http: Client::new(), base: base.to_owned() })
    }

    fn of(server: &Server) -> Result<Self> {
        Self::at(server.control_url())
    }

    /// A request with nothing added; the path is whole.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    /// A change as the dashboard asks for it, with this cookie.
    async fn post(&self, path: &str, cookie: Option<&str>, body: &impl Serialize) -> Result<Answer> {
        let request = self.request(Method::POST, path).header("X-Fanfare-CSRF", "1").json(body);
        Answer::to(cookie.into_iter().fold(request, |request, cookie| request.header("Cookie", cookie))).await
    }

    async fn get(&self, path: &str, cookie: Option<&str>) -> Result<Answer> {
        let request = self.request(Method::GET, path);
        Answer::to(cookie.into_iter().fold(request, |request, cookie| request.header("Cookie", cookie))).await
    }
}

/// The pointers of a refusal that is whole: this code, its page, texts for people, and the request's id in body and header.
fn places(answer: &Answer, code: &str) -> Result<Vec<String>> {
    let (told, body) = (answer.refusal()?, &answer.body);
    ensure!(told == code, "expected {code}, got {body}");
    let page = body["type"].as_str().context("a problem has a page")?;
    ensure!(page.ends_with(&format!("/errors/{code}")), "{page}");
    for text in ["title", "detail"] {
        ensure!(body[text].as_str().is_some_and(|text| !text.is_empty()), "no {text}: {body}");
    }
    ensure!(body["retryable"].is_boolean(), "not said whether to try again: {body}");
    let id = answer.header("x-request-id").context("every answer has a request id")?;
    ensure!(id.starts_with("req_") && body["request_id"] == id, "{id} is not in {body}");
    let errors = body["errors"].as_array().into_iter().flatten();
    errors.map(|error| Ok(error["pointer"].as_str().context("an error has a pointer")?.to_owned())).collect()
}

/// A refusal that points to nothing.
fn refused(answer: &Answer, code: &str) -> Result<()> {
    let places = places(answer, code)?;
    ensure!(places.is_empty(), "{code} points to {places:?}");
    Ok(())
}

/// The texts at a field of each item of a page.
fn each<'a>(page: &'a Value, field: &str) -> Vec<&'a str> {
    page["items"].as_array().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}
