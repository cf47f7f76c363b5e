//! Extractors that are permissions: a handler's arguments say who may call it.
//!
//! [`SignedIn`] is anybody with a session; [`InTenant`] and [`InApp`] are members of the tenant in the path, or of the
//! one that owns the app in the path, with at least a role. Whoever is no member is told 404, as if nothing were
//! there; a member whose role is too small is told 403 and which role it takes.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Path};
use fanfare_api::schema;
use fanfare_core::id::{AppId, IssuerId, KeyId, TenantId};
use fanfare_core::{ErrorCode, Problem, Role};
use fanfare_store::{Actor, AppStore, MemberStore, Origin, TenantStore, Token};
use http::header;
use http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::cookie;
use crate::error::ControlError;
use crate::proxy;
use crate::state::Control;

const USER_AGENT_CHARS_MAX: usize = 200;

/// Where a request comes from, for sessions and the audit log.
pub(crate) struct CameFrom(pub(crate) Origin);

impl FromRequestParts<Control> for CameFrom {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Self::Rejection> {
        let ip = proxy::client(&parts.extensions, &parts.headers, &control.options().trusted_proxies);
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self(Origin {
            ip: ip.map(|ip| ip.to_string().into()),
            user_agent: agent.map(|agent| agent.chars().take(USER_AGENT_CHARS_MAX).collect::<String>().into()),
        }))
    }
}

/// The token of the request's cookie, whether or not there is a session behind it.
pub(crate) struct Cookie(pub(crate) Option<Token>);

impl FromRequestParts<Control> for Cookie {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, Self::Rejection> {
        Ok(Self(cookie::read(control, &parts.headers)))
    }
}

/// Somebody with a session.
pub(crate) struct SignedIn {
    /// What they may see.
    pub(crate) member: MemberStore,
}

impl FromRequestParts<Control> for SignedIn {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, ControlError> {
        let token = cookie::read(control, &parts.headers).ok_or(ErrorCode::SessionExpired)?;
        let idle_max = std::time::Duration::from_secs(u64::from(control.options().session_idle_s));
        let session = control.store().auth().session(&token, idle_max).await?.ok_or(ErrorCode::SessionExpired)?;
        let Ok(CameFrom(origin)) = CameFrom::from_request_parts(parts, control).await;
        let actor = Actor { user: session.user, ip: origin.ip };
        Ok(Self { member: control.store().member(actor) })
    }
}

/// The least role that an operation takes.
pub(crate) trait Least: Send + Sync + 'static {
    const ROLE: Role;
}

macro_rules! roles {
    ($($name:ident),+) => {$(
        #[doc = concat!("At least ", stringify!($name), ".")]
        pub(crate) enum $name {}

        impl Least for $name {
            const ROLE: Role = Role::$name;
        }
    )+};
}

roles!(Viewer, Developer, Admin);

fn require(least: Role, role: Role) -> Result<(), ControlError> {
    if role >= least {
        return Ok(());
    }
    let detail = format!("Your role in this tenant is {}; this takes {}.", role.as_str(), least.as_str());
    Err(Problem::new(ErrorCode::Forbidden, detail).into())
}

/// The tenant in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct TenantPath {
    /// The tenant.
    #[param(schema_with = schema::tenant_id)]
    pub(crate) tenant: TenantId,
}

/// The app in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct AppPath {
    /// The app.
    #[param(schema_with = schema::app_id)]
    pub(crate) app: AppId,
}

/// The app and the key in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct KeyPath {
    /// The app.
    #[expect(dead_code, reason = "documents the parameter; InApp reads it")]
    #[param(schema_with = schema::app_id)]
    pub(crate) app: AppId,
    /// The key.
    #[param(schema_with = schema::key_id)]
    pub(crate) key: KeyId,
}

/// The app and the issuer in the path.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct IssuerPath {
    /// The app.
    #[expect(dead_code, reason = "documents the parameter; InApp reads it")]
    #[param(schema_with = schema::app_id)]
    pub(crate) app: AppId,
    /// The issuer.
    #[param(schema_with = schema::issuer_id)]
    pub(crate) issuer: IssuerId,
}

/// What stands in the path. An id that is none is answered like one that does not exist.
pub(crate) struct InPath<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Control> for InPath<T> {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, ControlError> {
        let read = Path::<T>::from_request_parts(parts, control).await;
        read.map(|Path(path)| Self(path)).map_err(|_| ErrorCode::NotFound.into())
    }
}

/// A member of the tenant in the path.
pub(crate) struct InTenant<R> {
    /// The tenant as this member sees it.
    pub(crate) tenant: TenantStore,
    /// Who asks.
    pub(crate) member: MemberStore,
    least: PhantomData<R>,
}

impl<R: Least> FromRequestParts<Control> for InTenant<R> {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, ControlError> {
        // Who asks is settled before the path is looked at: without a session no path tells anything.
        let SignedIn { member } = SignedIn::from_request_parts(parts, control).await?;
        let InPath(path) = InPath::<TenantPath>::from_request_parts(parts, control).await?;
        let tenant = member.tenant(path.tenant).await?;
        require(R::ROLE, tenant.role())?;
        Ok(Self { tenant, member, least: PhantomData })
    }
}

/// A member of the tenant that owns the app in the path.
pub(crate) struct InApp<R> {
    /// The app as this member sees it.
    pub(crate) app: AppStore,
    /// Who asks.
    pub(crate) member: MemberStore,
    least: PhantomData<R>,
}

impl<R: Least> FromRequestParts<Control> for InApp<R> {
    type Rejection = ControlError;

    async fn from_request_parts(parts: &mut Parts, control: &Control) -> Result<Self, ControlError> {
        let SignedIn { member } = SignedIn::from_request_parts(parts, control).await?;
        let InPath(path) = InPath::<AppPath>::from_request_parts(parts, control).await?;
        let app = member.app(path.app).await?;
        require(R::ROLE, app.role())?;
        Ok(Self { app, member, least: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_suffices_for_itself_and_everything_below() {
        for (at, least) in Role::ALL.into_iter().enumerate() {
            for (above, role) in Role::ALL.into_iter().enumerate() {
                assert_eq!(require(least, role).is_ok(), above >= at, "{role:?} for {least:?}");
            }
        }
        assert!((Viewer::ROLE, Developer::ROLE, Admin::ROLE) == (Role::Viewer, Role::Developer, Role::Admin));
    }
}
