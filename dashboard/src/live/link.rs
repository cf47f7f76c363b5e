//! The state machine behind [`super::Live`]: one socket at a time, timers, and the subscriptions that outlive both.
//!
//! Every socket and timer belongs to a generation; what arrives for an older one is ignored, so that nothing needs to
//! be cancelled in any order.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use fanfare_core::codes::Retry;
use fanfare_core::id::AppId;
use fanfare_core::{ErrorCode, Problem};
use gloo_timers::callback::{Interval, Timeout};
use leptos::prelude::*;

use super::socket::Socket;
use super::wire::{self, Fence, Hello, Incoming, Message, Pong};
use super::{Arrival, Link, Listening, Travel, closed};
use crate::api::{ApiError, Member};
use crate::{browser, format};

/// How long before its end a token is changed.
const REFRESH_AHEAD_MS: f64 = 45_000.0;
/// How long the first answer may take.
const HELLO_WITHIN_MS: f64 = 10_000.0;

/// When clocks are compared on a new line.
const COMPARE_AFTER_MS: [u32; 5] = [0, 150, 400, 900, 2_000];

type OnMessage = Rc<dyn Fn(Arrival)>;

struct Listener {
    id: u64,
    channel: &'static str,
    /// How many messages of the past it begins with.
    past: u32,
    state: WriteSignal<Listening>,
    on_message: OnMessage,
}

/// What a command was, so that its answer can be understood.
enum Asked {
    Connect,
    Subscribe { channel: &'static str },
    Ping { sent_ms: f64 },
    Other,
}

#[derive(Default)]
struct State {
    app: Option<AppId>,
    paused: bool,
    generation: u64,
    attempt: u32,
    next_id: u64,
    socket: Option<Socket>,
    asked: HashMap<u64, Asked>,
    listeners: Vec<Listener>,
    heard_ms: f64,
    /// The node's clock minus this device's, and the round trip it was measured with.
    clock: Option<(f64, f64)>,
    retry: Option<Timeout>,
    refresh: Option<Timeout>,
    watch: Option<Interval>,
}

/// The machine. Shared by the page's handle and the callbacks of the current socket.
pub(super) struct Machine {
    member: Member,
    link: RwSignal<Link>,
    state: RefCell<State>,
}

impl Machine {
    pub(super) fn new(member: Member, link: RwSignal<Link>) -> Rc<Self> {
        Rc::new(Self { member, link, state: RefCell::default() })
    }

    /// Serves this app from now on; `None` closes the line.
    pub(super) fn follow(self: &Rc<Self>, app: Option<AppId>) {
        {
            let mut state = self.state.borrow_mut();
            if state.app == app {
                return;
            }
            state.app = app;
            state.attempt = 0;
            state.clock = None;
        }
        self.link.try_set(Link::Connecting);
        self.open();
    }

    /// Closes the line until it is resumed.
    pub(super) fn pause(self: &Rc<Self>) {
        self.state.borrow_mut().paused = true;
        self.drop_line();
        self.link.set(Link::Paused);
    }

    /// Opens the line at once.
    pub(super) fn resume(self: &Rc<Self>) {
        {
            let mut state = self.state.borrow_mut();
            state.paused = false;
            state.attempt = 0;
        }
        self.link.set(Link::Connecting);
        self.open();
    }

    pub(super) fn listen(
        &self,
        (channel, past): (&'static str, u32),
        listening: WriteSignal<Listening>,
        on_message: OnMessage,
    ) -> u64 {
        let id = {
            let mut state = self.state.borrow_mut();
            state.next_id += 1;
            let id = state.next_id;
            state.listeners.push(Listener { id, channel, past, state: listening, on_message });
            id
        };
        if self.link.get_untracked() == Link::Live {
            self.subscribe(channel);
        }
        id
    }

    pub(super) fn forget(&self, channel: &'static str, id: u64) {
        let last = {
            let mut state = self.state.borrow_mut();
            state.listeners.retain(|listener| listener.id != id);
            state.listeners.iter().all(|listener| listener.channel != channel)
        };
        if last && self.link.try_get_untracked() == Some(Link::Live) {
            self.ask(Asked::Other, |id| wire::unsubscribe(id, channel));
        }
    }

    /// Drops whatever line there is, timers included.
    fn drop_line(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        state.generation += 1;
        (state.socket, state.retry, state.refresh, state.watch) = (None, None, None, None);
        state.asked.clear();
        state.generation
    }

    /// Makes a new line: a token, then a socket.
    fn open(self: &Rc<Self>) {
        let generation = self.drop_line();
        let (app, paused) = {
            let state = self.state.borrow();
            (state.app, state.paused)
        };
        let Some(app) = app.filter(|_| !paused) else { return };
        let machine = Rc::clone(self);
        leptos::task::spawn_local(async move {
            let answer = machine.member.live_token(app).await;
            if machine.state.borrow().generation != generation {
                return;
            }
            match answer {
                Ok(token) => {
                    let url = socket_url(&token.url);
                    machine.dial(generation, &url, token.token.expose().to_owned());
                    machine.refresh_before(generation, token.expires_at.timestamp_millis() as f64);
                }
                Err(error) => machine.lost(&problem_of(&error)),
            }
        });
    }

    fn dial(self: &Rc<Self>, generation: u64, url: &str, token: String) {
        let (opened, heard, ended) = (Rc::clone(self), Rc::clone(self), Rc::clone(self));
        let socket = Socket::open(
            url,
            move || opened.when(generation, |machine| machine.ask(Asked::Connect, |id| wire::connect(id, &token))),
            move |text| heard.when(generation, |machine| machine.hear(&text)),
            move |number, reason| ended.when(generation, |machine| machine.lost(&closed(number, &reason))),
        );
        match socket {
            Some(socket) => {
                let mut state = self.state.borrow_mut();
                state.socket = Some(socket);
                state.heard_ms = browser::now_ms();
                drop(state);
                self.watch_silence(generation, HELLO_WITHIN_MS);
            }
            None => self.lost(&Problem::new(ErrorCode::Internal, format!("{url} is no address of a WebSocket."))),
        }
    }

    /// Runs only while this generation lasts.
    fn when(self: &Rc<Self>, generation: u64, act: impl FnOnce(&Rc<Self>)) {
        if self.state.borrow().generation == generation {
            act(self);
        }
    }

    /// Sends a command, remembering what it was.
    fn ask(&self, asked: Asked, write: impl FnOnce(u64) -> String) {
        let mut state = self.state.borrow_mut();
        state.next_id += 1;
        let id = state.next_id;
        state.asked.insert(id, asked);
        if let Some(socket) = &state.socket {
            socket.send(&write(id));
        }
    }

    fn subscribe(&self, channel: &'static str) {
        let past = {
            let state = self.state.borrow();
            let wanted = state.listeners.iter().filter(|listener| listener.channel == channel);
            wanted.map(|listener| listener.past).max().unwrap_or(0)
        };
        self.ask(Asked::Subscribe { channel }, |id| wire::subscribe(id, channel, past));
    }

    fn hear(self: &Rc<Self>, text: &str) {
        let at_ms = browser::now_ms();
        self.state.borrow_mut().heard_ms = at_ms;
        // A frame this client cannot read is a newer server's; the rest of the line is still good.
        let Ok(frame) = serde_json::from_str::<Incoming>(text) else { return };
        if let Some(message) = frame.msg {
            self.deliver(message, at_ms);
        } else if let Some(id) = frame.id {
            let asked = self.state.borrow_mut().asked.remove(&id);
            match (asked, frame.ok, frame.error) {
                (Some(asked), Some(ok), _) => self.answered(asked, ok, at_ms),
                (Some(asked), None, Some(problem)) => self.refused(asked, problem),
                (Some(_), None, None) | (None, ..) => {}
            }
        } else if let Some(lost) = frame.unsubscribed {
            self.tell(&lost.channel, &Listening::Refused(lost.error));
        } else if frame.reconnect.is_some() {
            self.lost(&Problem::new(ErrorCode::Moving, "The node is going away."));
        }
    }

    fn deliver(&self, message: Message, at_ms: f64) {
        let (wanted, clock): (Vec<OnMessage>, _) = {
            let state = self.state.borrow();
            let wanted = state.listeners.iter().filter(|listener| listener.channel == message.channel);
            (wanted.map(|listener| Rc::clone(&listener.on_message)).collect(), state.clock)
        };
        let travel = clock.map(|(ahead, trip)| Travel {
            // Both of the node's times are cut to whole milliseconds; on average the cuts cancel each other.
            ms: (at_ms + ahead - message.time).max(0.0),
            doubt_ms: trip / 2.0 + 0.5,
        });
        for on_message in wanted {
            on_message(Arrival { message: message.clone(), at_ms, travel });
        }
    }

    fn answered(self: &Rc<Self>, asked: Asked, ok: serde_json::Value, at_ms: f64) {
        match asked {
            Asked::Connect => self.connected(ok),
            Asked::Subscribe { channel } => {
                if let Ok(fence) = serde_json::from_value::<Fence>(ok) {
                    self.tell(channel, &Listening::On(fence));
                }
            }
            Asked::Ping { sent_ms } => {
                if let Ok(pong) = serde_json::from_value::<Pong>(ok) {
                    self.measured(sent_ms, at_ms, pong.time);
                }
            }
            Asked::Other => {}
        }
    }

    fn connected(self: &Rc<Self>, ok: serde_json::Value) {
        let heartbeat_ms = serde_json::from_value::<Hello>(ok).map_or(25_000, |hello| hello.heartbeat_ms);
        let (generation, wanted) = {
            let mut state = self.state.borrow_mut();
            state.attempt = 0;
            let wanted: BTreeSet<&'static str> = state.listeners.iter().map(|listener| listener.channel).collect();
            (state.generation, wanted)
        };
        self.link.set(Link::Live);
        self.compare_clocks(generation);
        for channel in wanted {
            self.subscribe(channel);
        }
        self.watch_silence(generation, f64::from(heartbeat_ms));
    }

    fn refused(self: &Rc<Self>, asked: Asked, problem: Problem) {
        match asked {
            Asked::Connect => self.lost(&problem),
            Asked::Subscribe { channel } => self.tell(channel, &Listening::Refused(problem)),
            Asked::Ping { .. } | Asked::Other => {}
        }
    }

    fn tell(&self, channel: &str, listening: &Listening) {
        let state = self.state.borrow();
        for listener in state.listeners.iter().filter(|listener| listener.channel == channel) {
            listener.state.set(listening.clone());
        }
    }

    /// Pings a few times: one quick round trip is enough, and the first ones meet a busy page.
    fn compare_clocks(self: &Rc<Self>, generation: u64) {
        for wait in COMPARE_AFTER_MS {
            let machine = Rc::clone(self);
            Timeout::new(wait, move || machine.when(generation, |machine| machine.ping())).forget();
        }
    }

    fn ping(&self) {
        self.ask(Asked::Ping { sent_ms: browser::now_ms() }, wire::ping);
    }

    /// Takes the quickest round trip of the line as the truest about the clocks.
    fn measured(&self, sent_ms: f64, at_ms: f64, node_ms: f64) {
        let trip = at_ms - sent_ms;
        let ahead = node_ms - (sent_ms + at_ms) / 2.0;
        let mut state = self.state.borrow_mut();
        if state.clock.is_none_or(|(_, best)| trip <= best) {
            state.clock = Some((ahead, trip));
        }
    }

    /// Pings a quiet line, and gives it up when nothing comes back.
    fn watch_silence(self: &Rc<Self>, generation: u64, heartbeat_ms: f64) {
        let machine = Rc::clone(self);
        let every = (heartbeat_ms / 2.0) as u32;
        let watch = Interval::new(every.max(1_000), move || {
            machine.when(generation, |machine| {
                let silent_ms = browser::now_ms() - machine.state.borrow().heard_ms;
                if silent_ms > 2.0 * heartbeat_ms {
                    machine.lost(&Problem::new(ErrorCode::HeartbeatTimeout, "Nothing was heard from the server."));
                } else if machine.link.get_untracked() == Link::Live {
                    machine.ping();
                }
            });
        });
        self.state.borrow_mut().watch = Some(watch);
    }

    /// Fetches the next token in good time and hands it to the living line.
    fn refresh_before(self: &Rc<Self>, generation: u64, expires_ms: f64) {
        let machine = Rc::clone(self);
        let wait = (expires_ms - REFRESH_AHEAD_MS - browser::now_ms()).max(5_000.0) as u32;
        let timer = Timeout::new(wait, move || {
            leptos::task::spawn_local(async move {
                let Some(app) = machine.state.borrow().app else { return };
                let answer = machine.member.live_token(app).await;
                machine.when(generation, |machine| {
                    // Without one the line lives until the server closes it; then a new token is fetched anyway.
                    if let Ok(token) = answer {
                        machine.ask(Asked::Other, |id| wire::refresh(id, token.token.expose()));
                        machine.refresh_before(generation, token.expires_at.timestamp_millis() as f64);
                    }
                });
            });
        });
        self.state.borrow_mut().refresh = Some(timer);
    }

    /// The line is gone: comes back after a while, unless coming back cannot help.
    fn lost(self: &Rc<Self>, problem: &Problem) {
        let generation = self.drop_line();
        for listener in &self.state.borrow().listeners {
            listener.state.set(Listening::Waiting);
        }
        if problem.code.retry() == Retry::Never {
            self.link.set(Link::Refused(problem.clone()));
            return;
        }
        let since_ms = match self.link.get_untracked() {
            Link::Reconnecting { since_ms, .. } => since_ms,
            Link::Connecting | Link::Live | Link::Paused | Link::Refused(_) => browser::now_ms(),
        };
        self.link.set(Link::Reconnecting { since_ms, why: format::sentence(&problem.detail) });
        let mut state = self.state.borrow_mut();
        let wait = wire::backoff_ms(state.attempt, browser::random());
        state.attempt += 1;
        let machine = Rc::clone(self);
        state.retry = Some(Timeout::new(wait, move || machine.when(generation, Self::open)));
    }
}

fn socket_url(url: &str) -> String {
    if url.ends_with("/socket") { url.to_owned() } else { format!("{}/socket", url.trim_end_matches('/')) }
}

fn problem_of(error: &ApiError) -> Problem {
    let code = error.code().unwrap_or(ErrorCode::StorageUnavailable);
    Problem::new(code, error.detail())
}
