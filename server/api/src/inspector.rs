//! How members look at an app through the dashboard, and what they are let do there.

use chrono::{DateTime, Utc};
use fanfare_core::id::ConnectionId;
use fanfare_core::{Act, ChannelName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;
use crate::secret::SecretText;

/// A short-lived token for the data plane's REST API, signed by the platform for one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InspectorToken {
    /// The token, a Bearer credential.
    #[schema(schema_with = schema::secret)]
    pub token: SecretText,
    /// The app's URL.
    #[schema(format = "uri", example = "http://localhost:8000/v1/apps/app_01JD0000000000000000000000")]
    pub url: String,
    /// When the token stops working.
    pub expires_at: DateTime<Utc>,
}

/// The one thing that a token is wanted for. Exactly one of the fields says which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActRequest {
    /// Close this connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_connection_id)]
    pub disconnect_connection: Option<ConnectionId>,
    /// Close the connections of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255, example = "ann")]
    pub disconnect_user: Option<String>,
    /// Close the connections that are subscribed to this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_channel)]
    pub disconnect_channel: Option<ChannelName>,
    /// Delete all that is kept of this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_channel)]
    pub delete_history: Option<ChannelName>,
}

impl ActRequest {
    /// What is asked for; `None` unless it is exactly one thing.
    #[must_use]
    pub fn into_act(self) -> Option<Act> {
        let Self { disconnect_connection, disconnect_user, disconnect_channel, delete_history } = self;
        let mut asked = [
            disconnect_connection.map(Act::DisconnectConnection),
            disconnect_user.map(|user| Act::DisconnectUser(user.into())),
            disconnect_channel.map(Act::DisconnectChannel),
            delete_history.map(Act::DeleteHistory),
        ]
        .into_iter()
        .flatten();
        asked.next().filter(|_| asked.next().is_none())
    }
}

impl From<Act> for ActRequest {
    fn from(act: Act) -> Self {
        match act {
            Act::DisconnectConnection(id) => Self { disconnect_connection: Some(id), ..Self::default() },
            Act::DisconnectUser(user) => Self { disconnect_user: Some(user.into()), ..Self::default() },
            Act::DisconnectChannel(channel) => Self { disconnect_channel: Some(channel), ..Self::default() },
            Act::DeleteHistory(channel) => Self { delete_history: Some(channel), ..Self::default() },
        }
    }
}
