//! Issuers: identity providers whose tokens an app trusts.

use chrono::{DateTime, Utc};
use fanfare_core::id::{IssuerId, UserId};
use fanfare_core::issuer::ClaimMap;
use fanfare_core::{Capabilities, TokenAlgorithm};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::schema;

/// An issuer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IssuerView {
    /// Its id.
    #[schema(schema_with = schema::issuer_id)]
    pub id: IssuerId,
    /// Its name.
    pub name: String,
    /// What `iss` of its tokens is, exactly.
    pub iss: String,
    /// What `aud` of its tokens must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Its public key as a JWK, when it has one key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub key: Option<Value>,
    /// Where its keys are, when they are at a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwksView>,
    /// What it may sign with.
    #[schema(schema_with = schema::token_algorithms)]
    pub algorithms: Vec<TokenAlgorithm>,
    /// What its tokens may do at most.
    #[schema(schema_with = schema::capabilities)]
    pub ceiling: Capabilities,
    /// Where in its tokens what lies, as JSON pointers: `sub`, `roles` (a list), `cap`, `info`; and `required`, claims that
    /// must be exactly these texts.
    #[schema(schema_with = schema::any)]
    pub claims: ClaimMap,
    /// Whether its tokens are taken.
    pub enabled: bool,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::user_id)]
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Grows with every change; its ETag is `"v<version>"`.
    pub version: u64,
}

/// Keys at a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JwksView {
    /// The URL.
    pub url: String,
    /// When they were fetched last; absent before the first attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_at: Option<DateTime<Utc>>,
    /// When that went well last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetched_at: Option<DateTime<Utc>>,
    /// What went wrong the last time, if something did. Keys that were fetched within a day are used meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The keys that were found and can verify tokens.
    pub keys: Vec<JwksKey>,
}

/// A key at a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JwksKey {
    /// What tokens call it.
    pub kid: String,
    /// What it verifies.
    #[schema(schema_with = schema::token_algorithm)]
    pub algorithm: TokenAlgorithm,
}

/// Makes an issuer, with either `key` or `jwks_url`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateIssuer {
    /// Its name.
    #[schema(min_length = 1, max_length = 100, example = "Auth0")]
    pub name: String,
    /// What `iss` of its tokens is, exactly.
    #[schema(min_length = 1, max_length = 500, example = "https://example.eu.auth0.com/")]
    pub iss: String,
    /// What `aud` of its tokens must hold. Left out, a token's `aud`, if any, must name the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 500)]
    pub aud: Option<String>,
    /// Its public key: PEM, or a JWK as text or object. P-256 (ES256), Ed25519 (EdDSA) or RSA of 2048 to 4096 bits (RS256).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub key: Option<Value>,
    /// What its tokens call that key in their header, where the JWK does not say. A key without a name verifies tokens
    /// without `kid`, or with the issuer's id as `kid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub kid: Option<String>,
    /// Where its keys are (a JWKS): https on port 443, at a public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500, example = "https://example.eu.auth0.com/.well-known/jwks.json")]
    pub jwks_url: Option<String>,
    /// Which algorithms are taken from that URL; all when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::token_algorithms)]
    pub algorithms: Option<Vec<TokenAlgorithm>>,
    /// What its tokens may do at most, client operations only; everything a client can when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::capabilities)]
    pub ceiling: Option<Capabilities>,
    /// Where in its tokens what lies, as JSON pointers: `sub`, `roles` (a list), `cap`, `info`; and `required`, claims that
    /// must be exactly these texts. What is left out lies where Fanfare's own tokens have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub claims: Option<ClaimMap>,
}

/// Changes an issuer; what is left out stays. Its key, URL, `iss` and `aud` never change: make another issuer instead.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateIssuer {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 100)]
    pub name: Option<String>,
    /// What its tokens may do at most. Acts on live connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::capabilities)]
    pub ceiling: Option<Capabilities>,
    /// Where in its tokens what lies. Acts on tokens that are handed in from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::any)]
    pub claims: Option<ClaimMap>,
    /// Whether its tokens are taken. `false` closes the connections made with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// How issuers that many people use are set up: what to put into [`CreateIssuer`].
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Whose.
    pub name: &'static str,
    /// What `iss` looks like, with what to replace in capitals.
    pub iss: &'static str,
    /// What to know about `aud`.
    pub aud: &'static str,
    /// Where the keys are, with what to replace in capitals.
    pub jwks_url: &'static str,
    /// The claim map, as JSON.
    pub claims: &'static str,
}

/// The presets.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "Auth0",
        iss: "https://TENANT.auth0.com/",
        aud: "The identifier of your API.",
        jwks_url: "https://TENANT.auth0.com/.well-known/jwks.json",
        claims: r#"{"sub":"/sub","roles":["/permissions","/https:~1~1YOUR-NAMESPACE~1roles"]}"#,
    },
    Preset {
        name: "Clerk",
        iss: "https://clerk.YOUR-DOMAIN",
        aud: "Session tokens have none: leave it empty and require azp, your site's origin.",
        jwks_url: "https://clerk.YOUR-DOMAIN/.well-known/jwks.json",
        claims: r#"{"sub":"/sub","roles":["/o/rol","/org_role"],"required":{"/azp":"https://YOUR-DOMAIN"}}"#,
    },
    Preset {
        name: "Cognito",
        iss: "https://cognito-idp.REGION.amazonaws.com/POOL",
        aud: "Access tokens have none: leave it empty and require client_id. ID tokens: the client's id.",
        jwks_url: "https://cognito-idp.REGION.amazonaws.com/POOL/.well-known/jwks.json",
        claims: r#"{"sub":"/sub","roles":["/cognito:groups"],"required":{"/token_use":"access","/client_id":"CLIENT"}}"#,
    },
    Preset {
        name: "Supabase",
        iss: "https://PROJECT.supabase.co/auth/v1",
        aud: "authenticated",
        jwks_url: "https://PROJECT.supabase.co/auth/v1/.well-known/jwks.json",
        claims: r#"{"sub":"/sub","roles":["/role","/app_metadata/roles"]}"#,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use fanfare_core::issuer::JwksUrl;

    #[test]
    fn every_preset_is_what_an_issuer_takes() {
        for preset in PRESETS {
            assert!(serde_json::from_str::<ClaimMap>(preset.claims).is_ok(), "{}", preset.name);
            assert!(JwksUrl::parse(preset.jwks_url).is_ok(), "{}", preset.name);
        }
    }
}
