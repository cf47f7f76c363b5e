//! ACLs: one row for each revision of an app's rules; the greatest is in force, the last fifty are kept.

use chrono::{DateTime, Utc};
use fanfare_core::capability::Operations;
use fanfare_core::id::{AppId, RuleId, UserId};
use fanfare_core::{Effect, Operation, Pattern, Rule, Who};
use serde_json::json;
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::audit::Entry;
use crate::scope::Write;
use crate::store::Inner;
use crate::{AppStore, StoreError, chance};

/// How many revisions are kept for going back.
const REVISIONS_KEPT: i64 = 50;

/// An app's ACL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRecord {
    /// Grows with every change: the ETag.
    pub version: u64,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// An ACL that is or was in force, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRevision {
    /// Its version.
    pub version: u64,
    /// How many rules it has.
    pub rules: u32,
    /// Who put it in force; `None` for the platform.
    pub created_by: Option<UserId>,
    /// When.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct RevisionRow {
    revision: i64,
    rules: i32,
    created_by: Option<[u8; 16]>,
    created_at: DateTime<Utc>,
}

impl RevisionRow {
    fn revision(self) -> AclRevision {
        AclRevision {
            version: self.revision.cast_unsigned(),
            rules: self.rules.cast_unsigned(),
            created_by: self.created_by.map(UserId::from_bytes),
            created_at: self.created_at,
        }
    }
}

/// A rule as written; rules without an id are given one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDraft {
    /// The id that the rule has in the present ACL.
    pub id: Option<RuleId>,
    /// The channels.
    pub pattern: Pattern,
    /// The clients.
    pub who: Who,
    /// The operations.
    pub operations: Operations,
    /// Give or take.
    pub effect: Effect,
}

/// What every new app starts with: everyone may subscribe and publish on `demo:**`.
pub(crate) async fn insert_starter(write: &mut Write, inner: &Inner, app: AppId) -> Result<(), StoreError> {
    let rule = Rule {
        id: RuleId::new(inner.unix_ms(), chance::id_bits()),
        pattern: Pattern::parse("demo:**").expect("`demo:**` is a pattern"),
        who: Who::Everyone,
        operations: [Operation::Subscribe, Operation::Publish].into_iter().collect(),
        effect: Effect::Allow,
    };
    insert(write, inner, app, 1, &[rule]).await.map(drop)
}

/// Adds a revision; whether nobody had added the same one before.
async fn insert(
    write: &mut Write,
    inner: &Inner,
    app: AppId,
    revision: i64,
    rules: &[Rule],
) -> Result<bool, StoreError> {
    let added = sqlx::query(
        "INSERT INTO acls (tenant_id, app_id, revision, rules, created_by, created_at) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (app_id, revision) DO NOTHING",
    )
    .bind(write.tenant.to_bytes())
    .bind(app.to_bytes())
    .bind(revision)
    .bind(Json(rules))
    .bind(write.actor.map(UserId::to_bytes))
    .bind(inner.now())
    .execute(&mut *write.tx)
    .await?;
    Ok(added.rows_affected() == 1)
}

async fn current(connection: &mut PgConnection, app: AppId) -> Result<AclRecord, StoreError> {
    let (revision, Json(rules)): (i64, Json<Vec<Rule>>) =
        sqlx::query_as("SELECT revision, rules FROM acls WHERE app_id = $1 ORDER BY revision DESC LIMIT 1")
            .bind(app.to_bytes())
            .fetch_one(connection)
            .await?;
    Ok(AclRecord { version: revision.cast_unsigned(), rules })
}

async fn rules_of(connection: &mut PgConnection, app: AppId, version: u64) -> Result<Vec<Rule>, StoreError> {
    let Json(rules): Json<Vec<Rule>> = sqlx::query_scalar("SELECT rules FROM acls WHERE app_id = $1 AND revision = $2")
        .bind(app.to_bytes())
        .bind(i64::try_from(version).map_err(|_| StoreError::NotFound)?)
        .fetch_one(connection)
        .await?;
    Ok(rules)
}

impl AppStore {
    /// Its ACL.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn acl(&self) -> Result<AclRecord, StoreError> {
        current(&mut *self.begin().await?, self.id()).await
    }

    /// Replaces its ACL. `expected` is the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has another version by now, [`StoreError::UnknownRule`] for an id of no rule.
    pub async fn put_acl(&self, expected: u64, drafts: Vec<RuleDraft>) -> Result<AclRecord, StoreError> {
        let mut write = self.write().await?;
        let before = current(&mut write.tx, self.id()).await?;
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        let rules = self.number_rules(&before.rules, drafts)?;
        self.succeed(write, before, rules, "acl.replaced").await
    }

    /// The revisions that are kept, the newest first.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn acl_revisions(&self) -> Result<Vec<AclRevision>, StoreError> {
        let rows: Vec<RevisionRow> = sqlx::query_as(
            "SELECT revision, jsonb_array_length(rules) AS rules, created_by, created_at
             FROM acls WHERE app_id = $1 ORDER BY revision DESC LIMIT $2",
        )
        .bind(self.id().to_bytes())
        .bind(REVISIONS_KEPT)
        .fetch_all(&mut *self.begin().await?)
        .await?;
        Ok(rows.into_iter().map(RevisionRow::revision).collect())
    }

    /// The rules of one of them.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it is not kept.
    pub async fn acl_revision(&self, version: u64) -> Result<AclRecord, StoreError> {
        let rules = rules_of(&mut *self.begin().await?, self.id(), version).await?;
        Ok(AclRecord { version, rules })
    }

    /// Puts the rules of an earlier revision in force again, as a new one. `expected` is the version that was read.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when it has another version by now, [`StoreError::NotFound`] when the earlier one is not kept.
    pub async fn restore_acl(&self, expected: u64, earlier: u64) -> Result<AclRecord, StoreError> {
        let mut write = self.write().await?;
        let before = current(&mut write.tx, self.id()).await?;
        if before.version != expected {
            return Err(StoreError::Stale { current: before.version });
        }
        let rules = rules_of(&mut write.tx, self.id(), earlier).await?;
        self.succeed(write, before, rules, "acl.restored").await
    }

    /// Puts rules in force as the next revision, and lets the oldest go.
    async fn succeed(
        &self,
        mut write: Write,
        before: AclRecord,
        rules: Vec<Rule>,
        action: &'static str,
    ) -> Result<AclRecord, StoreError> {
        let after = AclRecord { version: before.version + 1, rules };
        let revision = after.version.cast_signed();
        if !insert(&mut write, self.inner(), self.id(), revision, &after.rules).await? {
            return Err(StoreError::Stale { current: after.version });
        }
        sqlx::query("DELETE FROM acls WHERE app_id = $1 AND revision <= $2")
            .bind(self.id().to_bytes())
            .bind(revision - REVISIONS_KEPT)
            .execute(&mut *write.tx)
            .await?;
        let entry = Entry::new(action, self.id()).in_app(self.id());
        let entry = entry.before(json!({ "rules": before.rules })).after(json!({ "rules": after.rules }));
        write.commit(self.inner(), entry).await?;
        Ok(after)
    }

    /// Gives new rules their ids. An id that is written must be one of the present ACL, and stand once.
    fn number_rules(&self, present: &[Rule], drafts: Vec<RuleDraft>) -> Result<Vec<Rule>, StoreError> {
        let mut unused: Vec<RuleId> = present.iter().map(|rule| rule.id).collect();
        let numbered = drafts.into_iter().enumerate().map(|(index, draft)| {
            let id = match draft.id {
                None => RuleId::new(self.inner().unix_ms(), chance::id_bits()),
                Some(id) => {
                    let at = unused.iter().position(|known| *known == id).ok_or(StoreError::UnknownRule { index })?;
                    unused.swap_remove(at)
                }
            };
            let RuleDraft { pattern, who, operations, effect, .. } = draft;
            Ok(Rule { id, pattern, who, operations, effect })
        });
        numbered.collect()
    }
}
