//! Everything that the server can say, with every field that it can have. There is no `..` and no wildcard here: a field
//! or answer that is added breaks the build, and is then to be described.

use std::sync::Arc;

use fanfare_core::id::{ConnectionId, RequestId, RuleId};
use fanfare_core::limits::{Limit, Limits};
use fanfare_core::permission::Layer;
use fanfare_core::{
    ChannelName, Data, Draft, ErrorCode, FieldError, Lineage, Member, MemberId, Message, Position, Problem,
};
use serde_json::value::RawValue;

use crate::frame::Frame;
use crate::native::*;

pub(super) fn frames() -> Vec<(&'static str, Frame)> {
    let mut frames: Vec<_> = replies().iter().map(|answer| ("reply", reply(1, answer))).collect();
    frames.push(("error", error(Some(1), &problem())));
    frames.push(("error", error(None, &problem())));
    frames.extend(pushes());
    frames
}

fn pushes() -> Vec<(&'static str, Frame)> {
    let channel = channel();
    vec![
        ("push_message", push_message(&channel, &message(Data::Json(raw("1"))))),
        ("push_message", push_message(&channel, &message(Data::Bytes([1].into())))),
        ("push_deleted", push_message(&channel, &message(Data::Deleted))),
        ("push_user_message", push_user_message(&message(Data::Bytes([1].into())))),
        ("push_continued", push_continued(&channel, "k3Zx", 12)),
        ("push_recovery", push_recovery(&channel, &gap(), "k3Zx", 12)),
        ("push_gap", push_gap(&channel, "k3Zx.1", "k3Zx.9", 8)),
        ("push_limit_near", push_limit_near(Limit::Subscriptions, 400, 500)),
        ("push_unsubscribed", push_unsubscribed(&channel, &problem())),
        ("push_token_expiring", push_token_expiring(1)),
        ("push_reconnect", push_reconnect(300)),
        ("push_disconnected", push_disconnected("You signed in elsewhere.")),
        ("push_close", push_close(4203, "disconnected")),
        ("push_ticket", push_ticket("AHx7")),
        ("push_subscribed", push_subscribed(&subscribed(Some(Recovery::Lost(gap()))))),
        ("push_presence", push_presence(&page())),
        ("push_presence_diff", push_presence_diff(&channel, &diff())),
        ("push_join_leave", push_join_leave(&channel, &diff())),
        ("push_join_leave_missed", push_join_leave_missed(&channel, 8, 2)),
        ("push_occupancy", push_occupancy(&channel, Occupancy { subscribers: 2, members: 1, version: 7 })),
        ("push_presence_ended", push_presence_ended(&channel, PresenceEnded::Membership, &problem())),
        ("push_presence_ended", push_presence_ended(&channel, PresenceEnded::Updates, &problem())),
    ]
}

fn replies() -> Vec<Reply> {
    let all = vec![
        Reply::Connected(Box::new(Hello {
            connection: ConnectionId::new(1, 1),
            user: Some("ann".into()),
            heartbeat_ms: 25_000,
            expires_ms: Some(1),
            resumed: Some(true),
            resume: Some("AHx7".to_owned()),
            limits: Limits::default(),
        })),
        Reply::Subscribed(subscribed(None)),
        Reply::Subscribed(subscribed(Some(Recovery::Recovered))),
        Reply::Subscribed(subscribed(Some(Recovery::Lost(gap())))),
        Reply::Unsubscribed,
        Reply::Published(PublishedOk {
            id: "order-7".into(),
            position: "k3Zx.13".to_owned(),
            durability: "memory",
            duplicate: false,
        }),
        Reply::Presence(page()),
        Reply::PresenceDone,
        Reply::History(HistoryOk {
            channel: channel(),
            lineage: "k3Zx".to_owned(),
            messages: [Data::Json(raw("1")), Data::Bytes([1].into()), Data::Deleted].map(message).into(),
            truncated: true,
            next: Some("k3Zx.2".to_owned()),
        }),
        Reply::Pong { time: 1 },
        Reply::Refreshed { expires_ms: 1, resume: Some("AHx7".to_owned()) },
    ];
    for reply in &all {
        match reply {
            Reply::Connected(_)
            | Reply::Subscribed(_)
            | Reply::Unsubscribed
            | Reply::Published(_)
            | Reply::Presence(_)
            | Reply::PresenceDone
            | Reply::History(_)
            | Reply::Pong { .. }
            | Reply::Refreshed { .. } => {}
        }
    }
    all
}

fn channel() -> ChannelName {
    ChannelName::parse("room:9").expect("valid")
}

fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("valid")
}

fn message(data: Data) -> Arc<Message> {
    let draft = Draft {
        id: Some("m".into()),
        name: Some("greet".into()),
        data: data.clone(),
        key: Some("k".into()),
        headers: vec![("trace".into(), "1".into())],
        exclude: None,
    };
    let message = Message {
        id: "m".into(),
        position: Position { lineage: Lineage { epoch: 1, term: 1, nonce: 1 }, seq: 1 },
        time_ms: 1,
        publisher: Some("ann".into()),
        origin: None,
        draft: Arc::new(draft),
    };
    Arc::new(if matches!(data, Data::Deleted) { message.deleted() } else { message })
}

fn gap() -> Gap {
    Gap { reason: GapReason::Truncated, from: "k3Zx.3".to_owned(), to: "k3Zx.12".to_owned() }
}

fn subscribed(recovery: Option<Recovery>) -> SubscribedOk {
    SubscribedOk { channel: channel(), lineage: "k3Zx".to_owned(), seq: 12, recovery, expires_ms: Some(1) }
}

fn members() -> Vec<Arc<Member>> {
    let ids = [MemberId::Connection(ConnectionId::new(1, 1)), MemberId::User("bob".into())];
    let member = |id| Member {
        id,
        user: Some("ann".into()),
        info: Some(raw(r#"{"name":"Ann"}"#)),
        data: Some(raw("1")),
        since_ms: 1,
    };
    ids.map(member).map(Arc::new).into()
}

fn page() -> PresencePage {
    let next = Some(MemberId::User("bob".into()));
    PresencePage { channel: channel(), version: 7, count: 2, members: Some(members()), next }
}

fn diff() -> PresenceDiff {
    let left = members().iter().map(|member| member.id.clone()).collect();
    PresenceDiff { from: 7, version: 8, count: 2, entered: members(), updated: members(), left }
}

fn problem() -> Problem {
    Problem {
        code: ErrorCode::RateLimited,
        detail: "Too much.".to_owned(),
        retryable: true,
        retry_after_ms: Some(20),
        limit: Some(Limit::PublishConnection),
        layer: Some(Layer::Acl),
        rule: Some(RuleId::new(1, 1)),
        request_id: Some(RequestId::new(1, 1)),
        errors: vec![FieldError { pointer: "/publish".to_owned(), detail: "is wrong".to_owned() }],
    }
}
