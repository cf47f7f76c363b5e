//! People.

use std::fmt;

use chrono::{DateTime, Utc};
use fanfare_core::id::UserId;

use crate::{MemberStore, StoreError};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// Their id.
    pub id: UserId,
    /// Their address, as typed at sign-up.
    pub email: String,
    /// When they signed up.
    pub created_at: DateTime<Utc>,
}

/// What is needed to check a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who it is.
    pub user: UserId,
    /// The password's hash as a PHC string.
    pub password_hash: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: [u8; 16],
    email: String,
    created_at: DateTime<Utc>,
}

impl MemberStore {
    /// The person.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such account.
    pub async fn profile(&self) -> Result<UserRecord, StoreError> {
        let mut tx = self.begin().await?;
        let row: Row = sqlx::query_as("SELECT id, email, created_at FROM users WHERE id = $1")
            .bind(self.user().to_bytes())
            .fetch_one(&mut *tx)
            .await?;
        Ok(UserRecord { id: UserId::from_bytes(row.id), email: row.email, created_at: row.created_at })
    }
}
