//! Accounts, sessions, memberships, and the first tenant of a fresh server.

use std::time::Duration;

use anyhow::{Context, Result};
use fanfare_core::id::{AppId, TenantId};
use fanfare_core::{Capabilities, Effect, Role, Who};
use fanfare_store::{Conflict, PageRequest, StoreError, Token};
use harness::store::{TERMS, home, new_account, origin};
use sha2::{Digest, Sha256};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn signing_up_makes_all_that_a_first_message_needs() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let memberships = ann.member.memberships().await?;
    assert_eq!(memberships.len(), 1);
    assert_eq!((memberships[0].role, memberships[0].name.as_str()), (Role::Owner, "ann"));
    assert_eq!(memberships[0].apps, [(ann.app.id(), "Production".to_owned())]);
    assert_eq!(ann.member.profile().await?, ann.account.user);
    assert_eq!(ann.app.record().await?, ann.account.app);
    let keys = ann.app.keys(&PageRequest::default()).await?;
    assert_eq!(keys.items.len(), 1, "the platform's own key is not listed");
    assert_eq!(keys.items[0].id, ann.account.key.id);
    assert_eq!(keys.items[0].capabilities, Capabilities::everything());
    let acl = ann.app.acl().await?;
    assert_eq!((acl.version, acl.rules.len()), (1, 1));
    assert_eq!(acl.rules[0].pattern.to_string(), "demo:**");
    assert_eq!((&acl.rules[0].who, acl.rules[0].effect), (&Who::Everyone, Effect::Allow));
    let session = home.store.auth().session(&ann.account.session.token, HOUR).await?.context("signed in")?;
    assert_eq!((session.user, session.id), (ann.account.user.id, ann.account.session.id));
    Ok(())
}

#[tokio::test]
async fn an_address_signs_up_once_and_a_refused_one_leaves_nothing() -> Result<()> {
    let home = home().await?;
    home.sign_up("ann").await?;
    let again = home.store.auth().sign_up(new_account("ANN"), &origin(), TERMS).await;
    assert!(matches!(again, Err(StoreError::Conflict(Conflict::EmailTaken))), "{again:?}");
    let tenants: i64 = sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(&home.behind().await?).await?;
    assert_eq!(tenants, 1);
    let found = home.store.auth().credentials("Ann@Example.COM").await?;
    assert!(found.is_some_and(|found| found.password_hash.starts_with("$argon2id$")));
    assert_eq!(home.store.auth().credentials("bob@example.com").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_password_hash_is_replaced_only_while_it_is_the_old_one() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let (auth, user) = (home.store.auth(), ann.account.user.id);
    let old = auth.credentials("ann@example.com").await?.context("exists")?.password_hash;
    auth.replace_password_hash(user, &old, "$argon2id$new").await?;
    let late = auth.replace_password_hash(user, &old, "$argon2id$late").await;
    assert!(matches!(late, Err(StoreError::Conflict(Conflict::PasswordChanged))), "{late:?}");
    assert_eq!(auth.credentials("ann@example.com").await?.context("exists")?.password_hash, "$argon2id$new");
    Ok(())
}

#[tokio::test]
async fn a_session_ends_when_idle_when_old_and_when_closed() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let (auth, user) = (home.store.auth(), ann.account.user.id);
    let used = auth.open_session(user, &origin(), TERMS).await?.token;
    let idle = auth.open_session(user, &origin(), TERMS).await?.token;
    for _ in 0..23 {
        home.clock.advance(HOUR - Duration::from_secs(60));
        assert!(auth.session(&used, HOUR).await?.is_some());
    }
    assert_eq!(auth.session(&idle, HOUR).await?, None, "idle for longer than an hour");
    home.clock.advance(HOUR / 2);
    assert!(auth.session(&used, HOUR).await?.is_some());
    home.clock.advance(HOUR);
    assert_eq!(auth.session(&used, 48 * HOUR).await?, None, "a day has passed");
    let closed = auth.open_session(user, &origin(), TERMS).await?.token;
    auth.close_session(&closed).await?;
    auth.close_session(&closed).await?;
    assert_eq!(auth.session(&closed, HOUR).await?, None);
    let unknown = Token::parse(&"A".repeat(43)).context("a token by its form")?;
    assert_eq!(auth.session(&unknown, HOUR).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_sessions() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    for _ in 0..30 {
        home.clock.advance(Duration::from_secs(1));
        home.store.auth().open_session(ann.account.user.id, &origin(), TERMS).await?;
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&home.behind().await?).await?;
    assert_eq!(count, 20);
    assert_eq!(home.store.auth().session(&ann.account.session.token, HOUR).await?, None, "the oldest went");
    Ok(())
}

#[tokio::test]
async fn what_is_not_theirs_does_not_exist_for_strangers() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    let nothing = |answer: Result<(), StoreError>| assert!(matches!(answer, Err(StoreError::NotFound)), "{answer:?}");
    nothing(bob.member.tenant(ann.tenant.id()).await.map(drop));
    nothing(bob.member.app(ann.app.id()).await.map(drop));
    nothing(bob.tenant.app(ann.app.id()).await.map(drop));
    nothing(bob.app.key(ann.account.key.id).await.map(drop));
    nothing(bob.app.rename_key(ann.account.key.id, 1, "mine").await.map(drop));
    nothing(bob.app.revoke_key(ann.account.key.id).await.map(drop));
    nothing(bob.member.tenant(TenantId::new(1, 1)).await.map(drop));
    nothing(bob.member.app(AppId::new(1, 1)).await.map(drop));
    assert_eq!(ann.app.key(ann.account.key.id).await?.name, "First key");
    Ok(())
}

#[tokio::test]
async fn a_key_is_found_by_its_id_until_it_is_revoked() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let found = home.store.auth().key(ann.account.key.id).await?.context("exists")?;
    assert_eq!((found.tenant, found.app), (ann.tenant.id(), ann.app.id()));
    let hash: [u8; 32] = Sha256::digest(ann.account.key.secret.expose()).into();
    assert_eq!(found.secret_hash, hash);
    let platform = ann.app.platform_key().await?;
    assert_eq!(home.store.auth().key(platform.id).await?, None, "the platform's key opens no door");
    ann.app.revoke_key(ann.account.key.id).await?;
    assert_eq!(home.store.auth().key(ann.account.key.id).await?, None);
    Ok(())
}

#[tokio::test]
async fn the_first_tenant_waits_for_whoever_has_the_newest_code() -> Result<()> {
    let home = home().await?;
    let auth = home.store.auth();
    let first = auth.welcome("My tenant").await?.context("an empty database")?;
    let second = auth.welcome("Another name").await?.context("nobody came yet")?;
    assert_eq!((first.tenant, first.app, &first.key), (second.tenant, second.app, &second.key));
    let claim = |code: Token, name: &'static str| {
        let auth = auth.clone();
        async move { auth.claim_welcome(&code, new_account(name), &origin(), TERMS).await }
    };
    assert!(matches!(claim(first.code, "eve").await, Err(StoreError::NotFound)), "a newer code was given out");
    let account = claim(second.code.clone(), "ann").await?;
    assert_eq!((account.tenant, account.app.id, &account.key), (second.tenant, second.app, &second.key));
    assert!(auth.session(&account.session.token, HOUR).await?.is_some());
    assert!(matches!(claim(second.code, "eve").await, Err(StoreError::NotFound)), "a code works once");
    assert!(auth.welcome("My tenant").await?.is_none());
    let member = home.store.member(fanfare_store::Actor { user: account.user.id, ip: None });
    let tenant = member.tenant(account.tenant).await?;
    assert_eq!((tenant.role(), tenant.record().await?.name.as_str()), (Role::Owner, "ann"));
    let actions: Vec<String> =
        tenant.audit(&PageRequest::default()).await?.items.into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["tenant.claimed", "tenant.created"]);
    Ok(())
}

#[tokio::test]
async fn a_server_whose_tenants_signed_up_needs_no_welcome() -> Result<()> {
    let home = home().await?;
    home.sign_up("ann").await?;
    assert!(home.store.auth().welcome("My tenant").await?.is_none());
    Ok(())
}
