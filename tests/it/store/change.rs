//! Changes: versions, the audit log, bounds, pages.

use anyhow::{Context, Result};
use fanfare_core::capability::Operations;
use fanfare_core::{Capabilities, Effect, Limit, LimitValue, Limits, Operation, Pattern, Who};
use fanfare_store::{AppChange, Conflict, KEYS_MAX, NewKey, PageRequest, RuleDraft, StoreError};
use harness::store::{Tenant, home};

fn new_key(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), capabilities: Capabilities::everything(), expires_at: None }
}

fn draft(pattern: &str) -> Result<RuleDraft> {
    let operations = Operations::NONE.with(Operation::Subscribe);
    Ok(RuleDraft { id: None, pattern: pattern.parse()?, who: Who::Everyone, operations, effect: Effect::Allow })
}

async fn actions(tenant: &Tenant) -> Result<Vec<String>> {
    let page = tenant.tenant.audit(&PageRequest::default()).await?;
    Ok(page.items.into_iter().rev().map(|row| row.action).collect())
}

#[tokio::test]
async fn every_change_leaves_one_row_without_secrets_in_an_unbroken_chain() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let app = ann.tenant.create_app("staging", None).await?;
    let app = ann.tenant.app(app.id).await?;
    let change = AppChange { name: Some("test".to_owned()), ..AppChange::default() };
    app.update(1, change).await?;
    let (key, printed) = app.create_key(new_key("backend"), None).await?;
    app.rename_key(key.id, 1, "server").await?;
    app.revoke_key(key.id).await?;
    app.revoke_key(key.id).await?;
    app.put_acl(1, vec![draft("room:*")?]).await?;
    app.put_settings(1, Vec::new()).await?;
    app.lower_limits(1, Limits::default()).await?;
    let expected = [
        "tenant.created",
        "app.created",
        "app.updated",
        "key.created",
        "key.renamed",
        "key.revoked",
        "acl.replaced",
        "channel_settings.replaced",
        "limits.lowered",
    ];
    assert_eq!(actions(&ann).await?, expected);
    let log = ann.tenant.audit(&PageRequest::default()).await?.items;
    assert!(log.iter().all(|row| row.actor == Some(ann.account.user.id) && row.ip.as_deref() == Some("192.0.2.1")));
    let text = format!("{log:?}");
    for secret in [printed.secret.expose(), ann.account.key.secret.expose()] {
        assert!(!text.contains(&secret[..secret.len() - 6]), "a secret is in the audit log");
    }
    let renamed = &log[4];
    assert_eq!(renamed.target, key.id.to_string());
    assert_eq!(renamed.app, Some(app.id()));
    assert_eq!(renamed.before.as_ref().context("before")?["name"], "backend");
    assert_eq!(renamed.after.as_ref().context("after")?["name"], "server");
    assert_eq!(ann.tenant.verify_audit().await?, None);
    Ok(())
}

#[tokio::test]
async fn a_tampered_audit_log_is_noticed() -> Result<()> {
    for (tampering, first_wrong) in [
        ("UPDATE audit_log SET ip = '198.51.100.1' WHERE number = 2", 2),
        ("UPDATE audit_log SET before = NULL WHERE number = 3", 3),
        ("UPDATE audit_log SET at = at - interval '1 second' WHERE number = 1", 1),
        ("DELETE FROM audit_log WHERE number = 2", 2),
        ("DELETE FROM audit_log WHERE number = 3", 3),
        ("DELETE FROM audit_log", 1),
    ] {
        let home = home().await?;
        let ann = home.sign_up("ann").await?;
        ann.app.rename_key(ann.account.key.id, 1, "one").await?;
        ann.app.rename_key(ann.account.key.id, 2, "two").await?;
        assert_eq!(ann.tenant.verify_audit().await?, None);
        // Only the owner of the table gets past the trigger that refuses this.
        let mut tx = home.behind().await?.begin().await?;
        for statement in ["ALTER TABLE audit_log DISABLE TRIGGER refuse", tampering] {
            sqlx::query(statement).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        assert_eq!(ann.tenant.verify_audit().await?, Some(first_wrong), "{tampering}");
    }
    Ok(())
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let stale = |answer: Result<(), StoreError>| {
        assert!(matches!(answer, Err(StoreError::Stale { current: 2 })), "{answer:?}");
    };
    let rename = |name: &str| AppChange { name: Some(name.to_owned()), ..AppChange::default() };
    let renamed = ann.app.update(1, rename("one")).await?;
    assert_eq!((renamed.version, renamed.name.as_str(), renamed.heartbeat_ms), (2, "one", 25_000));
    stale(ann.app.update(1, rename("two")).await.map(drop));
    let key = ann.account.key.id;
    assert_eq!(ann.app.rename_key(key, 1, "one").await?.version, 2);
    stale(ann.app.rename_key(key, 1, "two").await.map(drop));
    assert_eq!(ann.app.put_acl(1, Vec::new()).await?.version, 2);
    stale(ann.app.put_acl(1, Vec::new()).await.map(drop));
    assert_eq!(ann.app.put_settings(1, Vec::new()).await?.version, 2);
    stale(ann.app.put_settings(1, Vec::new()).await.map(drop));
    assert_eq!(ann.app.lower_limits(1, Limits::default()).await?.version, 2);
    stale(ann.app.lower_limits(1, Limits::default()).await.map(drop));
    Ok(())
}

#[tokio::test]
async fn of_two_changes_at_once_one_is_refused() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    for version in 1..=10 {
        let (left, right) = tokio::join!(ann.app.put_acl(version, Vec::new()), ann.app.put_acl(version, Vec::new()));
        assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
        let refused = left.err().or(right.err());
        assert!(matches!(refused, Some(StoreError::Stale { current }) if current == version + 1), "{refused:?}");
    }
    assert_eq!(ann.tenant.verify_audit().await?, None);
    Ok(())
}

#[tokio::test]
async fn rules_keep_their_ids_and_strange_ids_are_refused() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    let starter = ann.app.acl().await?.rules[0].id;
    let kept = RuleDraft { id: Some(starter), ..draft("demo:**")? };
    let acl = ann.app.put_acl(1, vec![draft("room:*")?, kept.clone()]).await?;
    assert_eq!(acl.rules[1].id, starter);
    assert_ne!(acl.rules[0].id, starter);
    assert_eq!(ann.app.acl().await?, acl);
    for (wrong, at) in [(bob.app.acl().await?.rules[0].id, 0), (starter, 1)] {
        let drafts = vec![RuleDraft { id: Some(wrong), ..draft("x")? }, kept.clone()];
        let refused = ann.app.put_acl(2, drafts).await;
        assert!(matches!(refused, Err(StoreError::UnknownRule { index }) if index == at), "{refused:?}");
    }
    Ok(())
}

#[tokio::test]
async fn old_revisions_of_an_acl_are_kept_up_to_a_bound() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    for version in 1..=60 {
        ann.app.put_acl(version, Vec::new()).await?;
    }
    let kept: Vec<i64> =
        sqlx::query_scalar("SELECT revision FROM acls ORDER BY revision").fetch_all(&home.behind().await?).await?;
    assert_eq!(kept, (12..=61).collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn a_name_is_taken_once_in_a_tenant_and_free_in_another() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    ann.tenant.create_app("staging", None).await?;
    bob.tenant.create_app("staging", None).await?;
    let taken = ann.tenant.create_app("staging", None).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Conflict::AppNameTaken))), "{taken:?}");
    let rename = AppChange { name: Some("staging".to_owned()), ..AppChange::default() };
    let taken = ann.app.update(1, rename).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Conflict::AppNameTaken))), "{taken:?}");
    assert_eq!(actions(&ann).await?, ["tenant.created", "app.created"]);
    Ok(())
}

#[tokio::test]
async fn an_app_has_a_bounded_number_of_working_keys() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let mut last = ann.account.key.id;
    for number in 1..KEYS_MAX {
        last = ann.app.create_key(new_key(&format!("key {number}")), None).await?.0.id;
    }
    let full = ann.app.create_key(new_key("one more"), None).await;
    assert!(matches!(full, Err(StoreError::Full { what: "keys", max: KEYS_MAX })), "{full:?}");
    let revoked = ann.app.revoke_key(last).await?;
    assert!(revoked.revoked_at.is_some());
    ann.app.create_key(new_key("one more"), None).await?;
    let renamed = ann.app.rename_key(last, revoked.version, "gone").await;
    assert!(matches!(renamed, Err(StoreError::Conflict(Conflict::KeyRevoked))), "{renamed:?}");
    Ok(())
}

#[tokio::test]
async fn lists_come_in_pages_without_gaps_or_repetition() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    for number in 0..6 {
        ann.app.create_key(new_key(&format!("key {number}")), None).await?;
        ann.tenant.create_app(&format!("app {number}"), None).await?;
    }
    let mut request = PageRequest { after: None, limit: Some(3) };
    let (mut keys, mut apps, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let page = ann.app.keys(&request).await?;
        keys.extend(page.items.iter().map(|key| key.id));
        request.after = page.next;
    }
    assert_eq!(request.after, None);
    for _ in 0..3 {
        let page = ann.tenant.apps(&request).await?;
        apps.extend(page.items.iter().map(|app| app.id));
        request.after = page.next;
    }
    assert_eq!(request.after, None);
    for _ in 0..5 {
        let page = ann.tenant.audit(&request).await?;
        rows.extend(page.items.iter().map(|row| row.number));
        request.after = page.next;
    }
    assert_eq!(request.after, None);
    assert!(keys.len() == 7 && keys.is_sorted() && apps.len() == 7 && apps.is_sorted());
    assert_eq!(rows, (1..=13).rev().collect::<Vec<u64>>());
    request.after = Some("no cursor".to_owned());
    assert!(matches!(ann.app.keys(&request).await, Err(StoreError::InvalidCursor)));
    Ok(())
}

#[tokio::test]
async fn tenants_lower_their_limits_and_cannot_raise_them() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    sqlx::query("UPDATE tenants SET plan = 'free'").execute(&home.behind().await?).await?;
    let mut own = Limits::default();
    own.set(Limit::Connections, LimitValue::count(5));
    own.set(Limit::Subscriptions, LimitValue::count(1_000_000));
    let limits = ann.app.lower_limits(1, own).await?;
    assert_eq!(limits, ann.app.limits().await?);
    assert_eq!(limits.plan, "free");
    assert_eq!(limits.effective.get(Limit::Connections), LimitValue::count(5));
    assert_eq!(limits.effective.get(Limit::Subscriptions), LimitValue::count(500));
    assert_eq!(limits.planned.get(Limit::PublishChannel), LimitValue::rate(100, 300));
    Ok(())
}

#[tokio::test]
async fn hostile_texts_are_stored_as_they_are_or_refused() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let long = "x".repeat(100);
    for text in ["'; DROP TABLE apps; --", "\\'", "%s$1", "=cmd|' /C calc'!A0", "\u{202e}🦀", "a\r\nb", long.as_str()]
    {
        let (key, _) = ann.app.create_key(new_key(text), None).await?;
        assert_eq!(ann.app.key(key.id).await?.name, text);
        let app = ann.tenant.create_app(text, None).await?;
        assert_eq!(ann.tenant.app(app.id).await?.record().await?.name, text);
        let who = Who::User(text.into());
        let version = ann.app.acl().await?.version;
        let acl = ann.app.put_acl(version, vec![RuleDraft { who, ..draft("a")? }]).await?;
        assert_eq!(ann.app.acl().await?, acl);
    }
    let version = ann.app.acl().await?.version;
    let who = Who::User("\0".into());
    let nul = ann.app.put_acl(version, vec![RuleDraft { who, ..draft("a")? }]).await;
    assert!(matches!(nul, Err(StoreError::NotStorable)), "{nul:?}");
    for text in ["a\0b", "", &"x".repeat(101)] {
        let refused = ann.app.create_key(new_key(text), None).await;
        assert!(matches!(refused, Err(StoreError::NotStorable)), "{refused:?}");
    }
    assert_eq!(ann.tenant.verify_audit().await?, None);
    Ok(())
}

#[tokio::test]
async fn capabilities_keep_the_order_in_which_they_were_written() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let entries = ["zebra:longest:pattern", "b", "aa"]
        .map(|text| Pattern::parse(text).map(|pattern| (pattern, Operations::NONE.with(Operation::Publish))));
    let capabilities = Capabilities::new(entries.into_iter().collect::<Result<_, _>>()?);
    let new = NewKey { capabilities: capabilities.clone(), ..new_key("backend") };
    let (key, _) = ann.app.create_key(new, None).await?;
    assert_eq!(ann.app.key(key.id).await?.capabilities, capabilities);
    Ok(())
}
