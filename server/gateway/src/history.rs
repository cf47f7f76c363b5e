//! `GET /v1/apps/{app}/channels/{channel}/messages`: read what was published before.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use fanfare_api::ProblemDocument;
use fanfare_api::data::{self, HistoryParams};
use fanfare_api::server::{StrictQuery, page_limit};
use fanfare_core::{ChannelName, ErrorCode, Problem};
use fanfare_engine::{Direction, HistoryFrom, HistoryPage, HistoryQuery, HistoryUntil};
use fanfare_protocol::json::write_message;
use http::{HeaderValue, header};

use crate::caller::{AnyChannel, Caller};
use crate::context::Context;
use crate::failure::Failure;

/// The most messages of one page.
const LIMIT_MAX: u32 = 1_000;
const LIMIT_DEFAULT: u32 = 100;

/// Read the history of a channel
///
/// Newest first unless `direction` says otherwise, from a position, an id or a moment, until a position or a moment. A
/// message that was deleted stands there as `deleted`, with its number and id. `truncated` says that something which would have come is no longer
/// kept; `next` is the `from` of the next page.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/channels/{channel}/messages",
    operation_id = "read_history",
    tag = "Messages",
    params(
        ("app" = String, Path, description = "The app's id."),
        ("channel" = String, Path, description = "The channel, percent-encoded once."),
        HistoryParams,
    ),
    responses(
        (status = 200, description = "A page of messages.", body = data::HistoryPage),
        (status = "default", description = "It was not read.", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn history(
    State(context): State<Context>,
    Caller(caller): Caller,
    AnyChannel(channel): AnyChannel,
    StrictQuery(params): StrictQuery<HistoryParams>,
) -> Result<Response, Failure> {
    let direction = match params.direction.unwrap_or_default() {
        data::Direction::Backward => Direction::Backward,
        data::Direction::Forward => Direction::Forward,
    };
    let limit = page_limit(params.limit, LIMIT_DEFAULT, LIMIT_MAX)?;
    let (from, until) = (start(&params)?, end(&params)?);
    let page = context.node.history(&caller, &channel, HistoryQuery { from, until, direction, limit }).await?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], Body::from(write(&channel, &page))).into_response())
}

fn start(params: &HistoryParams) -> Result<Option<HistoryFrom>, Failure> {
    let places = [
        params.from.clone().map(HistoryFrom::Position),
        params.from_id.as_deref().map(|id| HistoryFrom::Id(id.into())),
        params.from_time.map(|time| HistoryFrom::TimeMs(unix_ms(time))),
    ];
    one_of(places, "`from`, `from_id` and `from_time`")
}

fn end(params: &HistoryParams) -> Result<Option<HistoryUntil>, Failure> {
    let places = [
        params.until.clone().map(HistoryUntil::Position),
        params.until_time.map(|time| HistoryUntil::TimeMs(unix_ms(time))),
    ];
    one_of(places, "`until` and `until_time`")
}

fn one_of<T>(places: impl IntoIterator<Item = Option<T>>, names: &str) -> Result<Option<T>, Failure> {
    let mut said = places.into_iter().flatten();
    let (first, second) = (said.next(), said.next());
    if second.is_some() {
        return Err(Problem::new(ErrorCode::InvalidRequest, format!("Say at most one of {names}.")).into());
    }
    Ok(first)
}

fn unix_ms(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or(0)
}

/// Writes the page by hand: each message is written once, by the same code as on the socket, and never read again.
fn write(channel: &ChannelName, page: &HistoryPage) -> Vec<u8> {
    let text = |text: &str| serde_json::to_string(text).expect("a text prints as JSON");
    let mut out = Vec::with_capacity(256 * (page.messages.len() + 1));
    out.extend_from_slice(
        format!("{{\"channel\":{},\"lineage\":{},", text(channel.as_str()), text(&page.lineage)).as_bytes(),
    );
    out.extend_from_slice(b"\"messages\":[");
    for (index, message) in page.messages.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_message(&mut out, message, Some(&page.lineage));
    }
    out.extend_from_slice(format!("],\"truncated\":{}", page.truncated).as_bytes());
    if let Some(next) = &page.next {
        out.extend_from_slice(format!(",\"next\":{}", text(next)).as_bytes());
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::{Data, Draft, Lineage, Message, Position};
    use serde_json::value::RawValue;
    use std::sync::Arc;

    #[test]
    fn a_page_written_by_hand_reads_as_the_documented_type() {
        let json = RawValue::from_string(r#"{"a":[1,"\u00e9"]}"#.to_owned()).expect("JSON");
        let position = Position { lineage: Lineage { epoch: 1, term: 2, nonce: 3 }, seq: 7 };
        let message = Message {
            id: "m\"1".into(),
            position,
            time_ms: 1_700_000_000_000,
            publisher: None,
            origin: None,
            draft: Arc::new(Draft::new(Data::Json(json))),
        };
        let messages = vec![Arc::new(message.clone()), Arc::new(message)];
        let page = HistoryPage { lineage: "abc".into(), messages, truncated: true, next: Some("abc.7".into()) };
        let written = write(&ChannelName::parse("room:9").expect("a name"), &page);
        let read: data::HistoryPage = serde_json::from_slice(&written).expect("reads back");
        assert_eq!((read.lineage.as_str(), read.truncated, read.next.as_deref()), ("abc", true, Some("abc.7")));
        let view: data::MessageView = serde_json::from_str(read.messages[1].get()).expect("reads back");
        assert_eq!((view.seq, view.id.as_str(), view.position.as_str()), (7, "m\"1", "abc.7"));
    }
}
