//! The data plane as a tenant's backend calls it: with a key, on the gateway, across origins.

use fanfare_api::SecretText;
use fanfare_api::data::{MintTokenRequest, MintTokenResponse, Published};

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

    fn authorized(&self, call: Call) -> Call {
        call.header("Authorization", format!("Bearer {}", self.key.expose()))
    }
}
