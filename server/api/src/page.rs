//! Lists that come in pages.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// The most items of one page.
pub const PAGE_MAX: u32 = 100;

/// A part of a list, and where the next part starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Hand this back as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Of what is asked of all nodes of the data plane: how many did not answer in time. What they have is missing here.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missing_nodes: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<T> Page<T> {
    /// A part of a list, and where the next starts.
    #[must_use]
    pub const fn part(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next, missing_nodes: 0 }
    }

    /// A list that fits on one page.
    #[must_use]
    pub const fn whole(items: Vec<T>) -> Self {
        Self::part(items, None)
    }
}

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next` of the page before; without it the list starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items, 1 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 100, default = 50)]
    pub limit: Option<u32>,
}
