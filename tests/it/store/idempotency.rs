//! Repeated requests.

use std::time::Duration;

use anyhow::{Result, bail};
use fanfare_store::{ANSWER_BYTES_MAX, Begun, Idempotency, Reservation, StoreError, StoredAnswer};
use harness::store::home;

const HASH: [u8; 32] = [1; 32];

async fn reserve(answers: &Idempotency, key: &str) -> Result<Reservation> {
    match answers.begin(key, HASH).await? {
        Begun::New(reservation) => Ok(reservation),
        Begun::Replay(answer) => bail!("{answer:?} was kept"),
    }
}

async fn replay(answers: &Idempotency, key: &str) -> Result<StoredAnswer> {
    match answers.begin(key, HASH).await? {
        Begun::Replay(answer) => Ok(answer),
        Begun::New(_) => bail!("nothing was kept"),
    }
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_for_a_day() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let answers = ann.tenant.idempotency();
    let reservation = reserve(&answers, "one").await?;
    let meanwhile = answers.begin("one", HASH).await;
    assert!(matches!(meanwhile, Err(StoreError::IdempotencyBusy)), "{meanwhile:?}");
    ann.answer(reservation, "staging", b"{\"secret\":\"ffs_\"}").await?;
    let kept = StoredAnswer { status: 201, body: b"{\"secret\":\"ffs_\"}".to_vec() };
    assert_eq!(replay(&answers, "one").await?, kept);
    let other = answers.begin("one", [2; 32]).await;
    assert!(matches!(other, Err(StoreError::IdempotencyReused)), "{other:?}");
    home.clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(replay(&answers, "one").await?, kept);
    home.clock.advance(Duration::from_secs(3601));
    reserve(&answers, "one").await?;
    Ok(())
}

#[tokio::test]
async fn a_key_counts_within_its_tenant_or_user_only() -> Result<()> {
    let home = home().await?;
    let (ann, bob) = (home.sign_up("ann").await?, home.sign_up("bob").await?);
    let all = [
        (&ann, ann.tenant.idempotency(), "by tenant"),
        (&ann, ann.member.idempotency(), "by user"),
        (&bob, bob.tenant.idempotency(), "by tenant"),
    ];
    for (tenant, answers, name) in all {
        let reservation = reserve(&answers, "one").await?;
        tenant.answer(reservation, name, name.as_bytes()).await?;
        assert_eq!(replay(&answers, "one").await?.body, name.as_bytes());
    }
    Ok(())
}

#[tokio::test]
async fn a_reservation_ends_when_given_up_and_when_nobody_came_back() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let answers = ann.tenant.idempotency();
    let given_up = reserve(&answers, "one").await?;
    answers.abandon(&given_up).await?;
    let lost = reserve(&answers, "one").await?;
    home.clock.advance(Duration::from_secs(61));
    let other = answers.begin("one", [2; 32]).await;
    assert!(matches!(other, Err(StoreError::IdempotencyReused)), "{other:?}");
    let taken_over = reserve(&answers, "one").await?;
    let late = ann.answer(lost.clone(), "staging", b"late").await;
    assert!(matches!(late, Err(StoreError::IdempotencyBusy)), "{late:?}");
    ann.answer(taken_over.clone(), "staging", b"in time").await?;
    // Once more, as when the answer to a commit was lost: what was made stays, once, with its answer.
    let again = ann.answer(taken_over.clone(), "another", b"again").await;
    assert!(matches!(again, Err(StoreError::IdempotencyBusy)), "{again:?}");
    for request in [lost, taken_over] {
        answers.abandon(&request).await?;
    }
    assert_eq!(replay(&answers, "one").await?.body, b"in time");
    let names: Vec<String> = sqlx::query_scalar("SELECT name FROM apps WHERE name <> $1")
        .bind(&ann.account.app.name)
        .fetch_all(&home.behind().await?)
        .await?;
    assert_eq!(names, ["staging"]);
    Ok(())
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_number() -> Result<()> {
    let home = home().await?;
    let ann = home.sign_up("ann").await?;
    let answers = ann.tenant.idempotency();
    let reservation = reserve(&answers, "large").await?;
    ann.answer(reservation, "large", &vec![b'x'; ANSWER_BYTES_MAX]).await?;
    assert_eq!(replay(&answers, "large").await?.body.len(), ANSWER_BYTES_MAX);
    let reservation = reserve(&answers, "too large").await?;
    let refused = ann.answer(reservation, "too large", &vec![b'x'; ANSWER_BYTES_MAX + 1]).await;
    assert!(matches!(refused, Err(StoreError::AnswerTooLarge { .. })), "{refused:?}");
    for number in 0..1_010 {
        home.clock.advance(Duration::from_millis(1));
        reserve(&answers, &number.to_string()).await?;
    }
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM idempotency_keys").fetch_one(&home.behind().await?).await?;
    assert_eq!(count, 1_000);
    for key in ["", &"x".repeat(256)] {
        let refused = answers.begin(key, HASH).await;
        assert!(matches!(refused, Err(StoreError::NotStorable)), "{refused:?}");
    }
    Ok(())
}
