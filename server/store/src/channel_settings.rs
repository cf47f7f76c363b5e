//! Channel settings: one document per app.

use fanfare_core::ChannelSettings;
use serde_json::json;
use sqlx::types::Json;

use crate::audit::Entry;
use crate::{AppStore, StoreError};

/// An app's channel settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsRecord {
    /// Grows with every change: the ETag.
    pub version: u64,
    /// Per pattern.
    pub settings: Vec<ChannelSettings>,
}

#[derive(sqlx::FromRow)]
struct Row {
    revision: i64,
    settings: Json<Vec<ChannelSettings>>,
}

impl Row {
    fn record(self) -> SettingsRecord {
        SettingsRecord { version: self.revision.cast_unsigned(), settings: self.settings.0 }
    }
}

impl AppStore {
    /// Its channel settings.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn settings(&self) -> Result<SettingsRecord, StoreError> {
        let mut tx = self.begin().await?;
        let row: Row = sqlx::query_as("SELECT revision, settings FROM channel_settings WHERE app_id = $1")
            .bind(self.id().to_bytes())
            .fetch_one(&mut *tx)
            .await?;
        Ok(row.record())
    }

    /// Replaces its channel settings. `expected` is the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when they have another version by now.
    pub async fn put_settings(
        &self,
        expected: u64,
        settings: Vec<ChannelSettings>,
    ) -> Result<SettingsRecord, StoreError> {
        let mut write = self.write().await?;
        let before: Row =
            sqlx::query_as("SELECT revision, settings FROM channel_settings WHERE app_id = $1 FOR UPDATE")
                .bind(self.id().to_bytes())
                .fetch_one(&mut *write.tx)
                .await?;
        let before = before.record();
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        let after: Row = sqlx::query_as(
            "UPDATE channel_settings SET settings = $2, revision = revision + 1 WHERE app_id = $1
             RETURNING revision, settings",
        )
        .bind(self.id().to_bytes())
        .bind(Json(settings))
        .fetch_one(&mut *write.tx)
        .await?;
        let after = after.record();
        let entry = Entry::new("channel_settings.replaced", self.id()).in_app(self.id());
        let entry = entry.before(json!({ "settings": before.settings })).after(json!({ "settings": after.settings }));
        write.commit(self.inner(), entry).await?;
        Ok(after)
    }
}
