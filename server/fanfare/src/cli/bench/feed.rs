//! What a subscribed client is sent, over either transport: frames of the native protocol.

use std::collections::VecDeque;

use anyhow::{Context as _, anyhow};
use fanfare_core::Problem;
use reqwest::Response;
use serde_json::json;

use super::plan::Transport;
use crate::cli::link::{Link, LinkError};
use crate::cli::publish::percent_encode;

/// A line of an event stream may be as long as a message may.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One client's road.
pub(super) enum Feed {
    Socket(Box<Link>),
    Events(Events),
}

impl Feed {
    /// Connects with a token, and asks for one channel.
    pub(super) async fn open(transport: Transport, url: &str, token: &str, channel: &str) -> Result<Self, LinkError> {
        match transport {
            Transport::Websocket => {
                let mut link = Link::open(url).await?;
                // Both at once: the server answers in this order.
                link.send(&json!({"id": 1, "connect": {"token": token}})).await.map_err(LinkError::Lost)?;
                link.send(&json!({"id": 2, "subscribe": {"channel": channel}})).await.map_err(LinkError::Lost)?;
                Ok(Self::Socket(Box::new(link)))
            }
            Transport::Sse => Events::open(url, token, channel).await.map(Self::Events),
        }
    }

    /// The next frame.
    pub(super) async fn next(&mut self) -> Result<String, LinkError> {
        match self {
            Self::Socket(link) => link.next().await,
            Self::Events(events) => events.next().await,
        }
    }
}

/// An event stream.
pub(super) struct Events {
    response: Response,
    begun: Vec<u8>,
    whole: VecDeque<String>,
}

impl Events {
    async fn open(url: &str, token: &str, channel: &str) -> Result<Self, LinkError> {
        let lost = |error: reqwest::Error| LinkError::Lost(error.into());
        // A client of its own, or several streams would wait for one connection.
        let http = reqwest::Client::builder().build().map_err(lost)?;
        let url = format!("{url}/sse?channels={}", percent_encode(channel));
        let response = http.get(url).bearer_auth(token).send().await.map_err(lost)?;
        let status = response.status();
        if !status.is_success() {
            let body = response.text().await.map_err(lost)?;
            return Err(match serde_json::from_str::<Problem>(&body) {
                Ok(problem) => LinkError::Refused(Box::new(problem)),
                Err(_) => LinkError::Lost(anyhow!("the server answered {status}")),
            });
        }
        Ok(Self { response, begun: Vec::new(), whole: VecDeque::new() })
    }

    async fn next(&mut self) -> Result<String, LinkError> {
        loop {
            if let Some(frame) = self.whole.pop_front() {
                return Ok(frame);
            }
            let chunk = self.response.chunk().await.map_err(|error| LinkError::Lost(error.into()))?;
            let chunk = chunk.context("the stream ended").map_err(LinkError::Lost)?;
            self.begun.extend_from_slice(&chunk);
            while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.begun.drain(..=end).collect();
                if let Some(data) = line.strip_prefix(b"data:") {
                    self.whole.push_back(String::from_utf8_lossy(data.trim_ascii()).into_owned());
                }
            }
            if self.begun.len() > LINE_BYTES_MAX {
                return Err(LinkError::Lost(anyhow!("a line of the stream does not end")));
            }
        }
    }
}
