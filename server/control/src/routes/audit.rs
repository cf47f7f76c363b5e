//! The audit log of a tenant.

use axum::Json;
use fanfare_api::audit::AuditEntry;
use fanfare_api::server::StrictQuery;
use fanfare_api::{Page, PageQuery};
use fanfare_store::AuditRecord;

use crate::access::{InTenant, TenantPath, Viewer};
use crate::document::Problems;
use crate::error::ControlError;
use crate::page;

/// Read the audit log
///
/// Every change there was: who, when, from where, what before and after. Rows are chained by hashes and never change.
#[utoipa::path(
    get,
    path = "/api/v1/tenants/{tenant}/audit",
    operation_id = "list_audit",
    tag = "Audit",
    params(TenantPath, PageQuery),
    responses((status = 200, description = "Newest first.", body = Page<AuditEntry>), Problems),
)]
pub(crate) async fn list(
    access: InTenant<Viewer>,
    StrictQuery(query): StrictQuery<PageQuery>,
) -> Result<Json<Page<AuditEntry>>, ControlError> {
    let rows = access.tenant.audit(&page::request(query)?).await?;
    Ok(Json(page::answer(rows, view)))
}

fn view(row: AuditRecord) -> AuditEntry {
    AuditEntry {
        id: row.id,
        number: row.number,
        at: row.at,
        actor: row.actor,
        ip: row.ip,
        action: row.action,
        target: row.target,
        app: row.app,
        before: row.before,
        after: row.after,
    }
}
