//! What every broker must do. Each form of it passes here: in memory, and over a real Redis.

mod presence;
mod redis;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::harness::eventually;
use ::harness::redis::Redis;

use fanfare_core::id::AppId;
use fanfare_core::limits::LimitValue;
use fanfare_core::settings::History;
use fanfare_core::{ChannelKey, ChannelName, Data, Draft, Message};
use fanfare_engine::broker::{Append, Deliver, Durability, Page, Read, Remove, Scope, Start};
use fanfare_engine::chance::Chance;
use fanfare_engine::{Broker, BrokerError, MemoryBroker, MemoryOptions};

/// Keeps what it hears.
#[derive(Default)]
struct Ear(Mutex<Vec<(ChannelKey, Arc<Message>)>>);

impl Deliver for Ear {
    fn deliver(&self, channel: &ChannelKey, message: Arc<Message>, _accepted: Duration) {
        self.0.lock().expect("nobody panics here").push((channel.clone(), message));
    }
}

impl Ear {
    fn seqs(&self, channel: &ChannelKey) -> Vec<u64> {
        let heard = self.0.lock().expect("nobody panics here");
        heard.iter().filter(|(key, _)| key == channel).map(|(_, message)| message.position.seq).collect()
    }
}

/// A broker under test and what hears it.
struct Form {
    broker: Arc<dyn Broker>,
    ear: Arc<Ear>,
    /// Ends with it.
    _redis: Option<Redis>,
}

fn memory(options: MemoryOptions) -> Form {
    let (broker, ear) = (MemoryBroker::new(options, 1_000, Chance::new(Some(7))), Arc::new(Ear::default()));
    broker.deliver_to(Arc::clone(&ear) as Arc<dyn Deliver>);
    Form { broker: Arc::new(broker), ear, _redis: None }
}

async fn over_redis() -> Form {
    let redis = Redis::start().await.expect("Redis starts");
    let (broker, ear) = (redis::broker(&redis.url()).await, Arc::new(Ear::default()));
    broker.deliver_to(Arc::clone(&ear) as Arc<dyn Deliver>);
    Form { broker, ear, _redis: Some(redis) }
}

async fn forms() -> Vec<Form> {
    vec![memory(MemoryOptions::default()), over_redis().await]
}

fn channel(app: u64, name: &str) -> ChannelKey {
    ChannelKey::from_broker(AppId::new(app, 0), ChannelName::parse(name).expect("valid"))
}

fn text(data: &str) -> Append {
    let json = serde_json::value::to_raw_value(data).expect("JSON");
    Append {
        id: "msg".into(),
        idempotent: false,
        scope: Scope::Backend,
        publisher: None,
        origin: None,
        draft: Arc::new(Draft::new(Data::Json(json))),
        time_ms: 10_000,
        monotonic: Duration::from_secs(10),
        history: History::default(),
        durability: Durability::Memory,
        idempotency_ms: 60_000,
        rate: LimitValue::rate(1_000_000, 1_000_000),
        app_bytes_max: u64::MAX,
        app_channels_max: u64::MAX,
    }
}

fn with_id(id: &str, data: &str) -> Append {
    Append { id: id.into(), idempotent: true, ..text(data) }
}

impl Form {
    async fn publish(&self, channel: &ChannelKey, append: Append) -> Result<u64, BrokerError> {
        self.broker.publish(channel, append).wait().await.map(|appended| appended.position.seq)
    }

    /// Waits until this was heard, and nothing else.
    async fn heard(&self, channel: &ChannelKey, expected: &[u64]) {
        let heard = eventually("it is heard", async || {
            let seqs = self.ear.seqs(channel);
            Ok((seqs.len() >= expected.len()).then_some(seqs))
        });
        assert_eq!(heard.await.expect("in time"), expected);
    }

    async fn read(&self, channel: &ChannelKey, start: Start) -> Page {
        self.read_at(channel, start, 10_000).await
    }

    async fn read_at(&self, channel: &ChannelKey, start: Start, now_ms: u64) -> Page {
        let read = Read { start, messages_max: 100, bytes_max: 1 << 20, now_ms };
        self.broker.read(channel, read).wait().await.expect("readable")
    }
}

fn seqs(page: &Page) -> Vec<u64> {
    page.messages.iter().map(|message| message.position.seq).collect()
}

#[tokio::test]
async fn numbers_are_contiguous_and_heard_in_order() {
    for form in forms().await {
        let (a, b) = (channel(1, "a"), channel(1, "b"));
        for key in [&a, &b] {
            form.broker.attach(key).wait().await.expect("attached");
        }
        for n in 1..=5 {
            assert_eq!(form.publish(&a, text("x")).await, Ok(n));
        }
        assert_eq!(form.publish(&b, text("x")).await, Ok(1));
        form.heard(&a, &[1, 2, 3, 4, 5]).await;
        form.heard(&b, &[1]).await;
    }
}

#[tokio::test]
async fn memory_alone_takes_nothing_that_has_to_be_on_a_second_machine() {
    let form = memory(MemoryOptions::default());
    let a = channel(1, "a");
    let replicated = Append { durability: Durability::Replicated, ..text("x") };
    assert_eq!(form.publish(&a, replicated).await, Err(BrokerError::NotReplicated));
    assert_eq!(form.read(&a, Start::After(0)).await.top, 0);
}

#[tokio::test]
async fn what_is_deleted_leaves_its_number_and_gives_its_room_back() {
    for form in forms().await {
        let (key, other) = (channel(1, "a"), channel(1, "b"));
        for n in 1..=5 {
            form.publish(&key, with_id(&n.to_string(), &"x".repeat(1_000))).await.expect("accepted");
        }
        let position = form.read(&key, Start::After(2)).await.messages[0].position;
        let remove = async |channel: &ChannelKey, remove| form.broker.remove(channel, remove).wait().await;
        assert_eq!(remove(&other, Remove::Message(position)).await, Ok(0), "a position of another channel");
        assert_eq!(remove(&key, Remove::Message(position)).await, Ok(1));
        assert_eq!(remove(&key, Remove::Message(position)).await, Ok(0), "it is gone already");
        let page = form.read(&key, Start::After(0)).await;
        let gone: Vec<bool> = page.messages.iter().map(|message| message.is_deleted()).collect();
        assert_eq!((seqs(&page), gone), (vec![1, 2, 3, 4, 5], vec![false, false, true, false, false]));
        assert_eq!(remove(&key, Remove::All).await, Ok(5));
        let page = form.read(&key, Start::After(0)).await;
        assert_eq!((page.top, page.first, page.messages.len()), (5, 6, 0));
        assert_eq!(form.publish(&key, text("next")).await, Ok(6));
    }
}

#[tokio::test]
async fn deleting_gives_back_exactly_what_was_taken() {
    let broker = MemoryBroker::new(MemoryOptions::default(), 1_000, Chance::new(Some(7)));
    let key = channel(1, "a");
    for n in 1..=5 {
        let _there = broker.publish(&key, text(&"x".repeat(100 * n))).wait().await;
    }
    let page = broker.read(&key, Read { start: Start::After(0), messages_max: 9, bytes_max: 1 << 20, now_ms: 10_000 });
    let position = page.wait().await.expect("readable").messages[4].position;
    let before = broker.bytes();
    assert_eq!(broker.remove(&key, Remove::Message(position)).wait().await, Ok(1));
    assert_eq!(before - broker.bytes(), 502, "the payload, with its quotation marks");
    assert_eq!(broker.remove(&key, Remove::All).wait().await, Ok(5));
    assert_eq!(broker.bytes(), 0);
}

#[tokio::test]
async fn two_apps_never_meet_on_one_name() {
    for form in forms().await {
        form.publish(&channel(1, "a"), with_id("i", "one")).await.expect("accepted");
        let other = channel(2, "a");
        assert_eq!(form.read(&other, Start::Last(10)).await.messages, []);
        assert_eq!(form.publish(&other, with_id("i", "two")).await, Ok(1), "ids are of one app");
    }
}

#[tokio::test]
async fn reads_go_both_ways_and_from_a_time() {
    for form in forms().await {
        let a = channel(1, "a");
        for n in 1..=6 {
            form.publish(&a, Append { time_ms: 10_000 + n, ..text("x") }).await.expect("accepted");
        }
        let table = [
            (Start::Top, vec![]),
            (Start::After(4), vec![5, 6]),
            (Start::After(9), vec![]),
            (Start::Last(2), vec![5, 6]),
            (Start::Since(10_005), vec![5, 6]),
            (Start::Before(None), vec![6, 5, 4, 3, 2, 1]),
            (Start::Before(Some(3)), vec![2, 1]),
        ];
        for (start, expected) in table {
            let page = form.read(&a, start).await;
            assert_eq!((seqs(&page), page.top, page.first), (expected, 6, 1), "{start:?}");
        }
        let narrow = Read { start: Start::After(0), messages_max: 100, bytes_max: 7, now_ms: 10_000 };
        let page = form.broker.read(&a, narrow).wait().await.expect("readable");
        assert_eq!(seqs(&page), [1, 2], "about seven bytes, of three each");
    }
}

#[tokio::test]
async fn history_is_trimmed_by_count_bytes_and_age_and_says_so() {
    for form in forms().await {
        let (count, bytes, age) = (channel(1, "count"), channel(1, "bytes"), channel(1, "age"));
        for n in 1..=5_u64 {
            let history = History { messages: 2, ..History::default() };
            form.publish(&count, Append { history, ..text("x") }).await.expect("accepted");
            let history = History { bytes: 1_500, ..History::default() };
            form.publish(&bytes, Append { history, ..text(&"x".repeat(300)) }).await.expect("accepted");
            form.publish(&age, Append { time_ms: 10_000 + n * 60_000, ..text("x") }).await.expect("accepted");
        }
        assert_eq!(form.read(&count, Start::After(0)).await.first, 4);
        assert!(form.read(&bytes, Start::After(0)).await.first > 1);
        let late = form.read_at(&age, Start::After(0), 10_000 + 5 * 60_000 + 119_000).await;
        assert_eq!((late.first, late.top), (5, 5));
        let gone = form.read_at(&age, Start::After(0), 10_000 + 9 * 60_000).await;
        assert_eq!((gone.first, gone.top), (6, 5), "nothing is kept; the number goes on");
    }
}

#[tokio::test]
async fn a_channel_without_history_keeps_nothing_and_still_delivers() {
    for form in forms().await {
        let a = channel(1, "a");
        form.broker.attach(&a).wait().await.expect("attached");
        form.publish(&a, Append { history: History::NONE, ..text("x") }).await.expect("accepted");
        form.heard(&a, &[1]).await;
        assert_eq!(form.read(&a, Start::Last(5)).await.first, 2);
    }
}

#[tokio::test]
async fn one_id_is_at_most_one_message_inside_its_window() {
    for form in forms().await {
        let a = channel(1, "a");
        let first = form.broker.publish(&a, with_id("i", "x")).wait().await.expect("accepted");
        let again = form.broker.publish(&a, with_id("i", "x")).wait().await.expect("accepted");
        assert_eq!((again.position, again.duplicate, first.duplicate), (first.position, true, false));
        assert_eq!(form.publish(&a, with_id("i", "y")).await, Err(BrokerError::IdReused));
        let user = |name: &str| Append { scope: Scope::User(name.into()), ..with_id("i", "z") };
        assert_eq!((form.publish(&a, user("ann")).await, form.publish(&a, user("bob")).await), (Ok(2), Ok(3)));
        let later = Append { time_ms: 10_000 + 60_000, ..with_id("i", "y") };
        assert_eq!(form.publish(&a, later).await, Ok(4), "the window is over");
    }
}

#[tokio::test]
async fn a_channels_rate_and_an_apps_bytes_are_held_and_a_refusal_appends_nothing() {
    for form in forms().await {
        let a = channel(1, "a");
        let slow = || Append { rate: LimitValue::rate(1, 2), ..text("x") };
        assert_eq!((form.publish(&a, slow()).await, form.publish(&a, slow()).await), (Ok(1), Ok(2)));
        assert!(matches!(form.publish(&a, slow()).await, Err(BrokerError::Rate { max: 1, .. })));
        let heavy = Append { app_bytes_max: 600, ..text(&"x".repeat(400)) };
        let b = channel(1, "b");
        assert_eq!(form.publish(&b, heavy).await, Err(BrokerError::AppBytes { max: 600 }));
        assert_eq!((form.read(&a, Start::Top).await.top, form.read(&b, Start::Top).await.top), (2, 0));
    }
}

#[tokio::test]
async fn an_app_has_no_more_channels_than_it_may_and_those_that_are_there_stay() {
    for form in forms().await {
        let few = || Append { app_channels_max: 2, ..text("x") };
        for name in ["a", "b"] {
            assert_eq!(form.publish(&channel(1, name), few()).await, Ok(1));
        }
        assert_eq!(form.publish(&channel(1, "c"), few()).await, Err(BrokerError::AppChannels { max: 2 }));
        assert_eq!(form.publish(&channel(1, "a"), few()).await, Ok(2));
        assert_eq!(form.publish(&channel(2, "c"), few()).await, Ok(1), "another app has its own");
    }
}

#[tokio::test]
async fn what_nobody_needs_is_forgotten_and_what_somebody_needs_is_not() {
    // Redis forgets by its own clock.
    for form in [memory(MemoryOptions::default())] {
        let (idle, used) = (channel(1, "idle"), channel(1, "used"));
        for key in [&idle, &used] {
            form.publish(key, text("x")).await.expect("accepted");
        }
        form.broker.attach(&used).wait().await.expect("attached");
        let before = (form.read(&idle, Start::Top).await, form.read(&used, Start::Top).await);
        for turn in 0..8 {
            form.broker.sweep(10_000_000 + turn);
        }
        let after = (form.read(&idle, Start::Top).await, form.read(&used, Start::Top).await);
        assert_ne!(after.0.lineage.epoch, before.0.lineage.epoch, "an old position must be told from a new one");
        assert_eq!(after.1.lineage, before.1.lineage, "a subscriber's channel keeps its log");
    }
}

#[tokio::test]
async fn the_memory_broker_holds_no_more_than_it_may_and_no_app_more_than_a_quarter_of_that() {
    let form = memory(MemoryOptions { bytes_max: 8_000, channels_max: 8 });
    for app in 1..=4 {
        let mut accepted = 0;
        let refused = loop {
            match form.publish(&channel(app, "a"), text(&"x".repeat(100))).await {
                Ok(_) => accepted += 1,
                Err(refusal) => break refusal,
            }
            assert!(accepted < 100, "it must refuse at some point");
        };
        assert_eq!((refused, accepted > 2), (BrokerError::AppBytes { max: 2_000 }, true), "app {app}");
    }
    let unkept = || Append { history: History::NONE, ..text("x") };
    assert_eq!(form.publish(&channel(1, "b"), unkept()).await, Ok(1), "what keeps nothing needs no room");
    assert_eq!(form.publish(&channel(1, "c"), unkept()).await, Err(BrokerError::AppChannels { max: 2 }));
    for app in 2..=4 {
        assert_eq!(form.publish(&channel(app, "b"), unkept()).await, Ok(1), "another app has its own");
    }
    assert_eq!(form.publish(&channel(5, "a"), unkept()).await, Err(BrokerError::Full));
}
