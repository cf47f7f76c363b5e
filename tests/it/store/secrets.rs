//! Secrets at rest, and the rotation of the master key.

use anyhow::{Context, Result};
use fanfare_core::capability::Operations;
use fanfare_core::{Capabilities, Operation, Pattern};
use fanfare_store::{Begun, MasterKey, NewKey, Store, StoreError};
use harness::store::{Home, MASTER_KEY, home, options};

/// Every row of every table as text.
async fn dump(home: &Home) -> Result<String> {
    let pool = home.behind().await?;
    let text = sqlx::query_scalar(
        "SELECT string_agg(query_to_xml(format('SELECT * FROM %s', oid::regclass), true, false, '')::text, '')
         FROM pg_class WHERE relnamespace = 'fanfare'::regnamespace AND relkind = 'r'",
    );
    Ok(text.fetch_one(&pool).await?)
}

#[tokio::test]
async fn a_copy_of_the_database_opens_nothing() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let welcome = home.store.auth().welcome("x").await?;
    assert!(welcome.is_none());
    let answers = ann.tenant.idempotency();
    let Begun::New(reservation) = answers.begin("one", [1; 32]).await? else { anyhow::bail!("new") };
    ann.answer(reservation, "staging", ann.account.key.expose().as_bytes()).await?;
    let text = dump(&home).await?;
    assert!(text.contains("ann@example.com"), "the dump is whole");
    let platform = ann.app.platform_key().await?;
    let platform = std::str::from_utf8(platform.secret.expose())?;
    for secret in [ann.account.key.secret.expose(), platform, ann.account.session.token.expose()] {
        // The last four characters are shown to people; bytes appear as base64 in this dump, and in hex nowhere.
        let body = &secret[4..secret.len() - 4];
        let hex: String = body.bytes().map(|byte| format!("{byte:02x}")).collect();
        let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, secret);
        for form in [body, &hex, &base64[..40]] {
            assert!(!text.contains(form), "a secret is in the database");
        }
    }
    Ok(())
}

#[tokio::test]
async fn only_keys_that_may_sign_can_be_opened_again() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let publish = Operations::NONE.with(Operation::Publish);
    let capabilities = Capabilities::new(vec![(Pattern::parse("**")?, publish)]);
    let (key, _) =
        ann.app.create_key(NewKey { name: "publisher".to_owned(), capabilities, expires_at: None }, None).await?;
    let sealed: Vec<(Vec<u8>, bool)> =
        sqlx::query_as("SELECT id, sealed IS NOT NULL FROM keys").fetch_all(&home.behind().await?).await?;
    assert_eq!(sealed.len(), 3);
    for (id, sealed) in sealed {
        assert_eq!(sealed, id != key.id.to_bytes());
    }
    let app = &home.store.feed().all().await?[0];
    assert!(app.key(key.id).context("in the snapshot")?.signing_secret.is_none());
    Ok(())
}

#[tokio::test]
async fn the_master_key_is_rotated_without_anybody_noticing() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let answers = ann.tenant.idempotency();
    let Begun::New(reservation) = answers.begin("one", [1; 32]).await? else { anyhow::bail!("new") };
    ann.answer(reservation, "staging", b"kept").await?;
    let secret = ann.app.platform_key().await?.secret;
    let version = home.store.feed().all().await?[0].version;
    let (new, old) = (MasterKey::new([8; 32]), MASTER_KEY);
    let alone = Store::connect(options(&home.database, &home.clock, new.clone())).await;
    assert!(matches!(alone, Err(StoreError::Seal { .. })), "another key opens nothing, and says so at the start");
    let both = Store::connect(options(&home.database, &home.clock, new.clone().with_previous(old))).await?;
    assert_eq!(
        both.reseal_all().await?,
        8,
        "three keys, those of positions, tickets and partitions, the pepper, one answer"
    );
    assert_eq!(both.reseal_all().await?, 0);
    let rotated = Store::connect(options(&home.database, &home.clock, new)).await?;
    let member = rotated.member(fanfare_store::Actor { user: ann.account.user.id, ip: None });
    assert_eq!(member.app(ann.app.id()).await?.platform_key().await?.secret, secret);
    let answers = member.tenant(ann.tenant.id()).await?.idempotency();
    assert!(matches!(answers.begin("one", [1; 32]).await?, Begun::Replay(answer) if answer.body == b"kept"));
    let app = &rotated.feed().all().await?[0];
    assert_eq!((app.version, app.signing_keys().count()), (version, 2), "nothing changed for nodes");
    Ok(())
}

#[tokio::test]
async fn a_sealed_secret_moved_to_another_row_does_not_open() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    sqlx::query("UPDATE keys SET sealed = (SELECT sealed FROM keys WHERE id = $1) WHERE id = $2")
        .bind(bob.app.platform_key().await?.id.to_bytes())
        .bind(ann.app.platform_key().await?.id.to_bytes())
        .execute(&home.behind().await?)
        .await?;
    assert!(matches!(ann.app.platform_key().await, Err(StoreError::Seal { .. })));
    let apps = home.store.feed().all().await?;
    let app = apps.iter().find(|app| app.id == ann.app.id()).context("still there")?;
    assert_eq!(app.keys.len(), 1, "the other key of the app works on");
    Ok(())
}
