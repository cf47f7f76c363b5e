//! `fanfare publish`: one message through the REST API.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use fanfare_core::{ChannelName, Problem};
use serde_json::{Map, Value};

use super::problem;
use super::target::{Key, Url};
use crate::out;

const WITHIN: Duration = Duration::from_secs(15);
const DATA_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    url: Url,
    #[command(flatten)]
    key: Key,
    /// The channel, such as demo:hello.
    channel: ChannelName,
    /// JSON, or else text; read from standard input when it is left out or `-`.
    data: Option<String>,
    /// Take the data as text even if it reads as JSON.
    #[arg(long)]
    text: bool,
    /// The message's name.
    #[arg(long)]
    name: Option<String>,
    /// An id that makes repeating safe.
    #[arg(long)]
    id: Option<String>,
    /// What the message is about, for channels that keep the latest of each.
    #[arg(long = "message-key", value_name = "KEY")]
    message_key: Option<String>,
    /// A header of the message. May be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// Print the server's answer as it is.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<()> {
    let (url, key) = (arguments.url.get()?, arguments.key.get()?);
    let data = match arguments.data.as_deref() {
        Some(data) if data != "-" => data.to_owned(),
        _ => {
            let mut text = String::new();
            std::io::stdin().take(DATA_BYTES_MAX).read_to_string(&mut text).context("standard input is not UTF-8")?;
            text.trim_end_matches('\n').to_owned()
        }
    };
    let data = match serde_json::from_str::<Value>(&data) {
        Ok(json) if !arguments.text => json,
        _ => Value::String(data),
    };
    let mut body = Map::new();
    let texts = [("name", arguments.name), ("id", arguments.id), ("key", arguments.message_key)];
    for (name, text) in texts {
        if let Some(text) = text {
            body.insert(name.to_owned(), text.into());
        }
    }
    if !arguments.headers.is_empty() {
        let headers = arguments.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        body.insert("headers".to_owned(), Value::Object(headers));
    }
    body.insert("data".to_owned(), data);

    let client = reqwest::Client::builder().timeout(WITHIN).build().context("cannot make an HTTP client")?;
    let endpoint = format!("{url}/channels/{}/messages", percent_encode(arguments.channel.as_str()));
    let request = client.post(&endpoint).basic_auth(key.id, Some(key.secret.expose())).json(&Value::Object(body));
    let response = request.send().await.with_context(|| format!("no answer from {url}"))?;
    let status = response.status();
    let text = response.text().await.context("the answer broke off")?;
    if !status.is_success() {
        return match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => Err(problem::error(&problem)),
            Err(_) => bail!("{url} answered {status}, but not as Fanfare does: is this the gateway's address?"),
        };
    }
    if arguments.json {
        out::line(text.trim_end());
        return Ok(());
    }
    let answer: Value = serde_json::from_str(&text).context("the answer is not JSON")?;
    let field = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let twice = answer.get("duplicate").and_then(Value::as_bool).unwrap_or_default();
    out::line(format_args!(
        "{} on {} at {}{}",
        field("id"),
        arguments.channel,
        field("position"),
        if twice { " (it was there already)" } else { "" }
    ));
    Ok(())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A channel's name as one segment of a path. The server decodes it once.
pub(super) fn percent_encode(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_one_segment_of_the_path() {
        assert_eq!(percent_encode("room:9"), "room:9");
        assert_eq!(percent_encode("a/b#c&d"), "a%2Fb%23c%26d");
    }
}
