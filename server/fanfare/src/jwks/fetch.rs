//! One fetch of a JWKS: https, no redirect, to an address that was looked at first and is then the only one used.
//!
//! The URL is a tenant's, so the server is not trusted and neither is the name's owner: it may answer slowly, endlessly,
//! or send us to somebody else. Everything has a bound, and only ports and addresses of the public internet are reached,
//! unless the operator names the host.

use std::net::SocketAddr;
use std::time::Duration;

use fanfare_core::issuer::{Host, JwksUrl};
use fanfare_core::public_key::{JwksError, KeySet, parse_jwks};
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::address::is_public;
use crate::config::Jwks;

/// The largest answer that is read.
const BYTES_MAX: usize = 256 * 1024;
/// The most addresses of a name that are looked at; a name with more is refused.
const ADDRESSES_MAX: usize = 32;
const HTTPS: u16 = 443;

/// Why keys were not fetched, in words for whoever has typed the URL.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// A port that is not the web's.
    #[error("the URL names the port {0}; only 443 is asked")]
    Port(u16),
    /// The name has no address.
    #[error("the host's name cannot be resolved")]
    Name,
    /// Not of the public internet.
    #[error("the host has an address that is not public; only public ones are asked")]
    NotPublic,
    /// No answer in time, or not all of it.
    #[error("no complete answer came within {} s", .0.as_secs_f32())]
    Slow(Duration),
    /// The link could not be made, or broke. The inside story may tell of our network, and goes to the log alone.
    #[error("the host cannot be reached, its certificate does not hold, or the link broke")]
    Link(#[source] reqwest::Error),
    /// A redirect, which is not followed.
    #[error("the answer is a redirect ({0}), which is not followed: name the URL where it leads")]
    Redirect(StatusCode),
    /// Another status than 200.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// More than is read.
    #[error("the answer has more than 256 KiB")]
    TooLarge,
    /// Not a JWKS.
    #[error(transparent)]
    Document(#[from] JwksError),
    /// The fetch itself broke, which is ours to mend.
    #[error("the fetch failed inside the server; it is made again")]
    Broken,
    /// No key in it.
    #[error("the JWKS has no key that can verify tokens: ES256, EdDSA or RS256 of at least 2048 bits, with a kid")]
    Empty,
}

/// Fetches the keys at a URL.
pub(super) async fn keys(url: &JwksUrl, options: &Jwks) -> Result<KeySet, FetchError> {
    let within = Duration::from_millis(options.timeout_ms);
    timeout(within, keys_at(url, options)).await.map_err(|_| FetchError::Slow(within))?
}

async fn keys_at(url: &JwksUrl, options: &Jwks) -> Result<KeySet, FetchError> {
    let is_named = options.hosts_allowed.iter().any(|host| *host == url.host().to_string());
    if url.port() != HTTPS && !is_named {
        return Err(FetchError::Port(url.port()));
    }
    let addresses = resolve(url).await?;
    if !is_named && !addresses.iter().all(|address| is_public(address.ip())) {
        return Err(FetchError::NotPublic);
    }
    // A client for this one fetch: what it connects to is what was looked at, whatever the name resolves to by then.
    let mut client = Client::builder().no_proxy().https_only(true).redirect(Policy::none()).pool_max_idle_per_host(0);
    if let Host::Name(name) = url.host() {
        client = client.resolve_to_addrs(name, &addresses);
    }
    let client = client.build().map_err(FetchError::Link)?;
    let request = client.get(url.as_str()).header(ACCEPT, HeaderValue::from_static("application/json"));
    let answer = request.send().await.map_err(FetchError::Link)?;
    match answer.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => return Err(FetchError::Redirect(status)),
        status => return Err(FetchError::Status(status)),
    }
    let set = parse_jwks(&read(answer).await?)?;
    if set.keys.is_empty() { Err(FetchError::Empty) } else { Ok(set) }
}

/// The addresses of the URL's host. All of them are judged: one that is not public spoils the name.
async fn resolve(url: &JwksUrl) -> Result<Vec<SocketAddr>, FetchError> {
    let name = match url.host() {
        Host::Address(address) => return Ok(vec![SocketAddr::new(*address, url.port())]),
        Host::Name(name) => name,
    };
    let found = lookup_host((&**name, url.port())).await.map_err(|_| FetchError::Name)?;
    let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX + 1).collect();
    if (1..=ADDRESSES_MAX).contains(&addresses.len()) { Ok(addresses) } else { Err(FetchError::Name) }
}

async fn read(mut answer: Response) -> Result<Vec<u8>, FetchError> {
    if answer.content_length().is_some_and(|length| length > BYTES_MAX as u64) {
        return Err(FetchError::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(FetchError::Link)? {
        if body.len() + chunk.len() > BYTES_MAX {
            return Err(FetchError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
