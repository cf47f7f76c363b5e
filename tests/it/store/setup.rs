//! Migrating and starting.

use std::sync::Arc;

use anyhow::Result;
use fanfare_store::{MasterKey, Store, StoreError, StoreOptions};
use harness::postgres;
use harness::store::{MASTER_KEY, home, options};
use sqlx::AssertSqlSafe;

#[tokio::test]
async fn servers_that_start_at_once_migrate_once() -> Result<()> {
    let (one, two) = tokio::try_join!(postgres::empty_database(), postgres::empty_database())?;
    let (a, b, c) = tokio::join!(Store::migrate(&one.url), Store::migrate(&one.url), Store::migrate(&two.url));
    a?;
    b?;
    c?;
    Store::migrate(&one.url).await?;
    Ok(())
}

#[tokio::test]
async fn a_database_that_was_not_migrated_is_refused() -> Result<()> {
    let home = home().await?;
    let empty = postgres::empty_database().await?;
    let refused = Store::connect(options(&empty, &home.clock, MasterKey::new(MASTER_KEY))).await;
    assert!(matches!(refused, Err(StoreError::Schema { found: 0, .. })), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn a_database_that_a_newer_version_migrated_is_served() -> Result<()> {
    let home = home().await?;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of a later version', true, '', 0)",
    )
    .execute(&home.behind().await?)
    .await?;
    Store::migrate(&home.database.url).await?;
    Store::connect(options(&home.database, &home.clock, MasterKey::new(MASTER_KEY))).await?;
    Ok(())
}

#[tokio::test]
async fn a_login_that_cannot_take_the_roles_on_is_refused_by_name() -> Result<()> {
    let home = home().await?;
    let guest = format!("guest_{}", home.database.name);
    let login = home.database.pool().await?;
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE ROLE {guest} LOGIN"))).execute(&login).await?;
    let url = home.database.url.replace("fanfare_login@", &format!("{guest}@"));
    let clock: Arc<dyn fanfare_core::Clock> = home.clock.clone();
    let refused = Store::connect(StoreOptions::new(url.as_str(), MasterKey::new(MASTER_KEY), clock)).await;
    let check = Store::check_roles(&url).await;
    let migrated = Store::migrate(&url).await;
    sqlx::raw_sql(AssertSqlSafe(format!("DROP ROLE {guest}"))).execute(&login).await?;
    assert!(matches!(refused, Err(StoreError::Role { role: "fanfare_app", .. })), "{refused:?}");
    assert!(matches!(migrated, Err(StoreError::Role { role: "fanfare_owner", .. })), "{migrated:?}");
    assert!(matches!(check, Err(StoreError::Role { role: "fanfare_app", .. })), "{check:?}");
    Ok(())
}

#[tokio::test]
async fn every_server_has_the_same_keys() -> Result<()> {
    let home = home().await?;
    let other = Store::connect(options(&home.database, &home.clock, MasterKey::new(MASTER_KEY))).await?;
    let channel = fanfare_core::ChannelKey::from_broker(fanfare_core::id::AppId::new(1, 1), "a".parse()?);
    let lineage = fanfare_core::Lineage { epoch: 1, term: 2, nonce: 3 };
    let text = format!("{}.1", home.store.feed().position_key().await?.seal(&channel, lineage));
    assert!(other.feed().position_key().await?.open(&channel, &text).is_ok());
    let tickets = home.store.feed().ticket_keys().await?;
    assert_eq!(other.feed().ticket_keys().await?, tickets);
    assert!(fanfare_engine::TicketKeys::new(tickets).is_some());
    let partitions = home.store.feed().partition_key().await?;
    assert!(partitions.expose().len() == 32 && other.feed().partition_key().await? == partitions);
    Ok(())
}

#[tokio::test]
async fn a_database_that_is_away_is_said_to_be() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    home.store.ping().await?;
    home.database.set_reachable(false).await?;
    let away = |answer: Result<(), StoreError>| {
        assert!(answer.as_ref().is_err_and(StoreError::is_temporary), "{answer:?}");
    };
    away(home.store.ping().await);
    away(ann.app.acl().await.map(drop));
    away(home.store.feed().all().await.map(drop));
    home.database.set_reachable(true).await?;
    home.store.ping().await?;
    ann.app.put_acl(1, Vec::new()).await?;
    Ok(())
}
