//! Keys of an app. A secret is in the answer that makes it, and nowhere else.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use fanfare_api::key::{CreateKey, KeyCreated, KeyRevoked, KeyStatus, KeyView, UpdateKey};
use fanfare_api::server::{StrictJson, StrictQuery};
use fanfare_api::{Page, PageQuery, SecretText};
use fanfare_core::Capabilities;
use fanfare_core::secret::PrintedKey;
use fanfare_store::{KeyRecord, NewKey};

use crate::access::{AppPath, Developer, InApp, InPath, KeyPath, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};
use crate::idempotency::Repeatable;
use crate::page;
use crate::state::Control;

/// List keys
///
/// Without their secrets, revoked ones included.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/keys",
    operation_id = "list_keys",
    tag = "Keys",
    params(AppPath, PageQuery),
    responses((status = 200, description = "Oldest first.", body = Page<KeyView>), Problems),
)]
pub(crate) async fn list(
    State(control): State<Control>,
    access: InApp<Viewer>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<KeyView>>, ControlError> {
    let keys = access.app.keys(&page::request(query)?).await?;
    Ok(Json(page::answer(keys, |key| view(key, control.now()))))
}

/// Make a key
///
/// Takes the role developer. Copy the secret: it is shown this once.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/keys",
    operation_id = "create_key",
    tag = "Keys",
    params(AppPath),
    request_body = CreateKey,
    responses((status = 201, description = "The key and its secret.", body = KeyCreated), Problems),
)]
pub(crate) async fn create(
    State(control): State<Control>,
    access: InApp<Developer>,
    Repeatable { body, once }: Repeatable<CreateKey>,
) -> Result<Response, ControlError> {
    let now = control.now();
    let key = checked(body, now)?;
    let InApp { app, member, .. } = access;
    let created = move |(record, printed): &(KeyRecord, PrintedKey)| KeyCreated {
        key: view(record.clone(), now),
        secret: SecretText::new(printed.expose()),
    };
    once.create(&control, &member, created, async move |keep| app.create_key(key, keep).await).await
}

fn checked(request: CreateKey, now: DateTime<Utc>) -> Result<NewKey, ControlError> {
    let mut checks = Checks::default();
    let name = checks.name("/name", &request.name);
    if request.expires_at.is_some_and(|expires| expires <= now) {
        checks.wrong("/expires_at", "lies in the past");
    }
    checks.finish()?;
    let capabilities = request.capabilities.unwrap_or_else(Capabilities::everything);
    Ok(NewKey { name, capabilities, expires_at: request.expires_at })
}

/// Rename a key
///
/// Takes the role developer.
#[utoipa::path(
    patch,
    path = "/api/v1/apps/{app}/keys/{key}",
    operation_id = "update_key",
    tag = "Keys",
    params(KeyPath, ("If-Match" = String, Header, description = "`\"v<version>\"` of the key as it was read.")),
    request_body = UpdateKey,
    responses((status = 200, description = "The key as it is now.", body = KeyView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn update(
    State(control): State<Control>,
    access: InApp<Developer>,
    InPath(path): InPath<KeyPath>,
    IfMatch(version): IfMatch,
    StrictJson(request): StrictJson<UpdateKey>,
) -> Result<Versioned<KeyView>, ControlError> {
    let mut checks = Checks::default();
    let name = checks.name("/name", &request.name);
    checks.finish()?;
    let key = access.app.rename_key(path.key, version, &name).await?;
    Ok(Versioned(key.version, view(key, control.now())))
}

/// Revoke a key
///
/// Takes the role developer. For ever: calls with it are refused, tokens it signed are worth nothing, and connections
/// made with them are closed, within a second. Revoking again changes nothing.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/keys/{key}/revoke",
    operation_id = "revoke_key",
    tag = "Keys",
    params(KeyPath),
    responses((status = 200, description = "Since when it is revoked.", body = KeyRevoked), Problems),
)]
pub(crate) async fn revoke(
    access: InApp<Developer>,
    InPath(path): InPath<KeyPath>,
) -> Result<Json<KeyRevoked>, ControlError> {
    let key = access.app.revoke_key(path.key).await?;
    let revoked_at = key.revoked_at.ok_or(ControlError::Defect("a revoked key says when it was revoked"))?;
    Ok(Json(KeyRevoked { revoked_at }))
}

fn view(key: KeyRecord, now: DateTime<Utc>) -> KeyView {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => KeyStatus::Revoked,
        (None, Some(expires)) if expires <= now => KeyStatus::Expired,
        (None, _) => KeyStatus::Active,
    };
    KeyView {
        id: key.id,
        name: key.name,
        capabilities: key.capabilities,
        last_four: key.last_four,
        state,
        expires_at: key.expires_at,
        created_by: key.created_by,
        created_at: key.created_at,
        revoked_at: key.revoked_at,
        version: key.version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::Operation;

    fn create(json: &str) -> Result<NewKey, ControlError> {
        checked(serde_json::from_str(json).expect(json), DateTime::from_timestamp_millis(1_000).expect("a time"))
    }

    #[test]
    fn a_key_without_capabilities_may_do_everything() {
        let key = create(r#"{"name":" backend "}"#).expect("valid");
        assert_eq!((&*key.name, key.expires_at), ("backend", None));
        assert!(Operation::ALL.into_iter().all(|operation| key.capabilities.anywhere(operation)));
        let none = create(r#"{"name":"x","capabilities":{}}"#).expect("valid");
        assert!(none.capabilities.operations().is_empty());
    }

    #[test]
    fn a_key_cannot_expire_before_it_is_made() {
        assert!(create(r#"{"name":"x","expires_at":"1970-01-01T00:00:01Z"}"#).is_err());
        assert!(create(r#"{"name":"x","expires_at":"1970-01-01T00:00:02Z"}"#).is_ok());
    }
}
