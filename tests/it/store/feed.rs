//! The change feed.

use std::time::Duration;

use anyhow::{Context, Result};
use fanfare_core::settings::History;
use fanfare_core::{App, AppStatus, Block, ChannelSettings, KeyKind, KeyState, Limit, LimitValue, Limits, Pattern};
use fanfare_store::{AppChange, Change};
use harness::store::{Home, Tenant, home};
use sha2::{Digest, Sha256};

/// The app's snapshot, which must be newer than the version.
async fn newer(home: &Home, tenant: &Tenant, than: u64) -> Result<App> {
    let apps = home.store.feed().since(than).await?;
    apps.into_iter().find(|app| app.id == tenant.app.id()).context("the app has a new version")
}

#[tokio::test]
async fn a_snapshot_holds_what_a_node_needs() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let app = newer(&home, &ann, 0).await?;
    assert_eq!((app.tenant, app.status, app.heartbeat_ms), (ann.tenant.id(), AppStatus::Active, 25_000));
    assert_eq!(app.rules, ann.app.acl().await?.rules);
    assert_eq!(app.limits, Limits::default());
    let key = app.key(ann.account.key.id).context("its key")?;
    let printed = ann.account.key.secret.expose().as_bytes();
    assert_eq!(key.secret_hash, <[u8; 32]>::from(Sha256::digest(printed)));
    assert_eq!(key.signing_secret.as_ref().context("may sign")?.expose(), printed);
    let platform = ann.app.platform_key().await?;
    let key = app.key(platform.id).context("the platform's key")?;
    assert_eq!(key.signing_secret.as_ref(), Some(&platform.secret));
    let capabilities = serde_json::to_value(&key.capabilities)?;
    let expected = serde_json::json!({
        "$stats:*": ["subscribe"], "$debug:*": ["subscribe", "history"], "**": ["subscribe", "history", "sign"],
    });
    assert_eq!(capabilities, expected);
    let kinds: Vec<_> = app.keys.iter().map(|key| (key.id == platform.id, key.kind)).collect();
    assert!(kinds.iter().all(|(is_platforms, kind)| *is_platforms == (*kind == KeyKind::Platform)), "{kinds:?}");
    Ok(())
}

#[tokio::test]
async fn every_change_of_an_app_gives_it_a_new_version_and_no_other() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    let mut seen = home.store.feed().all().await?.iter().map(|app| app.version).max().context("two apps")?;
    let behind = home.behind().await?;
    for change in 0..9 {
        match change {
            0 => drop(ann.app.update(1, AppChange { heartbeat_ms: Some(10_000), ..AppChange::default() }).await?),
            1 => drop(ann.app.rename_key(ann.account.key.id, 1, "other").await?),
            2 => drop(ann.app.revoke_key(ann.account.key.id).await?),
            3 => drop(ann.app.put_acl(1, Vec::new()).await?),
            4 => drop(ann.app.put_settings(1, Vec::new()).await?),
            5 => drop(ann.app.lower_limits(1, Limits::default()).await?),
            6 => {
                let suspend = sqlx::query("UPDATE tenants SET status = 'publish_blocked' WHERE id = $1");
                suspend.bind(ann.tenant.id().to_bytes()).execute(&behind).await?;
            }
            7 => {
                let move_up = sqlx::query("UPDATE tenants SET plan = 'pro' WHERE id = $1");
                move_up.bind(ann.tenant.id().to_bytes()).execute(&behind).await?;
            }
            _ => {
                let limits = r#"{"connections": {"max": 7}}"#;
                let edit = sqlx::query("UPDATE plans SET limits = $1::jsonb WHERE name = 'pro'");
                edit.bind(limits).execute(&behind).await?;
            }
        }
        let changed = home.store.feed().since(seen).await?;
        assert_eq!(changed.iter().map(|app| app.id).collect::<Vec<_>>(), [ann.app.id()], "change {change}");
        seen = changed[0].version;
    }
    let app = newer(&home, &ann, 0).await?;
    assert_eq!((app.heartbeat_ms, app.status), (10_000, AppStatus::Suspended(Block::Publish)));
    assert_eq!(app.limits.get(Limit::Connections), LimitValue::count(7));
    assert_eq!(newer(&home, &bob, 0).await?.limits, Limits::default());
    ann.app.update(2, AppChange { name: Some("no node knows names".to_owned()), ..AppChange::default() }).await?;
    assert!(home.store.feed().since(seen).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn whoever_polls_while_others_write_misses_nothing() -> Result<()> {
    let home = home().await?;
    let names: Vec<String> = (0..6).map(|number| format!("tenant{number}")).collect();
    let mut tenants = Vec::new();
    for name in &names {
        tenants.push(home.sign_up(name).await?);
    }
    let write = |tenant: Tenant| async move {
        for version in 1..=15 {
            tenant.app.put_acl(version, Vec::new()).await?;
        }
        anyhow::Ok(())
    };
    let mut writers: tokio::task::JoinSet<_> = tenants.iter().cloned().map(write).collect();
    let (mut seen, mut latest) = (0, std::collections::HashMap::new());
    let mut done = false;
    while !done {
        // The last poll comes after the last writer is done: from then on nothing may be missing.
        done = writers.is_empty();
        for app in home.store.feed().since(seen).await? {
            assert!(app.version > seen, "versions come in their order");
            seen = app.version;
            latest.insert(app.id, app);
        }
        if let Some(result) = writers.try_join_next() {
            result??;
        }
    }
    let all = home.store.feed().all().await?;
    assert_eq!(all.len(), latest.len());
    for app in all {
        assert_eq!(app.version, latest[&app.id].version);
    }
    Ok(())
}

#[tokio::test]
async fn listeners_hear_which_app_changed_also_after_their_connection_was_cut() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let mut changes = home.store.feed().listen().await?;
    sqlx::query("NOTIFY fanfare_apps, 'no id'").execute(&home.behind().await?).await?;
    ann.app.put_acl(1, Vec::new()).await?;
    let soon = Duration::from_secs(10);
    assert_eq!(tokio::time::timeout(soon, changes.next()).await??, Change::App(ann.app.id()));
    home.database.cut_connections().await?;
    while tokio::time::timeout(soon, changes.next()).await?.ok() != Some(Change::Reconnected) {}
    // Connections of the pool were cut too; the first use of each notices.
    while ann.app.put_acl(2, Vec::new()).await.is_err_and(|error| error.is_temporary()) {}
    assert_eq!(tokio::time::timeout(soon, changes.next()).await??, Change::App(ann.app.id()));
    Ok(())
}

#[tokio::test]
async fn an_override_holds_until_it_ends_and_its_end_is_a_change() -> Result<()> {
    let home = home().await?;
    let mut held = Limits::default();
    held.set(Limit::Connections, LimitValue::count(20));
    let ann = home.sign_up_held("ann", held).await?;
    let app = newer(&home, &ann, 0).await?;
    assert_eq!(app.limits.get(Limit::Connections), LimitValue::count(20));
    assert_eq!(ann.app.limits().await?.overridden.get(Limit::Connections), LimitValue::count(20));
    let end = sqlx::query("UPDATE app_limits SET overridden_until = to_timestamp(1800000000 + 3600)");
    end.execute(&home.behind().await?).await?;
    let app = newer(&home, &ann, app.version).await?;
    home.clock.advance(Duration::from_secs(3599));
    assert!(home.store.feed().since(app.version).await?.is_empty());
    home.clock.advance(Duration::from_secs(1));
    let app = newer(&home, &ann, app.version).await?;
    assert_eq!(app.limits, Limits::default());
    assert!(home.store.feed().since(app.version).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_revoked_key_stays_known_for_as_long_as_its_tokens_could_live() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    ann.app.revoke_key(ann.account.key.id).await?;
    let state = |app: &App| app.key(ann.account.key.id).map(|key| key.state);
    home.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(state(&newer(&home, &ann, 0).await?), Some(KeyState::Revoked));
    home.clock.advance(Duration::from_secs(3601));
    assert_eq!(state(&newer(&home, &ann, 0).await?), None);
    Ok(())
}

#[tokio::test]
async fn settings_come_most_specific_first() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let settings = |text: &str| -> Result<ChannelSettings> {
        let pattern = Pattern::parse(text)?;
        Ok(ChannelSettings { pattern, history: History::NONE, ..ChannelSettings::defaults().clone() })
    };
    let written = vec![settings("**")?, settings("room:9")?, settings("room:*")?];
    assert_eq!(ann.app.put_settings(1, written.clone()).await?.settings, written);
    assert_eq!(ann.app.settings().await?.settings, written);
    let app = newer(&home, &ann, 0).await?;
    let patterns: Vec<String> = app.settings.iter().map(|settings| settings.pattern.to_string()).collect();
    assert_eq!(patterns, ["room:9", "room:*", "**"]);
    Ok(())
}

#[tokio::test]
async fn an_app_that_cannot_be_read_lets_nobody_in_and_harms_no_other() -> Result<()> {
    for damage in [
        r#"UPDATE acls SET rules = '[{"effect": "of a later version"}]' WHERE app_id = $1"#,
        r#"UPDATE channel_settings SET settings = '[1]' WHERE app_id = $1"#,
        r#"UPDATE app_limits SET lowered = '{"connections": "many"}' WHERE app_id = $1"#,
        "DELETE FROM app_limits WHERE app_id = $1",
        "DELETE FROM acls WHERE app_id = $1",
    ] {
        let home = home().await?;
        let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
        let before = newer(&home, &ann, 0).await?.version;
        sqlx::query(damage).bind(ann.app.id().to_bytes()).execute(&home.behind().await?).await?;
        let app = newer(&home, &ann, before).await.context(damage)?;
        assert_eq!(app.status, AppStatus::Suspended(Block::All), "{damage}");
        assert_eq!(newer(&home, &bob, 0).await?.status, AppStatus::Active);
    }
    Ok(())
}
