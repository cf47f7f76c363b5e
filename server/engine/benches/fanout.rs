//! What the fan-out itself costs: publish → encode → every subscriber's outbox, into sinks that take everything at once.
//!
//! `cargo bench -p fanfare-engine`. The kernel's `send` is not in these figures, so they show what is ours. Quote ratios of
//! two commits run in turn on one machine; each figure is the best of several runs, because whatever disturbs a run only
//! adds to it.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use fanfare_core::id::RuleId;
use fanfare_core::position::PositionKey;
use fanfare_core::secret::{KeySecret, PrintedKey};
use fanfare_core::{
    App, Capabilities, ChannelName, Clock, Data, Draft, Effect, Key, KeyKind, KeyState, Operations, Pattern, Rule, Who,
};
use fanfare_engine::chance::Chance;
use fanfare_engine::{
    Caller, Handshake, Inbound, MemoryBroker, MemoryOptions, Node, NodeOptions, Reader, ReceiveError, Sink,
    SystemClock, Wire,
};
use sha2::{Digest, Sha256};

const RUNS: usize = 7;
const MESSAGES: u32 = 400;

/// Says what it has to say, then nothing.
struct Script(Vec<String>);

impl Reader for Script {
    fn poll_receive(
        &mut self,
        _context: &mut Context<'_>,
        each: &mut dyn FnMut(Inbound<'_>),
    ) -> Poll<Result<(), ReceiveError>> {
        let Some(line) = self.0.pop() else { return Poll::Pending };
        each(Inbound::Text(&line));
        Poll::Ready(Ok(()))
    }

    fn poll_writable(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn ping_frame(&self) -> Bytes {
        Bytes::new()
    }

    fn pong_frame(&self, _payload: &[u8]) -> Bytes {
        Bytes::new()
    }

    fn close_frame(&self, _status: u16, _reason: &str) -> Bytes {
        Bytes::new()
    }
}

/// Takes everything.
struct Void;

impl Sink for Void {
    fn try_write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(bytes.iter().map(|slice| slice.len()).sum())
    }

    fn finish(&mut self) {}
}

fn node() -> (Arc<Node>, Caller) {
    let clock = Arc::new(SystemClock::new());
    let broker = Arc::new(MemoryBroker::new(MemoryOptions::default(), clock.unix_ms(), Chance::new(Some(1))));
    let node = Node::new(
        NodeOptions::default(),
        Arc::clone(&broker) as Arc<dyn fanfare_engine::Broker>,
        clock,
        PositionKey::new([1; 32]),
    );
    broker.deliver_to(node.sink());
    let printed = PrintedKey { id: fanfare_core::id::KeyId::new(1, 1), secret: KeySecret::from_digits([1; 43]) };
    let mut app = App::for_tests();
    app.keys = vec![Key {
        id: printed.id,
        kind: KeyKind::Tenant,
        name: "bench".into(),
        capabilities: Capabilities::everything(),
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: Sha256::digest(printed.secret.expose()).into(),
        signing_secret: None,
    }];
    app.rules = vec![Rule {
        id: RuleId::new(1, 1),
        pattern: Pattern::parse("**").expect("valid"),
        who: Who::Everyone,
        operations: Operations::CLIENT,
        effect: Effect::Allow,
    }];
    node.directory().upsert(app.clone());
    node.directory().set_complete();
    let caller = node.authenticate_key(&Arc::new(app), &printed.expose()).expect("valid");
    (node, caller)
}

async fn fan_out((subscribers, channels): (usize, usize), wire: Wire, text: &str) -> (f64, f64) {
    let (node, caller) = node();
    let app = caller.app();
    let mut connections = tokio::task::JoinSet::new();
    for index in 0..subscribers {
        let script = vec![
            format!(r#"{{"id":2,"subscribe":{{"channel":"c:{}"}}}}"#, index % channels),
            r#"{"id":1,"connect":{}}"#.to_owned(),
        ];
        let permit = node.admit_connection(&app, &Handshake::default()).expect("there is room");
        let node = Arc::clone(&node);
        connections.spawn(async move {
            node.serve_connection(permit, Handshake { wire, ..Handshake::default() }, Script(script), Box::new(Void))
                .await;
        });
    }
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let names: Vec<ChannelName> =
        (0..channels).map(|index| ChannelName::parse(&format!("c:{index}")).expect("valid")).collect();
    let data = serde_json::value::RawValue::from_string(format!("\"{text}\"")).expect("JSON");
    let (mut per_publish, mut per_delivery) = (f64::MAX, f64::MAX);
    for _ in 0..RUNS {
        let before = node.flow(app.id).expect("known").messages_out;
        #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
        let begun = Instant::now();
        for index in 0..MESSAGES as usize {
            let draft = Draft::new(Data::Json(data.clone()));
            node.publish(&caller, &names[index % channels], draft).await.expect("accepted");
        }
        // What a turn handed to a task belongs to it.
        while node.flow(app.id).expect("known").messages_out - before
            < u64::from(MESSAGES) * (subscribers / channels) as u64
        {
            tokio::task::yield_now().await;
        }
        let nanos = begun.elapsed().as_secs_f64() * 1e9 / f64::from(MESSAGES);
        per_publish = per_publish.min(nanos);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let deliveries = (subscribers / channels) as f64;
        per_delivery = per_delivery.min(nanos / deliveries);
    }
    (per_publish, per_delivery)
}

/// A kilobyte that compresses as text does.
fn words() -> String {
    let mut number = 7_u64;
    let mut out = String::new();
    while out.len() < 1_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.push_str(["price ", "of item ", "changed ", "to ", "today "][(number >> 33) as usize % 5]);
        out.push_str(&(number >> 54).to_string());
    }
    out
}

#[expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    println!(
        "{:>12} {:>9} {:>6} {:>8} {:>13} {:>14}",
        "subscribers", "channels", "bytes", "deflate", "ns a publish", "ns a delivery"
    );
    let deflate = Wire::NativeJsonDeflate { window_bits: 15 };
    let (short, long) = ("x".repeat(126), words());
    for (size, wire, text) in [
        ((1, 1), Wire::NativeJson, &short),
        ((100, 1), Wire::NativeJson, &short),
        ((1_000, 1), Wire::NativeJson, &short),
        ((10_000, 1), Wire::NativeJson, &short),
        ((1_000, 1_000), Wire::NativeJson, &short),
        ((10_000, 10_000), Wire::NativeJson, &short),
        ((100, 1), Wire::NativeJson, &long),
        ((100, 1), deflate, &long),
        ((1_000, 1), Wire::NativeJson, &long),
        ((1_000, 1), deflate, &long),
    ] {
        let (publish, delivery) = runtime.block_on(fan_out(size, wire, text));
        let ((subscribers, channels), bytes) = (size, text.len());
        let compressed = if wire == deflate { "yes" } else { "no" };
        println!("{subscribers:>12} {channels:>9} {bytes:>6} {compressed:>8} {publish:>13.0} {delivery:>14.1}");
    }
}
