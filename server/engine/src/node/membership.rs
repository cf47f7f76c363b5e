//! Nodes as the operator sees them.

use std::sync::Arc;

use fanfare_core::id::AppId;
use serde::{Deserialize, Serialize};

use super::{Node, Pressure};
use crate::bus::{Answers, Look, Seen};

/// What is asked of nodes is of no app.
const NO_APP: AppId = AppId::new(0, 0);

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// As the operator knows it: its machine and process.
    pub name: Box<str>,
    /// Of Fanfare.
    pub version: Box<str>,
    /// When it started, Unix milliseconds by its own clock.
    pub started_ms: u64,
    /// Open connections, over all apps.
    pub connections: u64,
    /// How many it takes.
    pub connections_max: u64,
    /// Whether it takes nobody new, because it is going away.
    pub draining: bool,
    /// Whether it takes nobody new, because it is short of memory.
    pub short_of_memory: bool,
}

/// The nodes there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    /// By name, and whether it is the one that was asked.
    pub nodes: Vec<(NodeInfo, bool)>,
    /// Nodes that have beaten lately and did not answer in time.
    pub missing: u32,
}

impl Node {
    /// What this node says of itself.
    #[must_use]
    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            name: self.options.name.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_ms: self.started_ms,
            connections: self.connections(),
            connections_max: self.options.connections_max,
            draining: self.is_draining(),
            short_of_memory: self.pressure() > Pressure::Calm,
        }
    }

    /// Asks all nodes.
    pub async fn nodes(&self) -> Membership {
        let Answers { seen, missing } = self.bus().look(NO_APP, Look::Node).wait().await;
        let info = |(name, seen): (Arc<str>, Seen)| match seen {
            // What this node says is not told over anything.
            Seen::Node(info) => Some((*info, name.is_empty())),
            _ => None,
        };
        let mut nodes: Vec<_> = seen.into_iter().filter_map(info).collect();
        nodes.sort_unstable_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Membership { nodes, missing }
    }
}
