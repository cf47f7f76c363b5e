//! Repeated requests: the answer to a request with an `Idempotency-Key` is kept for a day and given again.
//!
//! Whoever comes first reserves the key for a minute and works; a repetition meanwhile is told to wait. The answer is kept
//! in the transaction of the work, so that whatever dies and whenever, both are there or neither is. Should nothing have
//! been done, the reservation runs out and a repetition works.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_core::id::RequestId;
use sqlx::PgConnection;

use crate::scope::{Scope, Tx};
use crate::store::Inner;
use crate::{Owner, StoreError, chance};

/// The largest answer that is kept.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How many answers are kept for one tenant or user; the oldest make room.
const ANSWERS_MAX: i64 = 1_000;
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);
const RESERVED_FOR: TimeDelta = TimeDelta::minutes(1);

/// An answer that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What to do with a request that has an `Idempotency-Key`.
#[derive(Debug)]
pub enum Begun {
    /// Work on it, and [`Keep`] the answer, or [`Idempotency::abandon`] it.
    New(Reservation),
    /// It was done: answer the same again.
    Replay(StoredAnswer),
}

/// The right to work on a request; nobody else works on it for a minute.
#[derive(Debug, Clone)]
pub struct Reservation {
    scope: Scope,
    key: String,
    id: [u8; 16],
}

/// How the answer to a reserved request is made of what the work made, to be kept together with it.
pub struct Keep<M> {
    reservation: Reservation,
    status: u16,
    print: Print<M>,
}

/// How what was made becomes a body.
type Print<M> = Box<dyn FnOnce(&M) -> Result<Vec<u8>, StoreError> + Send>;

impl<M> Keep<M> {
    /// Answers this request with this HTTP status and a body.
    pub fn new(
        reservation: Reservation,
        status: u16,
        print: impl FnOnce(&M) -> Result<Vec<u8>, StoreError> + Send + 'static,
    ) -> Self {
        Self { reservation, status, print: Box::new(print) }
    }

    /// Keeps the answer in the transaction of the work, as the last thing in it: it is the scope of the request's answers
    /// from here on. Refuses when the reservation had run out and somebody else took over, who does the work instead.
    pub(crate) async fn keep(self, tx: &mut PgConnection, inner: &Inner, made: &M) -> Result<(), StoreError> {
        let Self { reservation: Reservation { scope, key, id }, status, print } = self;
        let body = print(made)?;
        if body.len() > ANSWER_BYTES_MAX {
            return Err(StoreError::AnswerTooLarge { bytes: body.len(), max: ANSWER_BYTES_MAX });
        }
        scope.enter(tx).await?;
        let kept = sqlx::query(
            "UPDATE idempotency_keys SET status = $4, sealed = $5
             WHERE scope = $1 AND key = $2 AND reservation = $3 AND status IS NULL",
        )
        .bind(scope.to_bytes())
        .bind(&key)
        .bind(id)
        .bind(status.cast_signed())
        .bind(inner.master_key.seal(owner(&owner_id(scope, &key)), &body))
        .execute(tx)
        .await?;
        if kept.rows_affected() == 0 { Err(StoreError::IdempotencyBusy) } else { Ok(()) }
    }
}

/// Answers to the repeated requests of a tenant or a user.
#[derive(Clone)]
pub struct Idempotency {
    pub(crate) inner: Arc<Inner>,
    pub(crate) scope: Scope,
}

#[derive(sqlx::FromRow)]
struct Kept {
    request_hash: [u8; 32],
    status: Option<i16>,
    sealed: Option<Vec<u8>>,
}

impl Idempotency {
    /// Starts a request. The hash covers its method, path and body; the key has 1 to 255 characters.
    ///
    /// # Errors
    /// [`StoreError::IdempotencyReused`] when the key came with another request,
    /// [`StoreError::IdempotencyBusy`] while the first is being worked on.
    pub async fn begin(&self, key: &str, request_hash: [u8; 32]) -> Result<Begun, StoreError> {
        let now = self.inner.now();
        let mut tx = self.open().await?;
        self.forget_old(&mut tx, now).await?;
        let id = RequestId::new(self.inner.unix_ms(), chance::id_bits()).to_bytes();
        let reserved = sqlx::query(
            "INSERT INTO idempotency_keys (scope, key, request_hash, reservation, reserved_until, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (scope, key) DO UPDATE
                SET reservation = excluded.reservation, reserved_until = excluded.reserved_until
                WHERE idempotency_keys.status IS NULL AND idempotency_keys.reserved_until <= $7
                    AND idempotency_keys.request_hash = excluded.request_hash",
        )
        .bind(self.scope.to_bytes())
        .bind(key)
        .bind(request_hash)
        .bind(id)
        .bind(now + RESERVED_FOR)
        .bind(now + KEPT_FOR)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        let begun = match reserved.rows_affected() {
            0 => self.kept(&mut tx, key, request_hash).await.map(Begun::Replay),
            _ => Ok(Begun::New(Reservation { scope: self.scope, key: key.to_owned(), id })),
        };
        tx.commit().await?;
        begun
    }

    /// Forgets the request: it failed in a way that a repetition may mend. An answer that was kept stays: a commit whose
    /// own answer was lost may have been done.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn abandon(&self, reservation: &Reservation) -> Result<(), StoreError> {
        let mut tx = self.open().await?;
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE scope = $1 AND key = $2 AND reservation = $3 AND status IS NULL",
        )
        .bind(self.scope.to_bytes())
        .bind(&reservation.key)
        .bind(reservation.id)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn open(&self) -> Result<Tx, StoreError> {
        self.scope.begin(&self.inner.app).await
    }

    async fn forget_old(&self, connection: &mut PgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE scope = $1 AND (
                expires_at <= $2
                OR key IN (SELECT key FROM idempotency_keys WHERE scope = $1 ORDER BY expires_at DESC OFFSET $3)
            )",
        )
        .bind(self.scope.to_bytes())
        .bind(now)
        .bind(ANSWERS_MAX - 1)
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn kept(
        &self,
        connection: &mut PgConnection,
        key: &str,
        request_hash: [u8; 32],
    ) -> Result<StoredAnswer, StoreError> {
        let kept: Kept =
            sqlx::query_as("SELECT request_hash, status, sealed FROM idempotency_keys WHERE scope = $1 AND key = $2")
                .bind(self.scope.to_bytes())
                .bind(key)
                .fetch_one(connection)
                .await?;
        if kept.request_hash != request_hash {
            return Err(StoreError::IdempotencyReused);
        }
        let (Some(status), Some(sealed)) = (kept.status, kept.sealed) else {
            return Err(StoreError::IdempotencyBusy);
        };
        let opened = self.inner.master_key.open(owner(&owner_id(self.scope, key)), &sealed);
        let body = opened.map_err(|source| StoreError::Seal { what: "a kept answer does not open", source })?;
        Ok(StoredAnswer { status: status.cast_unsigned(), body: body.expose().to_vec() })
    }
}

/// What identifies the row, as `sealed_values` in the migrations spells it.
fn owner_id(scope: Scope, key: &str) -> Vec<u8> {
    [&scope.to_bytes(), key.as_bytes()].concat()
}

const fn owner(id: &[u8]) -> Owner<'_> {
    Owner { kind: "idempotency_keys", id }
}
