//! The data plane as a tenant's backend calls it: with a key, on the gateway, across origins.

use fanfare_api::SecretText;
use fanfare_api::data::{InspectTokenRequest, InspectTokenResponse, MintTokenRequest, MintTokenResponse, Published};
use fanfare_api::manage::{Revocation, RevocationCreated, RevocationList, RevokeRequest};
use fanfare_core::id::RevocationId;

use super::send::{Call, exchange};
use super::{Answer, encoded};

/// A client of one app's REST API.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    url: String,
    key: SecretText,
}

impl Backend {
    /// The client of the app at this URL, with a whole printed key.
    pub(crate) const fn new(url: String, key: SecretText) -> Self {
        Self { url, key }
    }

    /// Publishes a message.
    pub(crate) async fn publish(&self, channel: &str, message: &serde_json::Value) -> Answer<Published> {
        let path = format!("{}/channels/{}/messages", self.url, encoded(channel).replace("%3A", ":"));
        exchange(self.authorized(Call::post(path)).json(message)).await
    }

    /// Has the key sign a token.
    pub(crate) async fn mint(&self, request: &MintTokenRequest) -> Answer<MintTokenResponse> {
        exchange(self.authorized(Call::post(format!("{}/tokens", self.url))).json(request)).await
    }

    /// Has a token judged. It goes in the body, and nowhere else.
    pub(crate) async fn inspect(&self, token: SecretText) -> Answer<InspectTokenResponse> {
        let call = Call::post(format!("{}/tokens/inspect", self.url)).json(&InspectTokenRequest { token });
        exchange(self.authorized(call)).await
    }

    /// Refuses tokens before their time.
    pub(crate) async fn revoke(&self, request: &RevokeRequest) -> Answer<RevocationCreated> {
        exchange(self.authorized(Call::post(format!("{}/revocations", self.url))).json(request)).await
    }

    /// What is revoked, the oldest first; the first thousand.
    pub(crate) async fn revocations(&self) -> Answer<Vec<Revocation>> {
        let list: RevocationList =
            exchange(self.authorized(Call::get(format!("{}/revocations?limit=1000", self.url)))).await?;
        Ok(list.items)
    }

    /// Lets tokens work again that were revoked.
    pub(crate) async fn end_revocation(&self, id: RevocationId) -> Answer<()> {
        exchange(self.authorized(Call::delete(format!("{}/revocations/{id}", self.url)))).await
    }

    fn authorized(&self, call: Call) -> Call {
        call.header("Authorization", format!("Bearer {}", self.key.expose()))
    }
}
