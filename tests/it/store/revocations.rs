//! Revocations of tokens.

use std::time::Duration;

use anyhow::Result;
use fanfare_core::id::KeyId;
use fanfare_core::revocation::{KEPT_FOR_MS, REVOCATIONS_MAX};
use fanfare_core::{Clock as _, Revocation, Revoked};
use fanfare_store::StoreError;
use harness::store::{Home, Tenant, home};

async fn kept(home: &Home, tenant: &Tenant) -> Result<Vec<Revocation>> {
    let apps = home.store.feed().all().await?;
    let app = apps.iter().find(|app| app.id == tenant.app.id());
    Ok(app.map_or_else(Vec::new, |app| app.revocations.iter().cloned().collect()))
}

#[tokio::test]
async fn revocations_stay_part_of_the_snapshot_for_tokens_that_do_not_say_when_they_were_issued() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    let key = KeyId::new(1, 1);
    let backend = home.store.backend(ann.tenant.id(), ann.app.id(), key);
    let now_ms = home.clock.unix_ms();
    let all = [
        Revoked::Token("t".into()),
        Revoked::User("u".into()),
        Revoked::Label("l".into()),
        Revoked::Key(key),
        Revoked::All,
    ];
    for revoked in &all {
        backend.revoke(revoked.clone(), now_ms).await?;
    }
    let held = kept(&home, &ann).await?;
    assert_eq!(held.iter().filter(|one| all.contains(&one.revoked) && one.issued_until_ms == now_ms).count(), 5);
    assert!(kept(&home, &bob).await?.is_empty());

    // The same again is one row, and never covers less.
    let again = backend.revoke(Revoked::All, now_ms - 1_000).await?;
    assert_eq!((again.issued_until_ms, kept(&home, &ann).await?.len()), (now_ms, 5));
    backend.end_revocation(again.id).await?;
    assert_eq!(kept(&home, &ann).await?.len(), 4);
    assert!(matches!(backend.end_revocation(again.id).await, Err(StoreError::NotFound)));
    // Another tenant's backend ends nothing here.
    let stranger = home.store.backend(bob.tenant.id(), bob.app.id(), key);
    assert!(matches!(stranger.end_revocation(held[0].id).await, Err(StoreError::NotFound)));

    home.clock.advance(Duration::from_millis(KEPT_FOR_MS + 1));
    assert_eq!(
        kept(&home, &ann).await?,
        held.into_iter().filter(|one| one.revoked != Revoked::All).collect::<Vec<_>>()
    );
    Ok(())
}

/// Fills an app up with copies of the one revocation that it has.
async fn fill(home: &Home) -> Result<()> {
    sqlx::query(
        "INSERT INTO revocations (tenant_id, app_id, id, kind, value, issued_until, expires_at, created_by_key, created_at)
         SELECT tenant_id, app_id, int8send(number) || int8send(number), kind, number::text, issued_until, expires_at,
            created_by_key, created_at
         FROM revocations, generate_series(2, $1) AS number",
    )
    .bind(i64::from(REVOCATIONS_MAX))
    .execute(&home.behind().await?)
    .await?;
    Ok(())
}

#[tokio::test]
async fn an_app_has_a_bounded_number_of_revocations_and_those_that_ended_first_go_first() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let backend = home.store.backend(ann.tenant.id(), ann.app.id(), KeyId::new(1, 1));
    let first = backend.revoke(Revoked::User("0".into()), home.clock.unix_ms()).await?;
    fill(&home).await?;
    let more = backend.revoke(Revoked::User("one more".into()), 1).await;
    assert!(matches!(more, Err(StoreError::Full { max: REVOCATIONS_MAX, .. })), "{more:?}");
    home.clock.advance(Duration::from_secs(1));
    let again = backend.revoke(first.revoked.clone(), home.clock.unix_ms()).await?;

    // All but the last have ended. What is revoked again loses nothing of what it covered.
    home.clock.advance(Duration::from_millis(KEPT_FOR_MS - 500));
    let last = backend.revoke(first.revoked, 1).await?;
    assert_eq!(last.issued_until_ms, again.issued_until_ms);
    assert_eq!(kept(&home, &ann).await?.len(), REVOCATIONS_MAX as usize);
    backend.revoke(Revoked::User("one more".into()), home.clock.unix_ms()).await?;
    let held = kept(&home, &ann).await?;
    assert_eq!(held.len(), REVOCATIONS_MAX as usize);
    assert!(["0", "one more"].iter().all(|user| held.iter().any(|one| one.revoked == Revoked::User((*user).into()))));
    Ok(())
}
