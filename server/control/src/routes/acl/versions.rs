//! Earlier versions of the ACL, and the way back to one.

use axum::Json;
use axum::extract::Path;
use fanfare_api::acl::{AclVersion, AclVersions, AclView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::view;
use crate::access::{AppPath, Developer, InApp, Viewer};
use crate::document::Problems;
use crate::error::ControlError;
use crate::etag::{IfMatch, Versioned};

/// A version in the path.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct VersionPath {
    /// The version's number.
    version: u64,
}

/// List the versions of the ACL
///
/// The newest first; the last fifty are kept.
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/acl/versions",
    operation_id = "list_acl_versions",
    tag = "Access",
    params(AppPath),
    responses((status = 200, description = "The versions.", body = AclVersions), Problems),
)]
pub(crate) async fn list(access: InApp<Viewer>) -> Result<Json<AclVersions>, ControlError> {
    let revisions = access.app.acl_revisions().await?;
    let items = revisions.into_iter().map(|revision| AclVersion {
        version: revision.version,
        rules: revision.rules,
        created_by: revision.created_by,
        created_at: revision.created_at,
    });
    Ok(Json(AclVersions { items: items.collect() }))
}

/// Read a version of the ACL
#[utoipa::path(
    get,
    path = "/api/v1/apps/{app}/acl/versions/{version}",
    operation_id = "get_acl_version",
    tag = "Access",
    params(AppPath, VersionPath),
    responses((status = 200, description = "Its rules.", body = AclView), Problems),
)]
pub(crate) async fn get(
    access: InApp<Viewer>,
    Path(VersionPath { version }): Path<VersionPath>,
) -> Result<Json<AclView>, ControlError> {
    let Versioned(_, acl) = view(access.app.acl_revision(version).await?);
    Ok(Json(acl))
}

/// Go back to a version of the ACL
///
/// Puts its rules in force as the next version. Takes the role developer. Live connections feel it within a second.
#[utoipa::path(
    post,
    path = "/api/v1/apps/{app}/acl/versions/{version}/restore",
    operation_id = "restore_acl_version",
    tag = "Access",
    params(AppPath, VersionPath, ("If-Match" = String, Header, description = "The ETag of the last read.")),
    responses((status = 200, description = "The rules as they are now.", body = AclView, headers(("ETag" = String))), Problems),
)]
pub(crate) async fn restore(
    access: InApp<Developer>,
    IfMatch(expected): IfMatch,
    Path(VersionPath { version }): Path<VersionPath>,
) -> Result<Versioned<AclView>, ControlError> {
    Ok(view(access.app.restore_acl(expected, version).await?))
}
