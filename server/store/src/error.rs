//! What can go wrong in the store, and the one place where Postgres's words become ours.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::seal::SealError;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not exist, or belongs to somebody else: nobody is told which.
    #[error("not found")]
    NotFound,
    /// Somebody else changed it since it was read.
    #[error("it was changed meanwhile and is at version {current}")]
    Stale {
        /// The version it has now.
        current: u64,
    },
    /// It conflicts with what is there.
    #[error("{0}")]
    Conflict(Conflict),
    /// As many as may be exist already.
    #[error("there are {max} {what} already, which is the most")]
    Full {
        /// What there are too many of, in the plural.
        what: &'static str,
        /// The most of them.
        max: u32,
    },
    /// A rule of a new ACL has an id that the present one does not know.
    #[error("rule {index} has an id that no rule of this app has; leave the id of a new rule out")]
    UnknownRule {
        /// Which rule, counted from 0.
        index: usize,
    },
    /// A text holds U+0000, or a value is outside what its column admits. Callers check first; this is the net below.
    #[error("a value cannot be stored: a text holds U+0000, or something is out of its bounds")]
    NotStorable,
    /// The cursor was not given out by this list.
    #[error("the cursor is not one that this list gave out")]
    InvalidCursor,
    /// The same `Idempotency-Key` came before with another request.
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyReused,
    /// The first request with this `Idempotency-Key` is still being worked on.
    #[error("the request with this Idempotency-Key is still being worked on")]
    IdempotencyBusy,
    /// The answer is too large to be kept for a repeated request.
    #[error("the answer has {bytes} bytes; at most {max} are kept for a repeated request")]
    AnswerTooLarge {
        /// Its size.
        bytes: usize,
        /// The most.
        max: usize,
    },
    /// The answer that is to be kept does not print.
    #[error("an answer does not print as JSON")]
    NotPrintable(#[source] serde_json::Error),
    /// A database role is not as it must be; the server must not start.
    #[error("the database role {role} {problem}")]
    Role {
        /// Which role.
        role: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The database URL cannot be read.
    #[error("the database URL is not valid: {0}")]
    Url(String),
    /// The database was not migrated to what this version needs.
    #[error("the database is at migration {found}, this version needs {needed}: run `fanfare migrate`")]
    Schema {
        /// The newest migration that was applied.
        found: i64,
        /// The newest migration this version knows.
        needed: i64,
    },
    /// Migrating failed.
    #[error("migrating the database failed: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Something sealed cannot be opened: another master key, or altered bytes.
    #[error("{what}: {source}")]
    Seal {
        /// What was to be opened.
        what: &'static str,
        /// Why it cannot be.
        source: SealError,
    },
    /// A row holds what this version cannot read.
    #[error("a row of {table} cannot be read: {reason}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Postgres cannot be reached, or gave up for now. Nothing was changed, or the outcome is unknown if it was lost
    /// during the commit; trying again later is right.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] sqlx::Error),
    /// A defect: a statement, a row or a right is not as the code expects.
    #[error("the database refused a statement: {0}")]
    Database(#[source] sqlx::Error),
}

/// What a change conflicts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// An account with this address exists.
    #[error("an account with this e-mail address exists already")]
    EmailTaken,
    /// An app of the tenant has this name.
    #[error("the tenant has an app of this name already")]
    AppNameTaken,
    /// The key was revoked.
    #[error("the key is revoked, which is for ever")]
    KeyRevoked,
    /// The password was changed meanwhile.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
}

impl From<Conflict> for StoreError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

/// Names of constraints that say something to whoever asked.
fn conflict(constraint: &str) -> Option<Conflict> {
    match constraint {
        "users_email_key" => Some(Conflict::EmailTaken),
        "apps_name_key" => Some(Conflict::AppNameTaken),
        _ => None,
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::NotFound,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(refusal) => {
                let code = refusal.code().unwrap_or_default();
                let fatal = refusal.try_downcast_ref::<PgDatabaseError>().is_some_and(is_fatal);
                match (refusal.constraint().and_then(conflict), code.get(..2).unwrap_or_default()) {
                    (Some(conflict), _) => Self::Conflict(conflict),
                    // Connection lost, rolled back for another transaction, out of resources, stopped by an operator
                    // or a timeout, a lock that was not free in time.
                    (None, "08" | "40" | "53" | "57") => Self::Unavailable(error),
                    // No such login or database: waiting does not help.
                    (None, "28" | "3D") => Self::Database(error),
                    // What else ends a connection leaves no database to work with just now.
                    (None, _) if fatal => Self::Unavailable(error),
                    (None, _) if code == "55P03" => Self::Unavailable(error),
                    // U+0000 in a text and in JSON, and checks of the schema.
                    (None, _) if matches!(&*code, "22021" | "22P05" | "23514") => Self::NotStorable,
                    (None, _) => Self::Database(error),
                }
            }
            _ => Self::Database(error),
        }
    }
}

fn is_fatal(error: &PgDatabaseError) -> bool {
    matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic)
}

impl StoreError {
    /// A row that cannot be read.
    pub(crate) fn corrupt(table: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { table, reason: reason.to_string() }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::IdempotencyBusy)
    }
}
