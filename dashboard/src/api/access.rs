//! The ACL of an app: its rules, why it says what it says, and its versions.

use fanfare_api::acl::{AclVersions, AclView, ExplainRequest, Explanation, ReplaceAcl};
use fanfare_api::dry_run::DryRun;
use fanfare_core::id::AppId;

use super::send::Call;
use super::{Answer, Member};

impl Member {
    /// The ACL of an app.
    pub(crate) async fn acl(self, app: AppId) -> Answer<AclView> {
        self.ask(Call::get(format!("/api/v1/apps/{app}/acl"))).await
    }

    /// Replaces the ACL that is at this version.
    pub(crate) async fn replace_acl(self, app: AppId, version: u64, acl: &ReplaceAcl) -> Answer<AclView> {
        self.ask(Call::put(format!("/api/v1/apps/{app}/acl")).json(acl).at_version(version)).await
    }

    /// May such a client do this there, and why.
    pub(crate) async fn explain(self, app: AppId, question: &ExplainRequest) -> Answer<Explanation> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/acl/explain")).json(question)).await
    }

    /// What these rules would have done in the last day.
    pub(crate) async fn dry_run(self, app: AppId, acl: &ReplaceAcl) -> Answer<DryRun> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/acl/dry-run")).json(acl)).await
    }

    /// The versions that are kept, the newest first.
    pub(crate) async fn acl_versions(self, app: AppId) -> Answer<AclVersions> {
        self.ask(Call::get(format!("/api/v1/apps/{app}/acl/versions"))).await
    }

    /// The rules of one of them.
    pub(crate) async fn acl_version(self, app: AppId, version: u64) -> Answer<AclView> {
        self.ask(Call::get(format!("/api/v1/apps/{app}/acl/versions/{version}"))).await
    }

    /// Puts an earlier version in force again, while the ACL is still at `expected`.
    pub(crate) async fn restore_acl(self, app: AppId, expected: u64, earlier: u64) -> Answer<AclView> {
        let path = format!("/api/v1/apps/{app}/acl/versions/{earlier}/restore");
        self.ask(Call::post(path).at_version(expected)).await
    }
}
