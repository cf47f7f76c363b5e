//! What happens in apps, told on each one's channel of events while somebody listens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fanfare_core::debug::{self, By, Happened, Refused};
use fanfare_core::id::{AppId, RequestId};
use fanfare_core::settings::History;
use fanfare_core::{ChannelKey, ChannelName, Data, Problem};

use super::Node;
use super::figures::own_append;
use crate::broker::{Append, Appended};
use crate::bus::Look;
use crate::caller::Caller;
use crate::directory::AppEntry;

/// What is kept of an app's events, so that whoever opens the console late finds what has just happened.
const KEPT: History = History { ttl_ms: 300_000, messages: 500, bytes: 1024 * 1024 };

/// For how many seconds another node's word holds that somebody listens there; it comes each second.
const ELSEWHERE_S: u32 = 4;

/// The apps whose events somebody watches.
#[derive(Default)]
pub(super) struct Watched {
    apps: Mutex<Vec<Arc<AppEntry>>>,
    /// How much happened in them that was not told.
    dropped: AtomicU64,
}

/// A publish that somebody watches, until it is known what became of it.
pub(super) struct Publishing {
    channel: ChannelName,
    name: Option<Box<str>>,
    by: By,
}

impl Publishing {
    /// `name` is the message's own, where somebody watches. In a box, so that it weighs nothing where nobody does.
    pub(super) fn of(caller: &Caller, channel: &ChannelName, name: Option<Option<Box<str>>>) -> Option<Box<Self>> {
        name.map(|name| Box::new(Self { channel: channel.clone(), name, by: by(caller) }))
    }

    pub(super) fn tell(self, entry: &AppEntry, now_ms: u64, appended: &Appended, bytes: u64) {
        let Self { channel, name, by } = self;
        let what = Happened::Published {
            channel: channel.to_string(),
            message: appended.id.to_string(),
            seq: appended.position.seq,
            bytes,
            name: name.map(Into::into),
            by,
            duplicate: appended.duplicate,
        };
        entry.events.gather(now_ms, what);
    }
}

impl Node {
    /// How much happened in apps that somebody watches, and was not told because it was too much.
    #[must_use]
    pub fn events_dropped(&self) -> u64 {
        self.events.dropped.load(Ordering::Relaxed)
    }

    /// Events of the app are gathered from here on, if somebody was subscribed to their channel just now.
    pub(crate) fn watch_events(&self, entry: &Arc<AppEntry>, channel: &ChannelName) {
        if channel.as_str() != debug::CHANNEL {
            return;
        }
        // Under the lock that is held while it is looked who still listens: whoever came before that look is seen by it.
        let mut apps = self.events.apps.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.events.watch() {
            apps.push(Arc::clone(entry));
        }
    }

    /// Something happened in an app. What it was is only put together when somebody watches.
    pub(crate) fn happened(&self, entry: &AppEntry, what: impl FnOnce() -> Happened) {
        if entry.events.is_watched() {
            entry.events.gather(self.clock.unix_ms(), what());
        }
    }

    /// A request to an app was refused: its method, and the pattern of its path.
    pub fn request_refused(
        &self,
        app: AppId,
        (method, path): (&str, &str),
        request: Option<RequestId>,
        problem: &Problem,
    ) {
        if let Some(entry) = self.directory.entry(app) {
            self.happened(&entry, || {
                let (operation, request) = (format!("{method} {path}"), request.map(|id| id.to_string()));
                let asked = Asked { operation: Some(&operation), channel: None, request: request.as_deref() };
                refused(problem, asked, By::default())
            });
        }
    }

    /// Has other nodes tell what happens in apps whose events somebody listens to here.
    pub(super) fn hear_events_of_others(&self) {
        let Ok(name) = ChannelName::parse_any(debug::CHANNEL) else { return };
        let watched = self.events.apps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for entry in watched.iter().filter(|entry| is_heard(entry, &name)) {
            // They tell it on the channel: there is nothing to wait for.
            drop(self.bus().look(entry.id(), Look::Events));
        }
    }

    /// Apps whose events somebody listens to at another node gather them here too.
    fn watch_for_others(&self, apps: &mut Vec<Arc<AppEntry>>) {
        for entry in self.directory.take_heard_elsewhere().into_iter().filter_map(|app| self.directory.entry(app)) {
            entry.events.watch_until(self.second().saturating_add(ELSEWHERE_S));
            if entry.events.watch() {
                apps.push(entry);
            }
        }
    }

    /// Tells what was gathered. Apps that nobody watches any more gather nothing from here on.
    pub(crate) fn tell_events(&self) {
        let Ok(name) = ChannelName::parse_any(debug::CHANNEL) else { return };
        let mut watched = self.events.apps.lock().unwrap_or_else(PoisonError::into_inner);
        self.watch_for_others(&mut watched);
        let second = self.second();
        watched.retain(|entry| {
            if !is_heard(entry, &name) && !entry.events.is_watched_elsewhere(second) {
                entry.events.unwatch();
                return false;
            }
            if let Some(events) = entry.events.take()
                && let Ok(json) = serde_json::value::to_raw_value(&events)
            {
                self.events.dropped.fetch_add(events.dropped, Ordering::Relaxed);
                let key = ChannelKey::from_broker(entry.id(), name.clone());
                let append = Append { history: KEPT, ..own_append(self, "events", Data::Json(json)) };
                drop(self.broker.publish(&key, append));
            }
            true
        });
        drop(watched);
        self.hub.run_ready();
    }
}

/// Whether somebody listens to an app's events here.
fn is_heard(entry: &AppEntry, name: &ChannelName) -> bool {
    entry.channel(name).is_some_and(|channel| channel.subscribers() > 0)
}

/// What was asked, as far as it is known where it is refused.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) operation: Option<&'a str>,
    pub(crate) channel: Option<&'a ChannelName>,
    pub(crate) request: Option<&'a str>,
}

pub(crate) fn refused(problem: &Problem, asked: Asked<'_>, by: By) -> Happened {
    Happened::Refused(Box::new(Refused {
        code: problem.code,
        detail: problem.detail.clone(),
        layer: problem.layer,
        rule: problem.rule,
        limit: problem.limit,
        operation: asked.operation.map(Into::into),
        channel: asked.channel.map(ToString::to_string),
        request: asked.request.map(Into::into),
        by,
    }))
}

/// Who asks.
pub(crate) fn by(caller: &Caller) -> By {
    By { connection: caller.connection, user: caller.sub().map(Into::into), key: caller.key() }
}
