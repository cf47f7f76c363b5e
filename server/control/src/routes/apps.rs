//! Apps of a tenant.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use fanfare_api::app::{AppView, CreateApp, UpdateApp};
use fanfare_api::server::{StrictJson, StrictQuery};
use fanfare_api::{Page, PageQuery};
use fanfare_store::{AppChange, AppRecord};
use http::Uri;

use crate::access::{Admin, AppPath, Developer, InApp, InTenant, TenantPath, Viewer};
use crate::check::Checks;
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};
use crate::idempotency::Repeatable;
use crate::page;
use crate::state::Control;

const ORIGINS_MAX: usize = 100;
const ORIGIN_BYTES_MAX: usize = 255;
const HEARTBEAT_MS: std::ops::RangeInclusive<u32> = 5_000..=300_000;
const HEARTBEAT_TIMEOUT_MS: std::ops::RangeInclusive<u32> = 1_000..=300_000;

/// List apps
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant}/apps",
    operation_id = "list_apps",
    tag = "Apps",
    params(TenantPath, PageQuery),
    responses((status = 200, description = "Oldest first.", body = Page<AppView>), Problems),
)]
pub(crate) async fn list(
    State(control): State<Control>,
    access: InTenant<Viewer>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<AppView>>, ControlError> {
    let apps = access.tenant.apps(&page::request(query)?).await?;
    Ok(Json(page::answer(apps, |app| view(&control, app))))
}

/// Make an app
///
/// Takes the role admin. The app has a starter ACL, under which everyone may subscribe and publish on `demo:**`, and
/// no key.
#[utoipa::path(
    post,
    path = "/api/v1/tenants/{tenant}/apps",
    operation_id = "create_app",
    tag = "Apps",
    params(TenantPath),
    request_body = CreateApp,
    responses((status = 201, description = "The app.", body = AppView), Problems),
)]
pub(crate) async fn create(
    State(control): State<Control>,
    access: InTenant<Admin>,
    Repeatable { body, once }: Repeatable<CreateApp>,
) -> Result<Response, ControlError> {
    let mut checks = Checks::default();
    let name = checks.name("/name", &body.name);
    checks.finish()?;
    let InTenant { tenant, member, .. } = access;
    let state = control.clone();
    let created = move |app: &AppRecord| view(&state, app.clone());
    once.create(&control, &member, created, async move |keep| tenant.create_app(&name, keep).await).await
}

/// Read an app
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}",
    operation_id = "get_app",
    tag = "Apps",
    params(AppPath),
    responses((status = 200, description = "The app.", body = AppView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn get(
    State(control): State<Control>,
    access: InApp<Viewer>,
) -> Result<Versioned<AppView>, ControlError> {
    let app = access.app.record().await?;
    Ok(Versioned(app.version, view(&control, app)))
}

/// Change an app
///
/// Takes the role developer. What is left out stays. Live connections feel it within a second.
#[utoipa::path(
    patch,
    path = "/api/v1/apps/{app}",
    operation_id = "update_app",
    tag = "Apps",
    params(AppPath, ("If-Match" = String, Header, description = "The ETag of the last read.")),
    request_body = UpdateApp,
    responses((status = 200, description = "The app as it is now.", body = AppView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn update(
    State(control): State<Control>,
    access: InApp<Developer>,
    IfMatch(version): IfMatch,
    StrictJson(request): StrictJson<UpdateApp>,
) -> Result<Versioned<AppView>, ControlError> {
    let change = checked(request)?;
    let app = access.app.update(version, change).await?;
    Ok(Versioned(app.version, view(&control, app)))
}

fn checked(request: UpdateApp) -> Result<AppChange, ControlError> {
    let mut checks = Checks::default();
    let name = request.name.as_ref().map(|name| checks.name("/name", name));
    if let Some(origins) = &request.origins {
        if origins.len() > ORIGINS_MAX {
            checks.wrong("/origins", format!("at most {ORIGINS_MAX} origins"));
        }
        for (at, origin) in origins.iter().enumerate().take(ORIGINS_MAX).filter(|(_, origin)| !is_origin(origin)) {
            let detail = format!("{origin:?} is not an origin as browsers send it, such as https://example.com");
            checks.wrong(format!("/origins/{at}"), detail);
        }
    }
    let UpdateApp { origins, heartbeat_ms, heartbeat_timeout_ms, name: _ } = request;
    for (pointer, value, range) in [
        ("/heartbeat_ms", heartbeat_ms, HEARTBEAT_MS),
        ("/heartbeat_timeout_ms", heartbeat_timeout_ms, HEARTBEAT_TIMEOUT_MS),
    ] {
        if value.is_some_and(|value| !range.contains(&value)) {
            checks.wrong(pointer, format!("use {} to {}", range.start(), range.end()));
        }
    }
    checks.finish()?;
    Ok(AppChange { name, origins, heartbeat_ms, heartbeat_timeout_ms })
}

/// Exactly what a browser sends as `Origin`: lower case, no default port, no path. Anything else would never match.
fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let Ok(url) = text.parse::<Uri>() else { return false };
    let authority = url.authority().map(http::uri::Authority::as_str);
    let default = matches!((scheme, url.port_u16()), ("http", Some(80)) | ("https", Some(443)));
    let port = url.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let host = url.host().unwrap_or_default();
    text.len() <= ORIGIN_BYTES_MAX
        && !text.contains(|letter: char| letter.is_ascii_uppercase() || letter == '*')
        && authority == Some(rest)
        && rest == format!("{host}{port}")
        && !host.is_empty()
        && !default
}

/// An app as shown.
pub(crate) fn view(control: &Control, app: AppRecord) -> AppView {
    AppView {
        id: app.id,
        tenant: app.tenant,
        name: app.name,
        url: control.app_url(app.id),
        origins: app.origins,
        heartbeat_ms: app.heartbeat_ms,
        heartbeat_timeout_ms: app.heartbeat_timeout_ms,
        version: app.version,
        created_at: app.created_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_send_them() {
        for good in [
            "https://example.com",
            "http://localhost:3000",
            "https://xn--mnchen-3ya.de",
            "capacitor://localhost",
            "http://[::1]:8080",
            "chrome-extension://abcdef",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "example.com",
            "https://",
            "https://example.com/",
            "https://Example.com",
            "https://example.com:443",
            "http://example.com:80",
            "https://*.example.com",
            "https://user@example.com",
            "https://example.com:",
            "https://example.com:x",
            "https://example.com?x",
            "https://a b",
            "https://a\0b",
        ] {
            assert!(!is_origin(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_change_names_every_wrong_place() {
        let request = UpdateApp {
            name: Some(String::new()),
            origins: Some(vec!["https://a.example".into(), "https://b.example/".into()]),
            heartbeat_ms: Some(4_999),
            heartbeat_timeout_ms: Some(300_001),
        };
        let Err(ControlError::Refused(problem)) = checked(request) else { panic!("four places are wrong") };
        let places: Vec<&str> = problem.errors.iter().map(|error| &*error.pointer).collect();
        assert_eq!(places, ["/name", "/origins/1", "/heartbeat_ms", "/heartbeat_timeout_ms"]);
    }
}
