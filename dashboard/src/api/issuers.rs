//! Issuers of an app.

use fanfare_api::issuer::{CreateIssuer, IssuerView, UpdateIssuer};
use fanfare_core::id::{AppId, IssuerId};

use super::send::Call;
use super::{Answer, Member};

impl Member {
    /// Every issuer of an app.
    pub(crate) async fn issuers(self, app: AppId) -> Answer<Vec<IssuerView>> {
        self.all(&format!("/api/v1/apps/{app}/issuers")).await
    }

    /// Makes an issuer.
    pub(crate) async fn create_issuer(self, app: AppId, issuer: &CreateIssuer) -> Answer<IssuerView> {
        self.ask(Call::post(format!("/api/v1/apps/{app}/issuers")).json(issuer).creates()).await
    }

    /// Changes an issuer that is at this version.
    pub(crate) async fn update_issuer(
        self,
        app: AppId,
        issuer: IssuerId,
        version: u64,
        change: &UpdateIssuer,
    ) -> Answer<IssuerView> {
        let path = format!("/api/v1/apps/{app}/issuers/{issuer}");
        self.ask(Call::patch(path).json(change).at_version(version)).await
    }

    /// Deletes an issuer for good.
    pub(crate) async fn delete_issuer(self, app: AppId, issuer: IssuerId) -> Answer<()> {
        self.ask(Call::delete(format!("/api/v1/apps/{app}/issuers/{issuer}"))).await
    }
}
