//! Issuers of an app. Keys and URLs are checked here; they are fetched by the data plane, never while somebody waits.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use fanfare_api::issuer::{CreateIssuer, IssuerView, JwksKey, JwksView, UpdateIssuer};
use fanfare_api::server::{StrictJson, StrictQuery};
use fanfare_api::{Page, PageQuery};
use fanfare_core::issuer::{ClaimMap, JwksUrl, NAME_BYTES_MAX, REQUIRED_MAX, ROLE_PATHS_MAX};
use fanfare_core::public_key::{KeyMaterial, is_kid};
use fanfare_core::{Capabilities, KeySource, Operation, Operations, Pattern, PublicKey, TokenAlgorithm};
use fanfare_store::{IssuerChange, IssuerRecord, NewIssuer};
use http::StatusCode;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use crate::access::{AppPath, Developer, InApp, InPath, IssuerPath, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};
use crate::idempotency::Repeatable;
use crate::page;
use crate::state::Control;

/// The longest text that a required claim may have to be.
const REQUIRED_BYTES_MAX: usize = 500;

/// List issuers
///
/// With the state of keys that are at a URL.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/issuers",
    operation_id = "list_issuers",
    tag = "Issuers",
    params(AppPath, PageQuery),
    responses((status = 200, description = "Oldest first.", body = Page<IssuerView>), Problems),
)]
pub(crate) async fn list(
    access: InApp<Viewer>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<IssuerView>>, ControlError> {
    let issuers = access.app.issuers(&page::request(query)?).await?;
    Ok(Json(page::answer(issuers, view)))
}

/// Read an issuer
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/issuers/{issuer}",
    operation_id = "get_issuer",
    tag = "Issuers",
    params(IssuerPath),
    responses((status = 200, description = "The issuer.", body = IssuerView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn get(
    access: InApp<Viewer>,
    InPath(path): InPath<IssuerPath>,
) -> Result<Versioned<IssuerView>, ControlError> {
    let issuer = access.app.issuer(path.issuer).await?;
    Ok(Versioned(issuer.version, view(issuer)))
}

/// Make an issuer
///
/// Takes the role developer. Its tokens are taken within a second, or, where its keys are at a URL, when they have been
/// fetched.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/issuers",
    operation_id = "create_issuer",
    tag = "Issuers",
    params(AppPath),
    request_body = CreateIssuer,
    responses((status = 201, description = "The issuer.", body = IssuerView), Problems),
)]
pub(crate) async fn create(
    State(control): State<Control>,
    access: InApp<Developer>,
    Repeatable { body, once }: Repeatable<CreateIssuer>,
) -> Result<Response, ControlError> {
    let issuer = checked(body)?;
    let InApp { app, member, .. } = access;
    let created = |issuer: &IssuerRecord| view(issuer.clone());
    once.create(&control, &member, created, async move |keep| app.create_issuer(issuer, keep).await).await
}

/// Change an issuer
///
/// Takes the role developer. A lower ceiling, and `enabled: false`, act on live connections within a second.
#[utoipa::path(
    patch,
    path = "/api/v1/apps/{app}/issuers/{issuer}",
    operation_id = "update_issuer",
    tag = "Issuers",
    params(IssuerPath, ("If-Match" = String, Header, description = "`\"v<version>\"` of the issuer as it was read.")),
    request_body = UpdateIssuer,
    responses(
        (status = 200, description = "The issuer as it is now.", body = IssuerView, headers(("ETag" = String))),
        Problems,
    ),
)]
pub(crate) async fn update(
    access: InApp<Developer>,
    InPath(path): InPath<IssuerPath>,
    IfMatch(version): IfMatch,
    StrictJson(request): StrictJson<UpdateIssuer>,
) -> Result<Versioned<IssuerView>, ControlError> {
    let mut checks = Checks::default();
    let UpdateIssuer { name, ceiling, claims, enabled } = request;
    let name = name.map(|name| checks.name("/name", &name));
    if let Some(ceiling) = &ceiling {
        check_ceiling(&mut checks, ceiling);
    }
    if let Some(claims) = &claims {
        check_claims(&mut checks, claims);
    }
    checks.finish()?;
    let change = IssuerChange { name, ceiling, claims, enabled };
    let issuer = access.app.change_issuer(path.issuer, version, change).await?;
    Ok(Versioned(issuer.version, view(issuer)))
}

/// Delete an issuer
///
/// Takes the role developer. For ever: its tokens are refused, and connections made with them are closed, within a
/// second.
#[utoipa::path(
    delete,
    path = "/api/v1/apps/{app}/issuers/{issuer}",
    operation_id = "delete_issuer",
    tag = "Issuers",
    params(IssuerPath),
    responses((status = 204, description = "It is gone."), Problems),
)]
pub(crate) async fn delete(
    access: InApp<Developer>,
    InPath(path): InPath<IssuerPath>,
) -> Result<StatusCode, ControlError> {
    access.app.delete_issuer(path.issuer).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(request: CreateIssuer) -> Result<NewIssuer, ControlError> {
    let mut checks = Checks::default();
    let CreateIssuer { name, iss, aud, key, kid, jwks_url, algorithms, ceiling, claims } = request;
    let name = checks.name("/name", &name);
    for (pointer, text) in [("/iss", Some(&iss)), ("/aud", aud.as_ref())] {
        let fits = |text: &String| (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if text.is_some_and(|text| !fits(text)) {
            checks.wrong(pointer, format!("use 1 to {NAME_BYTES_MAX} bytes, exactly as the tokens have it"));
        }
    }
    let source = match (key, jwks_url) {
        (Some(key), None) => given_key(&mut checks, &key, kid, algorithms.is_some()),
        (None, Some(url)) => jwks(&mut checks, &url, kid.is_some(), algorithms),
        (Some(_), Some(_)) => {
            checks.wrong("/jwks_url", "excludes key: an issuer has one key, or a URL where its keys are");
            None
        }
        (None, None) => {
            checks.wrong("/key", "give the issuer's public key, or jwks_url, where its keys are");
            None
        }
    };
    let ceiling = ceiling.unwrap_or_else(everything_of_clients);
    check_ceiling(&mut checks, &ceiling);
    let claims = claims.unwrap_or_default();
    check_claims(&mut checks, &claims);
    checks.finish()?;
    let source = source.ok_or(ControlError::Defect("an issuer without a fault has a source"))?;
    Ok(NewIssuer { name, iss, aud, source, ceiling, claims })
}

fn everything_of_clients() -> Capabilities {
    let all = Pattern::parse("**").expect("`**` is a pattern");
    Capabilities::new(vec![(all, Operations::CLIENT)])
}

fn given_key(checks: &mut Checks, key: &Value, kid: Option<String>, has_algorithms: bool) -> Option<KeySource> {
    if has_algorithms {
        checks.wrong("/algorithms", "goes with jwks_url: a key has one algorithm, by its kind");
    }
    let read = match key {
        Value::String(text) => PublicKey::parse(text),
        jwk => PublicKey::parse(&jwk.to_string()),
    };
    let mut key = match read {
        Ok(key) => key,
        Err(error) => {
            checks.wrong("/key", error.to_string());
            return None;
        }
    };
    if !is_on_curve(&key) {
        checks.wrong("/key", "the key is damaged: its numbers are no point of its curve");
    }
    match (kid, &key.kid) {
        (Some(kid), _) if !is_kid(&kid) => {
            checks.wrong("/kid", "use 1 to 64 characters of letters, digits and - _ + / =");
        }
        (Some(kid), Some(named)) if *kid != **named => checks.wrong("/kid", "is another than the kid of the JWK"),
        (Some(kid), _) => key.kid = Some(kid.into()),
        (None, _) => {}
    }
    Some(KeySource::Key(key))
}

/// A damaged point is an error to whoever verifies with it, whatever the signature; a good one only finds it wrong.
fn is_on_curve(key: &PublicKey) -> bool {
    let (key, algorithm) = match &key.material {
        KeyMaterial::P256(point) => (DecodingKey::from_ec_der(point.as_slice()), Algorithm::ES256),
        KeyMaterial::Ed25519(point) => (DecodingKey::from_ed_der(point.as_slice()), Algorithm::EdDSA),
        KeyMaterial::Rsa { .. } => return true,
    };
    jsonwebtoken::crypto::verify("AAAA", b"", &key, algorithm).is_ok()
}

fn jwks(checks: &mut Checks, url: &str, has_kid: bool, algorithms: Option<Vec<TokenAlgorithm>>) -> Option<KeySource> {
    if has_kid {
        checks.wrong("/kid", "goes with key: at a URL every key has its own");
    }
    let mut algorithms = algorithms.unwrap_or_else(|| TokenAlgorithm::ALL.to_vec());
    algorithms.sort_unstable();
    algorithms.dedup();
    if algorithms.is_empty() {
        checks.wrong("/algorithms", "name at least one, or leave it out for all");
    }
    match JwksUrl::parse(url) {
        Ok(url) => Some(KeySource::Jwks { url, algorithms }),
        Err(error) => {
            checks.wrong("/jwks_url", error.to_string());
            None
        }
    }
}

fn check_ceiling(checks: &mut Checks, ceiling: &Capabilities) {
    if let Some(operation) = ceiling.operations().iter().find(|operation: &Operation| !operation.is_client()) {
        checks.wrong("/ceiling", format!("has {operation}, which only keys may have"));
    }
}

fn check_claims(checks: &mut Checks, claims: &ClaimMap) {
    if claims.roles.len() > ROLE_PATHS_MAX {
        checks.wrong("/claims/roles", format!("at most {ROLE_PATHS_MAX} places"));
    }
    if claims.required.len() > REQUIRED_MAX {
        checks.wrong("/claims/required", format!("at most {REQUIRED_MAX} claims"));
    }
    if claims.required.values().any(|text| text.len() > REQUIRED_BYTES_MAX || text.contains('\0')) {
        checks.wrong("/claims/required", format!("texts of at most {REQUIRED_BYTES_MAX} bytes"));
    }
}

fn view(record: IssuerRecord) -> IssuerView {
    let IssuerRecord { issuer, created_by, created_at, version, fetch, .. } = record;
    let (key, url, algorithms) = match issuer.source {
        KeySource::Key(key) => (Some(key.to_jwk()), None, vec![key.algorithm()]),
        KeySource::Jwks { url, algorithms } => (None, Some(url), algorithms),
    };
    let jwks = url.map(|url| {
        let (attempted_at, fetched_at) =
            (fetch.as_ref().map(|fetch| fetch.attempted_at), fetch.as_ref().and_then(|fetch| fetch.fetched_at));
        let (keys, error) = fetch.map(|fetch| (fetch.keys, fetch.error)).unwrap_or_default();
        let keys = keys.into_iter().map(|key| JwksKey { kid: key.kid, algorithm: key.algorithm }).collect();
        JwksView { url: url.as_str().to_owned(), attempted_at, fetched_at, error, keys }
    });
    IssuerView {
        id: issuer.id,
        name: issuer.name.into(),
        iss: issuer.iss.into(),
        aud: issuer.aud.map(Into::into),
        key,
        jwks,
        algorithms,
        ceiling: issuer.ceiling,
        claims: issuer.claims,
        enabled: issuer.enabled,
        created_by,
        created_at,
        version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const EC: &str = include_str!("../../../core/src/public_key/fixtures/ec.pem");
    const RSA_1024: &str = include_str!("../../../core/src/public_key/fixtures/rsa1024.pem");

    fn create(mut fields: Value) -> Result<NewIssuer, ControlError> {
        let defaults = [("name", json!("Auth0")), ("iss", json!("https://x.auth0.com/"))];
        let request = fields.as_object_mut().expect("an object");
        defaults.into_iter().for_each(|(name, value)| {
            request.entry(name).or_insert(value);
        });
        checked(serde_json::from_value(fields).expect("an issuer"))
    }

    /// The one wrong place.
    fn wrong(fields: Value) -> String {
        match create(fields.clone()) {
            Err(ControlError::Refused(problem)) if problem.errors.len() == 1 => problem.errors[0].pointer.clone(),
            other => panic!("{fields}: {other:?}"),
        }
    }

    #[test]
    fn an_issuer_has_one_key_or_one_url_and_a_ceiling_of_clients() {
        let by_key = create(json!({"key": EC})).expect("valid");
        let KeySource::Key(key) = &by_key.source else { panic!("it has a key") };
        assert_eq!((key.algorithm(), by_key.ceiling.operations()), (TokenAlgorithm::Es256, Operations::CLIENT));
        let jwk = key.to_jwk();
        let named = create(json!({"key": jwk, "kid": "k1"})).expect("valid");
        assert!(matches!(named.source, KeySource::Key(key) if key.kid.as_deref() == Some("k1")));
        let by_url = create(json!({"jwks_url": "https://x.auth0.com/keys"})).expect("valid");
        assert!(matches!(by_url.source, KeySource::Jwks { algorithms, .. } if algorithms == TokenAlgorithm::ALL));
    }

    #[test]
    fn every_wrong_place_of_an_issuer_is_named() {
        let url = "https://x.auth0.com/keys";
        let mut damaged = PublicKey::parse(EC).expect("a key").to_jwk();
        damaged["y"] = damaged["x"].clone();
        let mut named = PublicKey::parse(EC).expect("a key").to_jwk();
        named["kid"] = "a".into();
        for (fields, place) in [
            (json!({}), "/key"),
            (json!({"key": EC, "jwks_url": url}), "/jwks_url"),
            (json!({"key": RSA_1024}), "/key"),
            (json!({"key": EC.replace("PUBLIC", "PRIVATE")}), "/key"),
            (json!({"key": damaged}), "/key"),
            (json!({"key": 7}), "/key"),
            (json!({"key": {"kty": "oct", "k": "AA"}}), "/key"),
            (json!({"key": EC, "kid": "../x"}), "/kid"),
            (json!({"key": named, "kid": "b"}), "/kid"),
            (json!({"key": EC, "algorithms": ["ES256"]}), "/algorithms"),
            (json!({"jwks_url": url, "kid": "a"}), "/kid"),
            (json!({"jwks_url": url, "algorithms": []}), "/algorithms"),
            (json!({"jwks_url": "http://x.auth0.com/keys"}), "/jwks_url"),
            (json!({"jwks_url": "https://2130706433/"}), "/jwks_url"),
            (json!({"key": EC, "iss": ""}), "/iss"),
            (json!({"key": EC, "aud": "x".repeat(501)}), "/aud"),
            (json!({"key": EC, "ceiling": {"**": ["sign"]}}), "/ceiling"),
            (json!({"key": EC, "claims": {"roles": ["/a", "/b", "/c", "/d", "/e"]}}), "/claims/roles"),
            (json!({"key": EC, "claims": {"required": {"/a": "x".repeat(501)}}}), "/claims/required"),
        ] {
            assert_eq!(wrong(fields), place);
        }
    }
}
