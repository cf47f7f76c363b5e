//! What every form of presence must do: in memory, and over a real Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::harness::eventually;
use ::harness::redis::Redis;
use fanfare_core::id::ConnectionId;
use fanfare_core::limits::LimitValue;
use fanfare_core::{ChannelKey, Member, MemberId};
use fanfare_engine::presence::{Change, Hear, How, Page, PresenceError, Put, Read, What};
use fanfare_engine::{MemoryPresence, MemoryPresenceOptions, Presence};

use super::channel;
use super::redis::Node;

/// Keeps what it hears.
#[derive(Default)]
pub(super) struct Ear(pub(super) Mutex<Heard>);

#[derive(Default)]
pub(super) struct Heard {
    /// Version, count, and whether somebody is there.
    pub(super) changes: Vec<(u64, u64, bool)>,
    pub(super) missed: u64,
}

impl Hear for Ear {
    fn changed(&self, _: &ChannelKey, change: &Change) {
        let here = matches!(change.what, What::Here(_));
        self.0.lock().expect("nobody panics here").changes.push((change.version, change.count, here));
    }

    fn missed(&self, _: &ChannelKey) {
        self.0.lock().expect("nobody panics here").missed += 1;
    }
}

struct Form {
    presence: Arc<dyn Presence>,
    ear: Arc<Ear>,
    /// Ends with it.
    _redis: Option<(Redis, Node)>,
}

async fn forms() -> Vec<Form> {
    let (memory, ear) = (MemoryPresence::new(MemoryPresenceOptions::default()), Arc::new(Ear::default()));
    memory.tell(Arc::clone(&ear) as Arc<dyn Hear>);
    let memory = Form { presence: Arc::new(memory), ear, _redis: None };
    let redis = Redis::start().await.expect("Redis starts");
    let node = Node::start(&redis).await.expect("it is fit");
    let redis = Form { presence: node.presence(), ear: Arc::clone(&node.watching), _redis: Some((redis, node)) };
    vec![memory, redis]
}

pub(super) fn id(number: u64) -> MemberId {
    MemberId::Connection(ConnectionId::new(number, 0))
}

pub(super) fn put(number: u64, generation: u64, how: How) -> Put {
    Put {
        member: Member { id: id(number), user: Some("ann".into()), info: None, data: None, since_ms: number },
        generation,
        how,
        expires_ms: None,
        rate: (LimitValue::rate(1_000, 1_000), Duration::ZERO),
        app_bytes_max: u64::MAX,
    }
}

pub(super) fn saying(put: Put, data: &str) -> Put {
    let data = serde_json::value::to_raw_value(data).expect("JSON");
    Put { member: Member { data: Some(data), ..put.member }, ..put }
}

impl Form {
    async fn put(&self, channel: &ChannelKey, put: Put) -> Result<(u64, bool), PresenceError> {
        self.presence.put(channel, put).wait().await.map(|placed| (placed.version, placed.entered))
    }

    async fn leave(&self, channel: &ChannelKey, number: u64, generation: u64) -> bool {
        self.presence.leave(channel, &id(number), generation).wait().await.expect("reachable")
    }

    async fn page(&self, channel: &ChannelKey, after: Option<u64>, limit: u32) -> Page {
        let read = Read { after: after.map(id), limit, bytes_max: u64::MAX, listed_max: 10 };
        self.presence.read(channel, read).wait().await.expect("readable")
    }
}

impl Form {
    async fn is_empty_soon(&self, channel: &ChannelKey) {
        let empty =
            eventually("nobody is there", async || Ok((self.page(channel, None, 9).await.count == 0).then_some(())));
        empty.await.expect("in time");
    }
}

#[tokio::test]
async fn changes_are_numbered_without_a_hole_and_heard_in_order() {
    for form in forms().await {
        let a = channel(1, "a");
        form.presence.attach(&a).wait().await.expect("attached");
        // Versions begin somewhere.
        let (first, entered) = form.put(&a, put(1, 0, How::Enter)).await.expect("entered");
        let at = |version| first - 1 + version;
        assert!(entered);
        assert_eq!(form.put(&a, put(1, 0, How::Enter)).await, Ok((at(1), false)), "nothing changed");
        assert_eq!(form.put(&a, saying(put(1, 0, How::Update), "up")).await, Ok((at(2), false)));
        assert_eq!(form.put(&a, put(2, 0, How::Enter)).await, Ok((at(3), true)));
        assert!(form.leave(&a, 1, 0).await && !form.leave(&a, 1, 0).await);
        assert_eq!(form.put(&a, put(1, 0, How::Update)).await, Err(PresenceError::NotPresent));
        let heard = eventually("all is heard", async || {
            let heard = form.ear.0.lock().expect("nobody panics here").changes.clone();
            Ok((heard.len() >= 4).then_some(heard))
        });
        let heard = heard.await.expect("in time");
        assert_eq!(heard, [(at(1), 1, true), (at(2), 1, true), (at(3), 2, true), (at(4), 1, false)]);
        assert_eq!(form.page(&a, None, 9).await.version, at(4));
        assert_eq!(form.presence.members(), 1);
    }
}

#[tokio::test]
async fn what_an_old_link_does_late_touches_nobody_who_resumed() {
    for form in forms().await {
        let a = channel(1, "a");
        let (version, _) = form.put(&a, saying(put(1, 1, How::Enter), "up")).await.expect("entered");
        assert_eq!(form.put(&a, put(1, 2, How::Resume)).await, Ok((version, false)), "resuming changes nothing");
        assert!(!form.leave(&a, 1, 1).await);
        assert_eq!(form.put(&a, put(1, 1, How::Enter)).await, Err(PresenceError::NotPresent));
        assert!(form.page(&a, None, 9).await.members.expect("listed")[0].data.is_some());
        let mut strangers = put(1, 3, How::Resume);
        strangers.member.user = Some("eve".into());
        assert_eq!(form.put(&a, strangers).await, Err(PresenceError::NotPresent));
        assert!(form.leave(&a, 1, 2).await);
    }
}

#[tokio::test]
async fn members_are_read_in_pages_and_of_a_crowded_channel_only_counted() {
    for form in forms().await {
        let (a, other) = (channel(1, "a"), channel(2, "a"));
        let mut version = 0;
        for number in 1..=5 {
            version = form.put(&a, put(number, 0, How::Enter)).await.expect("entered").0;
        }
        let page = form.page(&a, Some(2), 2).await;
        assert_eq!((page.version, page.count, page.next), (version, 5, Some(id(4))));
        let members = page.members.expect("listed");
        assert_eq!(
            members.iter().map(|member| (member.id.clone(), member.since_ms)).collect::<Vec<_>>(),
            [(id(3), 3), (id(4), 4)]
        );
        assert_eq!(form.page(&a, Some(4), 2).await.next, None);
        assert_eq!(form.page(&other, None, 9).await.count, 0, "two apps never meet on one name");
        for number in 6..=11 {
            form.put(&a, put(number, 0, How::Enter)).await.expect("entered");
        }
        let page = form.page(&a, None, 9).await;
        assert_eq!((page.count, page.members, page.next), (11, None, None));
    }
}

#[tokio::test]
async fn whose_time_is_over_is_taken_out_once() {
    for form in forms().await {
        let a = channel(1, "a");
        let mut version = None;
        for expires_ms in [5_000, 9_000] {
            let (told, _) =
                form.put(&a, Put { expires_ms: Some(expires_ms), ..put(1, 0, How::Enter) }).await.expect("entered");
            assert_eq!(*version.get_or_insert(told), told, "a longer stay is nothing to tell");
        }
        form.presence.sweep(8_999);
        form.put(&channel(1, "b"), Put { expires_ms: Some(8_999), ..put(1, 0, How::Enter) }).await.expect("entered");
        form.presence.sweep(8_999);
        form.is_empty_soon(&channel(1, "b")).await;
        assert_eq!(form.page(&a, None, 9).await.count, 1);
        form.presence.sweep(9_000);
        form.is_empty_soon(&a).await;
    }
}

#[tokio::test]
async fn whoever_was_entered_into_an_app_that_is_gone_is_gone() {
    for form in forms().await {
        let kept = channel(2, "a");
        form.put(&kept, put(1, 0, How::Enter)).await.expect("entered");
        for room in 0..30 {
            for number in 1..=10 {
                form.put(&channel(1, &format!("room:{room}")), put(number, 0, How::Enter)).await.expect("entered");
            }
        }
        form.presence.forget(channel(1, "a").app());
        for room in 0..30 {
            form.is_empty_soon(&channel(1, &format!("room:{room}"))).await;
        }
        assert_eq!((form.presence.members(), form.page(&kept, None, 9).await.count), (1, 1));
    }
}

#[tokio::test]
async fn a_channel_changes_no_faster_and_an_app_weighs_no_more_than_it_may() {
    for form in forms().await {
        let a = channel(1, "a");
        let slow = |put: Put| Put { rate: (LimitValue::rate(1, 1), Duration::ZERO), ..put };
        form.put(&a, slow(put(1, 0, How::Enter))).await.expect("entered");
        let refused = form.put(&a, slow(put(2, 0, How::Enter))).await;
        assert!(matches!(refused, Err(PresenceError::Rate { max: 1, retry_after_ms: 500..=1_000 })), "{refused:?}");
        assert!(form.leave(&a, 1, 0).await, "leaving is never refused");
        let a = channel(1, "b");
        let light = |put: Put| Put { app_bytes_max: 1_000, ..put };
        let wide = "x".repeat(400);
        form.put(&a, light(saying(put(3, 0, How::Enter), &wide))).await.expect("entered");
        let refused = form.put(&a, light(saying(put(4, 0, How::Enter), &wide))).await;
        assert_eq!(refused, Err(PresenceError::AppBytes { max: 1_000 }));
        assert!(form.leave(&a, 3, 0).await);
        form.put(&a, light(saying(put(4, 0, How::Enter), &wide))).await.expect("there is room again");
    }
}
