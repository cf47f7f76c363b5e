//! What a session admits, keeps and tells.

use super::*;
use fanfare_core::id::{KeyId, RuleId};
use fanfare_core::{Capabilities, Effect, KeyKind, KeyState, Operations, Pattern, Rule, Who};

fn rule(who: Who, effect: Effect) -> Rule {
    Rule {
        id: RuleId::new(1, 1),
        pattern: Pattern::parse("room:*").expect("valid"),
        who,
        operations: Operations::CLIENT,
        effect,
    }
}

fn signing_key(id: KeyId) -> Key {
    Key {
        id,
        kind: KeyKind::Tenant,
        name: "k".into(),
        capabilities: Capabilities::everything(),
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: [0; 32],
        signing_secret: None,
    }
}

fn name(text: &str) -> ChannelName {
    ChannelName::parse(text).expect("valid")
}

fn connected(app: &App) -> Session {
    let mut session = Session::default();
    session.start(app, None, 1).expect("anonymous may");
    session.subscribed(name("room:2"), 0);
    session.subscribed(name("room:1"), 1);
    session
}

#[test]
fn nothing_runs_before_connect_and_connect_runs_once() {
    let (mut app, mut session) = (App::for_tests(), Session::default());
    app.rules = vec![rule(Who::Everyone, Effect::Allow)];
    let refused = session.admit(&CommandKind::Ping, &app, Duration::ZERO).expect_err("too early");
    assert_eq!(refused.problem().code, ErrorCode::ConnectFirst);
    assert!(session.admit(&CommandKind::Connect(Default::default()), &app, Duration::ZERO).is_ok());
    session.start(&app, None, 1).expect("anonymous may");
    assert!(session.admit(&CommandKind::Ping, &app, Duration::ZERO).is_ok());
    assert!(session.admit(&CommandKind::Connect(Default::default()), &app, Duration::ZERO).is_err());
}

#[test]
fn without_a_rule_for_them_clients_without_a_token_stay_out() {
    let mut app = App::for_tests();
    app.rules = vec![rule(Who::Identified, Effect::Allow)];
    assert!(matches!(Session::default().start(&app, None, 1), Err(NodeError::TokenMissing)));
}

#[test]
fn a_new_deny_rule_takes_the_subscriptions_it_covers() {
    let mut app = App::for_tests();
    app.rules = vec![rule(Who::Everyone, Effect::Allow)];
    let mut session = connected(&app);
    assert_eq!(session.recheck(&app, 0), Verdict::Stay(Vec::new()));
    app.rules.push(rule(Who::Anonymous, Effect::Deny));
    let Verdict::Stay(lost) = session.recheck(&app, 0) else { panic!("it may stay") };
    assert_eq!(
        lost.iter().map(|(channel, slot, _)| (channel.as_str(), *slot)).collect::<Vec<_>>(),
        [("room:1", 1), ("room:2", 0)]
    );
    assert_eq!(session.subscriptions(), 0);
    app.rules.clear();
    assert_eq!(session.recheck(&app, 0), Verdict::Close(ErrorCode::TokenMissing));
}

#[test]
fn a_revoked_or_expired_key_ends_the_sessions_of_its_tokens() {
    let mut app = App::for_tests();
    let id = KeyId::new(1, 1);
    app.keys = vec![signing_key(id)];
    let mut session = Session::default();
    let signer = Signer::Key(id);
    let ceiling = Ceiling { signer, capabilities: Capabilities::everything() };
    let subject = ClientSubject { ceiling: Some(ceiling), ..ClientSubject::default() };
    let token = VerifiedToken { subject, expires_ms: 1_000, signer, info: None };
    session.start(&app, Some(token), 1).expect("a token is enough");
    assert_eq!(session.recheck(&app, 0), Verdict::Stay(Vec::new()));
    assert!(!session.is_expired(1_000 + EXPIRY_GRACE_MS - 1) && session.is_expired(1_000 + EXPIRY_GRACE_MS));
    assert_eq!(session.ends_ms(&app), Some(1_000 + EXPIRY_GRACE_MS));
    app.keys[0].expires_ms = Some(900);
    assert_eq!((session.ends_ms(&app), session.recheck(&app, 899)), (Some(900), Verdict::Stay(Vec::new())));
    assert_eq!(session.recheck(&app, 900), Verdict::Close(ErrorCode::TokenRevoked));
    app.keys[0].expires_ms = None;
    app.keys[0].state = KeyState::Revoked;
    assert_eq!(session.recheck(&app, 0), Verdict::Close(ErrorCode::TokenRevoked));
}

#[test]
fn a_channel_token_is_judged_by_itself_and_ends_its_subscription_alone() {
    let mut app = App::for_tests();
    app.rules = vec![rule(Who::Everyone, Effect::Allow)];
    let id = KeyId::new(1, 1);
    app.keys = vec![signing_key(id)];
    let mut session = connected(&app);
    let token = |pattern: &str, sub: Option<&str>| VerifiedToken {
        subject: ClientSubject {
            sub: sub.map(Into::into),
            capabilities: Some(Capabilities::new(vec![(Pattern::parse(pattern).expect("valid"), Operations::CLIENT)])),
            ceiling: Some(Ceiling { signer: Signer::Key(id), capabilities: Capabilities::everything() }),
            ..ClientSubject::default()
        },
        expires_ms: 1_000,
        signer: Signer::Key(id),
        info: None,
    };
    assert!(session.channel_token(token("hall:*", Some("ann"))).is_err(), "it is of another user");
    let held = session.channel_token(token("hall:*", None)).expect("of the same user");
    session.subscribed(name("hall:1"), 2);
    session.hold(name("hall:1"), held);
    // The connection's own rights do not cover it, its own token does.
    assert_eq!(session.recheck(&app, 0), Verdict::Stay(Vec::new()));
    assert_eq!(session.ends_ms(&app), Some(1_000 + EXPIRY_GRACE_MS));
    assert_eq!(session.recheck(&app, 1_000 + EXPIRY_GRACE_MS - 1), Verdict::Stay(Vec::new()));
    let lost = |verdict| match verdict {
        Verdict::Stay(lost) => {
            lost.into_iter().map(|(channel, _, problem)| (channel, problem.code)).collect::<Vec<_>>()
        }
        Verdict::Close(code) => panic!("closed with {code}"),
    };
    assert_eq!(lost(session.recheck(&app, 1_000 + EXPIRY_GRACE_MS)), [(name("hall:1"), ErrorCode::TokenExpired)]);
    assert_eq!((session.ends_ms(&app), session.subscriptions()), (None, 2));
    // A token that does not give the subscription takes it away, whatever the connection may.
    let held = session.channel_token(token("hall:*", None)).expect("of the same user");
    session.hold(name("room:1"), held);
    assert_eq!(lost(session.recheck(&app, 0)), [(name("room:1"), ErrorCode::Forbidden)]);
    let held = session.channel_token(token("room:*", None)).expect("of the same user");
    session.hold(name("room:2"), held);
    app.keys.clear();
    assert_eq!(lost(session.recheck(&app, 0)), [(name("room:2"), ErrorCode::TokenRevoked)]);
}
