//! Sessions of the dashboard. The token is in the browser's cookie; Postgres knows its SHA-256.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare_core::id::{SessionId, UserId};
use sqlx::PgConnection;

use crate::store::Inner;
use crate::{Auth, Origin, StoreError, Token, chance};

/// How long a session may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTerms {
    /// From signing in, whatever happens.
    pub lifetime: Duration,
}

/// A session just opened.
#[derive(Debug, Clone)]
pub struct OpenedSession {
    /// Its id.
    pub id: SessionId,
    /// What the cookie holds.
    pub token: Token,
    /// When it ends whatever happens.
    pub expires_at: DateTime<Utc>,
}

/// A session found by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// When it ends whatever happens.
    pub expires_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: [u8; 16],
    user_id: [u8; 16],
    expires_at: DateTime<Utc>,
}

/// Opens a session inside a transaction of fanfare_auth.
pub(crate) async fn open(
    connection: &mut PgConnection,
    inner: &Inner,
    user: UserId,
    origin: &Origin,
    terms: SessionTerms,
) -> Result<OpenedSession, StoreError> {
    let (id, token, now) = (SessionId::new(inner.unix_ms(), chance::id_bits()), Token::draw(), inner.now());
    let expires_at = now + terms.lifetime;
    sqlx::query("SELECT auth_open_session($1, $2, $3, $4, $5, $6, $7)")
        .bind(id.to_bytes())
        .bind(user.to_bytes())
        .bind(token.hash())
        .bind(origin.ip.as_deref())
        .bind(origin.user_agent.as_deref().map(|name| name.chars().take(200).collect::<String>()))
        .bind(now)
        .bind(expires_at)
        .execute(connection)
        .await?;
    Ok(OpenedSession { id, token, expires_at })
}

impl Auth {
    /// Signs in somebody whose password was checked.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn open_session(
        &self,
        user: UserId,
        origin: &Origin,
        terms: SessionTerms,
    ) -> Result<OpenedSession, StoreError> {
        let mut connection = self.inner.auth.acquire().await?;
        open(&mut connection, &self.inner, user, origin, terms).await
    }

    /// The session behind a cookie, unless it ended or was idle for longer than `idle_max`; marks it as used.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn session(&self, token: &Token, idle_max: Duration) -> Result<Option<SessionRecord>, StoreError> {
        let now = self.inner.now();
        let row: Option<Row> = sqlx::query_as("SELECT id, user_id, expires_at FROM auth_session($1, $2, $3)")
            .bind(token.hash())
            .bind(now)
            .bind(now - idle_max)
            .fetch_optional(&self.inner.auth)
            .await?;
        Ok(row.map(|row| SessionRecord {
            id: SessionId::from_bytes(row.id),
            user: UserId::from_bytes(row.user_id),
            expires_at: row.expires_at,
        }))
    }

    /// Signs out; a session that is not there is no error.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn close_session(&self, token: &Token) -> Result<(), StoreError> {
        sqlx::query("SELECT auth_close_session($1)").bind(token.hash()).execute(&self.inner.auth).await?;
        Ok(())
    }
}
