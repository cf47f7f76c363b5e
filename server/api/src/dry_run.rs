//! What a change of an app's rules would have done in the last day.

use chrono::{DateTime, Utc};
use fanfare_core::{ChannelName, Operation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::schema;

/// What the proposed rules would have answered, against what those in force answer to the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DryRun {
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// How often rules decided something that was judged again. A client that asks for the same again within seconds is
    /// mostly counted once.
    pub judged: u64,
    /// How often they decided something that is not judged here: there was no room to keep it.
    pub left_out: u64,
    /// What is allowed now, and would be refused.
    pub refused: Changed,
    /// What is refused now, and would be allowed.
    pub allowed: Changed,
    /// Claims that the proposed patterns name and that were not kept, because no rule named them: such a pattern was
    /// taken to match nobody.
    pub unknown_claims: Vec<String>,
}

/// Decisions that would become others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// How often.
    pub count: u64,
    /// How many different ones.
    pub kinds: u64,
    /// The most frequent ones, at most 20.
    pub samples: Vec<DecisionSample>,
}

/// A decision of the last day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionSample {
    /// The user; absent for an anonymous client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// Its roles.
    pub roles: Vec<String>,
    /// Whether its token has a `cap`, so that only deny rules count.
    pub has_cap: bool,
    /// What it did; absent for connecting without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_operation)]
    pub operation: Option<Operation>,
    /// Where; absent for connecting without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::optional_channel)]
    pub channel: Option<ChannelName>,
    /// How often.
    pub count: u64,
    /// When last.
    pub last_at: DateTime<Utc>,
    /// Which of the proposed rules would deny it, counted from 0; absent where no rule would allow it, and where it
    /// would be allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<u32>,
}
