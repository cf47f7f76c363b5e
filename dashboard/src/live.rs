//! The page's own connection to the data plane: the native protocol over a WebSocket, with a read-only token that the
//! control plane mints for members.
//!
//! There is one link per page. It follows the app that is shown, comes back by itself (full jitter, 0.2 to 20 seconds),
//! changes its token before that expires, and notices a silent line. Parts of the page [`Live::listen`] to channels;
//! whatever happens to the line below, their subscriptions are made again.

mod link;
mod socket;
mod wire;

use std::rc::Rc;

use fanfare_core::id::AppId;
use fanfare_core::{ErrorCode, Problem};
use leptos::prelude::*;

use crate::api::Member;
use link::Machine;
pub(crate) use wire::{Fence, Message};

/// How the line is doing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Link {
    /// On the way to the first answer.
    Connecting,
    /// Messages arrive.
    Live,
    /// The line was lost and is being made again.
    Reconnecting {
        /// Since when, Unix milliseconds.
        since_ms: f64,
        /// Why, in a sentence.
        why: String,
    },
    /// The reader paused it.
    Paused,
    /// The server does not want this client; trying again would not help.
    Refused(Problem),
}

/// How one subscription is doing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Listening {
    /// Not confirmed yet.
    Waiting,
    /// Everything after this place arrives.
    On(Fence),
    /// The server said no.
    Refused(Problem),
}

/// A message and when it came.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arrival {
    /// The message.
    pub(crate) message: Message,
    /// When this page had it, Unix milliseconds of this device's clock.
    pub(crate) at_ms: f64,
    /// From the node's append to this page; unknown before the first ping was answered.
    pub(crate) travel: Option<Travel>,
}

/// A span between two clocks, their difference taken out as well as pings can tell it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Travel {
    /// Milliseconds.
    pub(crate) ms: f64,
    /// It may be so much more or less.
    pub(crate) doubt_ms: f64,
}

/// The handle to the page's link.
#[derive(Clone, Copy)]
pub(crate) struct Live {
    link: RwSignal<Link>,
    machine: StoredValue<Rc<Machine>, LocalStorage>,
}

impl Live {
    /// A link that follows the app which is shown, and is closed with the part of the page that made it.
    pub(crate) fn following(member: Member, app: Memo<Option<AppId>>) -> Self {
        let link = RwSignal::new(Link::Connecting);
        let machine = StoredValue::new_local(Machine::new(member, link));
        Effect::new(move |_| machine.with_value(|machine| machine.follow(app.get())));
        on_cleanup(move || machine.with_value(|machine| machine.follow(None)));
        Self { link, machine }
    }

    /// How the line is doing, tracked.
    pub(crate) fn link(self) -> Link {
        self.link.get()
    }

    /// Whether figures are not coming in: since when, if it is known.
    pub(crate) fn is_stale(self) -> bool {
        self.link.with(|link| !matches!(link, Link::Live | Link::Connecting))
    }

    /// Closes the line until [`Live::resume`].
    pub(crate) fn pause(self) {
        self.machine.with_value(|machine| machine.pause());
    }

    /// Opens the line at once, whatever it was waiting for.
    pub(crate) fn resume(self) {
        self.machine.with_value(Machine::resume);
    }

    /// As [`Live::listen`], beginning with so many messages of the past. They are told again when the line was lost.
    pub(crate) fn listen_with_past(
        self,
        channel: &'static str,
        past: u32,
        on_message: impl Fn(Arrival) + 'static,
    ) -> ReadSignal<Listening> {
        self.listen_from(channel, past, on_message)
    }

    /// Receives a channel's messages until the part of the page that asks is gone.
    pub(crate) fn listen(self, channel: &'static str, on_message: impl Fn(Arrival) + 'static) -> ReadSignal<Listening> {
        self.listen_from(channel, 0, on_message)
    }

    fn listen_from(
        self,
        channel: &'static str,
        past: u32,
        on_message: impl Fn(Arrival) + 'static,
    ) -> ReadSignal<Listening> {
        let (state, set_state) = signal(Listening::Waiting);
        let id = self.machine.with_value(|machine| machine.listen((channel, past), set_state, Rc::new(on_message)));
        on_cleanup(move || {
            self.machine.try_with_value(|machine| machine.forget(channel, id));
        });
        state
    }
}

/// What a closed line means, by the one table of codes.
fn closed(number: u16, reason: &str) -> Problem {
    ErrorCode::ALL.iter().find(|code| code.close() == number).map_or_else(
        || {
            Problem::new(
                ErrorCode::Overloaded,
                format!("The line closed ({number}{}{reason}).", if reason.is_empty() { "" } else { ", " }),
            )
        },
        |code| Problem::new(*code, crate::format::sentence(code.title())),
    )
}
