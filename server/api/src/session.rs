//! Signing up, in and out, and who is signed in.

use fanfare_core::Role;
use fanfare_core::id::{AppId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::AppView;
use crate::schema;
use crate::secret::SecretText;

/// Makes a user, a tenant, an app with a starter ACL, and its first key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignUpRequest {
    /// Where the person is reached; also what they sign in with.
    #[schema(format = "email", max_length = 254, example = "ann@example.com")]
    pub email: String,
    /// 15 to 128 characters of any kind, and not one that is known or easy to guess.
    #[schema(schema_with = schema::secret)]
    pub password: SecretText,
    /// The tenant's name; the part of the address before the `@` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100, example = "Acme")]
    pub tenant: Option<String>,
}

/// Everything that signing up made. The browser is signed in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignedUp {
    /// Who is signed in.
    pub session: SessionView,
    /// The app that was made.
    pub app: AppView,
    /// Its first key, `key_…:ffs_…`, shown this once.
    #[schema(schema_with = schema::secret)]
    pub first_key: SecretText,
}

/// Signs a browser in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInRequest {
    /// The address given at sign-up.
    #[schema(format = "email", max_length = 254, example = "ann@example.com")]
    pub email: String,
    /// The password.
    #[schema(schema_with = schema::secret)]
    pub password: SecretText,
}

/// Claims the tenant that a server made at its first start, with the code of the welcome link. The answer is that of a
/// sign-up: [`SignedUp`], with the key that the server printed.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WelcomeRequest {
    /// The code in the welcome link; works once.
    #[schema(schema_with = schema::secret)]
    pub code: SecretText,
    /// Where the owner is reached; also what they sign in with.
    #[schema(format = "email", max_length = 254, example = "ann@example.com")]
    pub email: String,
    /// 15 to 128 characters of any kind, and not one that is known or easy to guess.
    #[schema(schema_with = schema::secret)]
    pub password: SecretText,
}

/// Who is signed in and what they belong to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    /// The person.
    pub user: UserView,
    /// The tenants they are a member of.
    pub tenants: Vec<TenantView>,
    /// Where the data plane listens, without a slash at the end: `<gateway_url>/v1/apps/<app>` is an app's URL.
    #[schema(format = "uri", example = "http://localhost:8000")]
    pub gateway_url: String,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// Their id.
    #[schema(schema_with = schema::user_id)]
    pub id: UserId,
    /// Their address.
    #[schema(format = "email", example = "ann@example.com")]
    pub email: String,
}

/// A tenant, as one of its members sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    #[schema(schema_with = schema::tenant_id)]
    pub id: TenantId,
    /// Its name.
    pub name: String,
    /// What the signed-in member may do.
    #[schema(schema_with = schema::role)]
    pub role: Role,
    /// Its apps.
    pub apps: Vec<AppName>,
}

/// An app's id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppName {
    /// Its id.
    #[schema(schema_with = schema::app_id)]
    pub id: AppId,
    /// Its name.
    pub name: String,
}
