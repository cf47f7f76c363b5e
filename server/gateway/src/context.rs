//! What every handler has at hand.

use std::sync::Arc;

use fanfare_engine::Node;
use tokio_util::task::TaskTracker;

use crate::options::Options;
use crate::refusal::Lingering;
use crate::tickets::Tickets;

/// The node and how the gateway was set up.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) node: Arc<Node>,
    pub(crate) options: Arc<Options>,
    /// Places of sockets that are refused.
    pub(crate) lingering: Lingering,
    pub(crate) tickets: Arc<Tickets>,
    /// Connections whose client reads them as the body of an answer.
    pub(crate) streams: TaskTracker,
}
