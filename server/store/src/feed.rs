//! The change feed: apps as the data plane sees them, secrets unsealed and limits combined.
//!
//! Versions become visible in their order (see `0003_feed.sql`), so a node that remembers the greatest version it has
//! seen misses nothing by asking for what is above it. Notifications only say that asking is worth while.
//!
//! An app that cannot be read, because a row is of a later version or was altered, is given out with everything
//! forbidden: what Fanfare does not understand must not let anybody in.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use fanfare_core::id::{AppId, IssuerId, KeyId, TenantId};
use fanfare_core::position::PositionKey;
use fanfare_core::secret::SecretBytes;
use fanfare_core::{
    App, AppStatus, Block, ChannelSettings, Issuer, Key, KeyKind, KeyState, Limits, PublicKey, Revocations, Rule,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::PgListener;
use sqlx::types::Json;
use sqlx::{FromRow, PgConnection};

use crate::limits::Layers;
use crate::scope::SNAPSHOT;
use crate::store::Inner;
use crate::{FetchedKey, StoreError, keys, platform_secrets, revocations, tenants};

/// How many apps are read in one statement.
const PAGE: i64 = 500;
/// A revoked key stays in the snapshot for as long as a token of it could live, with an hour to spare, so that its
/// clients are told why they are refused.
const REVOKED_KEPT_FOR: TimeDelta = TimeDelta::hours(25);

/// Snapshots of apps for the data plane.
#[derive(Clone)]
pub struct Feed {
    pub(crate) inner: Arc<Inner>,
}

/// Word of changed apps, as it comes.
pub struct Changes {
    listener: PgListener,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// This app has a new version.
    App(AppId),
    /// The connection was lost and is back: ask [`Feed::since`].
    Reconnected,
}

#[derive(FromRow)]
struct AppRow {
    id: [u8; 16],
    tenant_id: [u8; 16],
    version: i64,
    status: String,
    origins: Vec<String>,
    heartbeat_ms: i32,
    heartbeat_timeout_ms: Option<i32>,
    rules: Option<Value>,
    settings: Option<Value>,
    planned: Value,
    overridden: Option<Value>,
    overridden_until: Option<DateTime<Utc>>,
    lowered: Option<Value>,
}

#[derive(FromRow)]
struct KeyRow {
    id: [u8; 16],
    app_id: [u8; 16],
    kind: String,
    name: String,
    capabilities: Value,
    secret_hash: [u8; 32],
    sealed: Option<Vec<u8>>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

#[derive(FromRow)]
struct IssuerRow {
    id: [u8; 16],
    app_id: [u8; 16],
    name: String,
    iss: String,
    aud: Option<String>,
    source: Value,
    ceiling: Value,
    claims: Value,
    enabled: bool,
}

impl Feed {
    /// Every app.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn all(&self) -> Result<Vec<App>, StoreError> {
        self.since(0).await
    }

    /// The apps with a version above this one, in the order of their versions.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn since(&self, version: u64) -> Result<Vec<App>, StoreError> {
        let now = self.inner.now();
        sqlx::query("SELECT feed_end_overrides($1)").bind(now).execute(&self.inner.feed).await?;
        let mut tx = self.inner.feed.begin_with(SNAPSHOT).await?;
        let (mut apps, mut version) = (Vec::new(), version.cast_signed());
        loop {
            let rows = app_rows(&mut tx, version).await?;
            let Some(last) = rows.last() else { return Ok(apps) };
            version = last.version;
            let mut keys = key_rows(&mut tx, &rows, now).await?;
            let mut issuers = issuer_rows(&mut tx, &rows).await?;
            let mut revocations = revocation_rows(&mut tx, &rows).await?;
            apps.extend(rows.into_iter().map(|row| {
                let owned = Owned {
                    keys: keys.remove(&row.id).unwrap_or_default(),
                    issuers: issuers.remove(&row.id).unwrap_or_default(),
                    revocations: revocations.remove(&row.id).unwrap_or_default(),
                };
                app(&self.inner, row, owned, now)
            }));
        }
    }

    /// The time by Postgres's clock.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn time(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&self.inner.feed).await?)
    }

    /// Starts to listen. Ask [`Feed::since`] once afterwards: what changed before is not told.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn listen(&self) -> Result<Changes, StoreError> {
        let mut listener = PgListener::connect_with(&self.inner.feed).await?;
        listener.listen("fanfare_apps").await?;
        Ok(Changes { listener })
    }

    /// Tells how a fetch of an issuer's keys went, for people to see.
    ///
    /// # Errors
    /// When Postgres is away.
    pub async fn issuer_fetched(
        &self,
        issuer: IssuerId,
        outcome: Result<&[PublicKey], &str>,
    ) -> Result<(), StoreError> {
        let named =
            |key: &PublicKey| Some(FetchedKey { kid: key.kid.as_deref()?.to_owned(), algorithm: key.algorithm() });
        let found = outcome.ok().map(|keys| Json(keys.iter().filter_map(named).collect::<Vec<_>>()));
        let failure = outcome.err().map(|error| error.chars().take(300).collect::<String>());
        sqlx::query("SELECT feed_issuer_fetched($1, $2, $3, $4)")
            .bind(issuer.to_bytes())
            .bind(self.inner.now())
            .bind(found)
            .bind(failure)
            .execute(&self.inner.feed)
            .await?;
        Ok(())
    }

    /// The key that tags positions.
    ///
    /// # Errors
    /// When Postgres is away, or the master key does not open it.
    pub async fn position_key(&self) -> Result<PositionKey, StoreError> {
        platform_secrets::position_key(&self.inner).await
    }

    /// The keys that seal resume tickets: for each a number and 32 bytes.
    ///
    /// # Errors
    /// When Postgres is away, or the master key does not open them.
    pub async fn ticket_keys(&self) -> Result<SecretBytes, StoreError> {
        platform_secrets::ticket_keys(&self.inner).await
    }

    /// What says which partition of Redis a channel is in: 32 bytes, the same for ever.
    ///
    /// # Errors
    /// When Postgres is away, or the master key does not open it.
    pub async fn partition_key(&self) -> Result<SecretBytes, StoreError> {
        platform_secrets::partition_key(&self.inner).await
    }
}

impl Changes {
    /// Waits for the next word.
    ///
    /// # Errors
    /// When Postgres is away; the next call tries to reconnect.
    pub async fn next(&mut self) -> Result<Change, StoreError> {
        loop {
            let Some(heard) = self.listener.try_recv().await? else { return Ok(Change::Reconnected) };
            // Anybody with a connection may notify anything; what is no id is nobody's business.
            if let Some(app) = app_id(heard.payload()) {
                return Ok(Change::App(app));
            }
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Changes").finish_non_exhaustive()
    }
}

fn app_id(hex: &str) -> Option<AppId> {
    let bits = (hex.len() == 32).then(|| u128::from_str_radix(hex, 16).ok()).flatten()?;
    Some(AppId::from_bytes(bits.to_be_bytes()))
}

async fn app_rows(connection: &mut PgConnection, above: i64) -> Result<Vec<AppRow>, StoreError> {
    // Parts are joined from the left: an app that lost one must show as broken, not vanish.
    let rows = sqlx::query_as(
        "SELECT apps.id, apps.tenant_id, app_versions.version, tenants.status, apps.origins, apps.heartbeat_ms,
            apps.heartbeat_timeout_ms, acl.rules, channel_settings.settings, plans.limits AS planned, app_limits.overridden,
            app_limits.overridden_until, app_limits.lowered
         FROM app_versions
         JOIN apps ON apps.id = app_versions.app_id
         JOIN tenants ON tenants.id = apps.tenant_id
         JOIN plans ON plans.name = tenants.plan
         LEFT JOIN channel_settings ON channel_settings.app_id = apps.id
         LEFT JOIN app_limits ON app_limits.app_id = apps.id
         LEFT JOIN LATERAL (
            SELECT rules FROM acls WHERE acls.app_id = apps.id ORDER BY revision DESC LIMIT 1
         ) AS acl ON true
         WHERE app_versions.version > $1 ORDER BY app_versions.version LIMIT $2",
    )
    .bind(above)
    .bind(PAGE)
    .fetch_all(connection)
    .await?;
    Ok(rows)
}

async fn key_rows(
    connection: &mut PgConnection,
    apps: &[AppRow],
    now: DateTime<Utc>,
) -> Result<HashMap<[u8; 16], Vec<KeyRow>>, StoreError> {
    let ids: Vec<[u8; 16]> = apps.iter().map(|app| app.id).collect();
    let rows: Vec<KeyRow> = sqlx::query_as(
        "SELECT id, app_id, kind, name, capabilities, secret_hash, sealed, expires_at, revoked_at FROM keys
         WHERE app_id = ANY($1) AND (revoked_at IS NULL OR revoked_at > $2) ORDER BY id",
    )
    .bind(ids)
    .bind(now - REVOKED_KEPT_FOR)
    .fetch_all(connection)
    .await?;
    let mut by_app: HashMap<_, Vec<KeyRow>> = HashMap::new();
    for row in rows {
        by_app.entry(row.app_id).or_default().push(row);
    }
    Ok(by_app)
}

/// Also those that have ended: a token that does not say when it was issued may outlast them.
async fn revocation_rows(
    connection: &mut PgConnection,
    apps: &[AppRow],
) -> Result<HashMap<[u8; 16], Vec<revocations::Row>>, StoreError> {
    let ids: Vec<[u8; 16]> = apps.iter().map(|app| app.id).collect();
    let rows: Vec<revocations::Row> =
        sqlx::query_as("SELECT app_id, id, kind, value, issued_until FROM revocations WHERE app_id = ANY($1)")
            .bind(ids)
            .fetch_all(connection)
            .await?;
    let mut by_app: HashMap<_, Vec<revocations::Row>> = HashMap::new();
    for row in rows {
        by_app.entry(row.app_id).or_default().push(row);
    }
    Ok(by_app)
}

async fn issuer_rows(
    connection: &mut PgConnection,
    apps: &[AppRow],
) -> Result<HashMap<[u8; 16], Vec<IssuerRow>>, StoreError> {
    let ids: Vec<[u8; 16]> = apps.iter().map(|app| app.id).collect();
    let rows: Vec<IssuerRow> = sqlx::query_as(
        "SELECT id, app_id, name, iss, aud, source, ceiling, claims, enabled FROM issuers
         WHERE app_id = ANY($1) ORDER BY id",
    )
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut by_app: HashMap<_, Vec<IssuerRow>> = HashMap::new();
    for row in rows {
        by_app.entry(row.app_id).or_default().push(row);
    }
    Ok(by_app)
}

/// Rows of other tables that belong to one app.
struct Owned {
    keys: Vec<KeyRow>,
    issuers: Vec<IssuerRow>,
    revocations: Vec<revocations::Row>,
}

fn app(inner: &Inner, row: AppRow, Owned { keys, issuers, revocations }: Owned, now: DateTime<Utc>) -> App {
    let (id, tenant) = (AppId::from_bytes(row.id), TenantId::from_bytes(row.tenant_id));
    let version = row.version.cast_unsigned();
    let heartbeat_ms = row.heartbeat_ms.cast_unsigned();
    let heartbeat_timeout_ms = row.heartbeat_timeout_ms.map_or(heartbeat_ms, i32::cast_unsigned);
    let origins = row.origins.iter().map(|origin| origin.as_str().into()).collect();
    let keys = keys.into_iter().filter_map(|row| key(inner, id, row)).collect();
    let issuers = issuers.into_iter().filter_map(|row| issuer(id, row)).collect();
    let revocations = revocations.into_iter().map(revocations::Row::revocation).collect::<Result<_, _>>();
    match revocations.and_then(|revocations| Ok((parts(row, now)?, Revocations::new(revocations)))) {
        Ok((Parts { status, rules, settings, limits }, revocations)) => App {
            id,
            tenant,
            version,
            status,
            keys,
            issuers,
            rules,
            settings,
            limits,
            origins,
            heartbeat_ms,
            heartbeat_timeout_ms,
            revocations,
        },
        Err(error) => {
            tracing::error!(app.id = %id, %error, "the app cannot be read, so everything in it is forbidden");
            let (status, limits) = (AppStatus::Suspended(Block::All), Limits::default());
            let (rules, settings, revocations) = (Vec::new(), Vec::new(), Revocations::default());
            App {
                id,
                tenant,
                version,
                status,
                keys,
                issuers,
                rules,
                settings,
                limits,
                origins,
                heartbeat_ms,
                heartbeat_timeout_ms,
                revocations,
            }
        }
    }
}

struct Parts {
    status: AppStatus,
    rules: Vec<Rule>,
    settings: Vec<ChannelSettings>,
    limits: Limits,
}

fn parts(row: AppRow, now: DateTime<Utc>) -> Result<Parts, StoreError> {
    let mut settings: Vec<ChannelSettings> = document("channel_settings", row.settings)?;
    settings.sort_by(|left, right| left.pattern.cmp_specificity(&right.pattern));
    let missing = || StoreError::corrupt("app_limits", "the app has no row");
    let layers = Layers {
        planned: row.planned,
        overridden: row.overridden.ok_or_else(missing)?,
        overridden_until: row.overridden_until,
        lowered: row.lowered.ok_or_else(missing)?,
    };
    Ok(Parts {
        status: tenants::status(&row.status)?,
        rules: document("acls", row.rules)?,
        settings,
        limits: layers.effective(now).map_err(|error| StoreError::corrupt("app_limits", error))?,
    })
}

fn document<T: DeserializeOwned>(table: &'static str, stored: Option<Value>) -> Result<T, StoreError> {
    let stored = stored.ok_or_else(|| StoreError::corrupt(table, "the app has no row"))?;
    serde_json::from_value(stored).map_err(|error| StoreError::corrupt(table, error))
}

/// A key that cannot be read is left out: nobody gets in with it, the app's other keys work.
fn key(inner: &Inner, app: AppId, row: KeyRow) -> Option<Key> {
    let id = KeyId::from_bytes(row.id);
    let signing_secret = row.sealed.as_deref().map(|sealed| keys::open(inner, &row.id, sealed)).transpose();
    let capabilities = serde_json::from_value(row.capabilities).map_err(|error| StoreError::corrupt("keys", error));
    let kind = match &*row.kind {
        "api" => Ok(KeyKind::Tenant),
        "platform" => Ok(KeyKind::Platform),
        other => Err(StoreError::corrupt("keys", format_args!("no kind is called {other}"))),
    };
    let (kind, signing_secret, capabilities) = match (kind, signing_secret, capabilities) {
        (Ok(kind), Ok(secret), Ok(capabilities)) => (kind, secret, capabilities),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => {
            tracing::error!(app.id = %app, key.id = %id, %error, "the key cannot be read and does not work");
            return None;
        }
    };
    Some(Key {
        id,
        kind,
        name: row.name.into(),
        capabilities,
        expires_ms: row.expires_at.map(|at| u64::try_from(at.timestamp_millis()).unwrap_or(0)),
        state: if row.revoked_at.is_some() { KeyState::Revoked } else { KeyState::Active },
        secret_hash: row.secret_hash,
        signing_secret,
    })
}

/// An issuer that cannot be read is left out: nobody gets in by it, the app's other issuers work.
fn issuer(app: AppId, row: IssuerRow) -> Option<Issuer> {
    fn read<T: DeserializeOwned>(stored: Value) -> Result<T, StoreError> {
        serde_json::from_value(stored).map_err(|error| StoreError::corrupt("issuers", error))
    }
    let id = IssuerId::from_bytes(row.id);
    let parts = (|| Ok::<_, StoreError>((read(row.source)?, read(row.ceiling)?, read(row.claims)?)))();
    let (source, ceiling, claims) = parts
        .inspect_err(|error| {
            tracing::error!(app.id = %app, issuer.id = %id, %error, "the issuer cannot be read and does not work");
        })
        .ok()?;
    let (name, iss, aud) = (row.name.into(), row.iss.into(), row.aud.map(Into::into));
    Some(Issuer { id, name, iss, aud, source, ceiling, claims, enabled: row.enabled })
}
