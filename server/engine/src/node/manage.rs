//! What backends do to connections, wherever these are: the node asks the bus.

use std::sync::Arc;

use fanfare_core::id::MessageId;
use fanfare_core::permission::{Layer, decide};
use fanfare_core::{
    Act, Block, ChannelKey, ChannelName, Draft, ErrorCode, Inspector, Limit, Lineage, Message, Operation, Position,
    Problem, Refusal, Subject,
};

use super::Node;
use crate::bus::{Control, Order, Told, What, Whom};
use crate::caller::Caller;
use crate::error::NodeError;
use crate::stats::AppStats;

impl Node {
    /// Closes connections of the caller's app with `disconnected`; a reason is told to them before.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` the channel, or, for anything else, `**`, and no member of the tenant
    /// who was let do just this.
    pub async fn disconnect(&self, caller: &Caller, whom: Whom, reason: Option<Box<str>>) -> Result<Told, NodeError> {
        let allowed = match (&whom, &*caller.subject) {
            (_, Subject::Inspector(inspector)) => may_disconnect(caller, inspector, &whom),
            (Whom::Channel(channel), _) => may_manage_channel(caller, channel).map(drop),
            (Whom::User(_) | Whom::Connection(_) | Whom::Everybody, _) => may_manage_all(caller),
        };
        self.counted(&caller.entry, allowed)?;
        self.order(caller, whom, Order::Disconnect { reason }).await
    }

    /// Subscribes connections to a channel, as if they had asked: their own rights decide, and those without them are
    /// told nothing and counted as refused. Who is subscribed already stays so.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` `**`.
    pub async fn subscribe(&self, caller: &Caller, whom: Whom, channel: ChannelName) -> Result<Told, NodeError> {
        self.counted(&caller.entry, may_manage_all(caller))?;
        self.order(caller, whom, Order::Subscribe { channel }).await
    }

    /// Ends subscriptions of connections to a channel.
    ///
    /// # Errors
    /// When the caller is no key that may `manage` `**`.
    pub async fn unsubscribe(&self, caller: &Caller, whom: Whom, channel: ChannelName) -> Result<Told, NodeError> {
        self.counted(&caller.entry, may_manage_all(caller))?;
        self.order(caller, whom, Order::Unsubscribe { channel }).await
    }

    async fn order(&self, caller: &Caller, whom: Whom, order: Order) -> Result<Told, NodeError> {
        let what = What::Order { whom, order };
        Ok(self.bus().tell(Control { app: caller.entry.id(), what }).wait().await)
    }

    /// Sends a message to all connections of a user that are here now. It is of no channel: nothing keeps it, and a
    /// connection that does not take its bytes is left out and not counted. Answers the message's id too.
    ///
    /// # Errors
    /// When the caller is no key that may `publish` on `**`, or a limit is reached.
    pub async fn send_to_user(&self, caller: &Caller, user: &str, draft: Draft) -> Result<(Box<str>, Told), NodeError> {
        let admitted = self.admit_user_message(caller, &draft);
        self.counted(&caller.entry, admitted)?;
        let (weight, time_ms) = (draft.weight() as u64, self.clock.unix_ms());
        let id = draft.id.clone().unwrap_or_else(|| MessageId::new(time_ms, self.chance.next()).to_string().into());
        let nowhere = Position { lineage: Lineage { epoch: 0, term: 0, nonce: 0 }, seq: 0 };
        let message = Message {
            id: id.clone(),
            position: nowhere,
            time_ms,
            publisher: None,
            origin: None,
            draft: Arc::new(draft),
        };
        let what = What::Send { user: user.into(), message: Arc::new(message) };
        let told = self.bus().tell(Control { app: caller.entry.id(), what }).wait().await;
        let stats = &caller.entry.stats;
        AppStats::add(&stats.messages_in, 1);
        AppStats::add(&stats.bytes_in, weight);
        AppStats::add(&stats.messages_out, told.connections);
        Ok((id, told))
    }

    fn admit_user_message(&self, caller: &Caller, draft: &Draft) -> Result<(), NodeError> {
        let app = caller.entry.peek();
        may_all(caller, Operation::Publish)?;
        if app.status.blocks(Block::Publish) {
            return Err(NodeError::Refused(Refusal::Tenant));
        }
        let (weight, max) = (draft.weight(), app.limits.get(Limit::MessageBytes).max);
        if weight as u64 > max {
            return Err(NodeError::TooLarge { limit: Limit::MessageBytes, bytes: weight, max });
        }
        let rate = app.limits.get(Limit::PublishApp);
        caller.entry.publishes.draw(self.clock.monotonic(), rate, 1).map(drop).map_err(|exceeded| NodeError::Rate {
            limit: Limit::PublishApp,
            max: rate.max,
            retry_after_ms: exceeded.retry_after_ms,
        })
    }
}

fn may_disconnect(caller: &Caller, inspector: &Inspector, whom: &Whom) -> Result<(), NodeError> {
    let act = match whom {
        Whom::User(user) => Act::DisconnectUser(user.clone()),
        Whom::Connection(id) => Act::DisconnectConnection(*id),
        Whom::Channel(channel) => Act::DisconnectChannel(channel.clone()),
        // The dashboard closes no app as a whole.
        Whom::Everybody => return Err(Refusal::Inspector { operation: Operation::Manage }.into()),
    };
    Ok(inspector.decide_act(&caller.entry.peek(), &act)?)
}

/// What is done to a channel, by a key that may `manage` it or a member who was let do it.
pub(super) fn may_act_on_channel(
    caller: &Caller,
    channel: &ChannelName,
    act: fn(ChannelName) -> Act,
) -> Result<ChannelKey, NodeError> {
    let Subject::Inspector(inspector) = &*caller.subject else { return may_manage_channel(caller, channel) };
    inspector.decide_act(&caller.entry.peek(), &act(channel.clone()))?;
    may_look_at_channel(caller, channel)
}

/// Whoever may manage a channel may look at it, and every member of the tenant.
pub(super) fn may_look_at_channel(caller: &Caller, channel: &ChannelName) -> Result<ChannelKey, NodeError> {
    match &*caller.subject {
        Subject::Inspector(_) => {
            Ok(decide(&caller.entry.peek(), &caller.subject, Operation::History, channel)?.channel_key())
        }
        Subject::Key { .. } | Subject::Client(_) => may_manage_channel(caller, channel),
    }
}

/// The same for what is no channel's.
pub(super) fn may_look_at_all(caller: &Caller) -> Result<(), NodeError> {
    match &*caller.subject {
        Subject::Inspector(_) if caller.entry.peek().status.blocks(Block::All) => Err(Refusal::Tenant.into()),
        Subject::Inspector(_) => Ok(()),
        Subject::Key { .. } | Subject::Client(_) => may_manage_all(caller),
    }
}

/// Channels are managed by keys whose patterns cover them.
pub(super) fn may_manage_channel(caller: &Caller, channel: &ChannelName) -> Result<ChannelKey, NodeError> {
    let Subject::Key { .. } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
    Ok(decide(&caller.entry.peek(), &caller.subject, Operation::Manage, channel)?.channel_key())
}

/// Users and connections are no channel's: a key that manages some channels must not reach the clients of others.
pub(super) fn may_manage_all(caller: &Caller) -> Result<(), NodeError> {
    may_all(caller, Operation::Manage)
}

fn may_all(caller: &Caller, operation: Operation) -> Result<(), NodeError> {
    let Subject::Key { id, capabilities } = &*caller.subject else { return Err(NodeError::KeyInvalid) };
    if capabilities.everywhere(operation) {
        return Ok(());
    }
    let detail =
        format!("The key {id} does not have {operation} on `**`, which users, connections and the whole app need.");
    let problem = Problem { layer: Some(Layer::Key), ..Problem::new(ErrorCode::Forbidden, detail) };
    Err(NodeError::Invalid(Box::new(problem)))
}
