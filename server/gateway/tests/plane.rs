//! The data plane over real sockets: a node with one app, asked as `curl` and a browser would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_core::id::RuleId;
use fanfare_core::id::{AppId, KeyId};
use fanfare_core::position::PositionKey;
use fanfare_core::secret::{KeySecret, SecretBytes};
use fanfare_core::{
    App, Capabilities, Clock, Effect, Key, KeyKind, KeyState, Limit, LimitValue, Operation, Operations, Pattern, Rule,
    Who,
};
use fanfare_engine::chance::Chance;
use fanfare_engine::{Broker, DrainOptions, MemoryBroker, MemoryOptions, Node, NodeOptions, SystemClock};
use fanfare_gateway::{Options, bind, serve};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{WebSocketStream, client_async};
use tokio_util::sync::CancellationToken;

struct Plane {
    addr: SocketAddr,
    app: AppId,
    /// `key_…:ffs_…`, may do everything.
    key: String,
    /// May publish on `only:*` and nothing else.
    weak: String,
    stop: CancellationToken,
    node: Arc<Node>,
    tasks: JoinSet<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name).map(|(_, value)| value))
    }

    #[track_caller]
    fn refuses(&self, status: u16, code: &str) -> Value {
        let problem = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("http://errors.example/errors/{code}"));
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        problem
    }
}

fn key(id: u128, capabilities: Capabilities) -> (Key, String) {
    let id = KeyId::new(1, id);
    let secret = KeySecret::from_digits([id.to_bytes()[15]; 43]);
    let key = Key {
        id,
        kind: KeyKind::Tenant,
        name: "test".into(),
        capabilities,
        expires_ms: None,
        state: KeyState::Active,
        secret_hash: Sha256::digest(secret.expose()).into(),
        signing_secret: Some(SecretBytes::new(secret.expose().as_bytes().to_vec())),
    };
    (key, format!("{id}:{}", secret.expose()))
}

impl Plane {
    fn start(change: impl FnOnce(&mut App)) -> Self {
        let (strong_key, key_text) = key(1, Capabilities::everything());
        let only = Pattern::parse("only:*").expect("a pattern");
        let (weak_key, weak) = key(2, Capabilities::new(vec![(only, Operations::NONE.with(Operation::Publish))]));
        let mut app = App { keys: vec![strong_key, weak_key], ..App::for_tests() };
        app.rules.push(Rule {
            id: RuleId::new(1, 1),
            pattern: Pattern::parse("demo:**").expect("a pattern"),
            who: Who::Everyone,
            operations: Operations::NONE.with(Operation::Subscribe).with(Operation::Publish),
            effect: Effect::Allow,
        });
        change(&mut app);
        let id = app.id;
        let clock = Arc::new(SystemClock::new());
        let broker = Arc::new(MemoryBroker::new(MemoryOptions::default(), clock.unix_ms(), Chance::new(Some(1))));
        let node =
            Node::new(NodeOptions::default(), Arc::clone(&broker) as Arc<dyn Broker>, clock, PositionKey::new([7; 32]));
        broker.deliver_to(node.sink());
        node.directory().upsert(app);
        node.directory().set_complete();
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("binds");
        let addr = listener.local_addr().expect("is bound");
        let stop = CancellationToken::new();
        let options = Options { docs_url: "http://errors.example".to_owned(), ..Options::default() };
        let (mut tasks, token, served) = (JoinSet::new(), stop.clone(), Arc::clone(&node));
        tasks.spawn(async move { serve(listener, served, options, token).await.expect("serves") });
        Self { addr, app: id, key: key_text, weak, stop, node, tasks }
    }

    fn url(&self, rest: &str) -> String {
        format!("/v1/apps/{}{rest}", self.app)
    }

    /// One request with these header lines and body, on a connection of its own.
    async fn send(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut stream = TcpStream::connect(self.addr).await.expect("connects");
        stream.write_all(head.as_bytes()).await.expect("writes");
        // A refusal may come before the body was read.
        let _refused_early = stream.write_all(body).await;
        let mut all = Vec::new();
        let _reset_after_the_answer = stream.read_to_end(&mut all).await;
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(all[..end].to_vec()).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head, body: all[end + 4..].to_vec() }
    }

    fn basic(key: &str) -> String {
        format!("Authorization: Basic {}", STANDARD.encode(key))
    }

    async fn post(&self, rest: &str, body: &Value) -> Answer {
        let json = "Content-Type: application/json";
        self.send("POST", &self.url(rest), &[&Self::basic(&self.key), json], body.to_string().as_bytes()).await
    }

    async fn get(&self, rest: &str) -> Answer {
        self.send("GET", &self.url(rest), &[&Self::basic(&self.key)], b"").await
    }

    async fn client(&self) -> WebSocketStream<TcpStream> {
        let mut request = format!("ws://x{}", self.url("/socket")).into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", "fanfare.v1.json".parse().expect("a value"));
        let stream = TcpStream::connect(self.addr).await.expect("connects");
        let (client, response) = client_async(request, stream).await.expect("is accepted");
        assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1.json");
        client
    }
}

async fn say(client: &mut WebSocketStream<TcpStream>, command: Value) {
    client.send(Message::text(command.to_string())).await.expect("sends");
}

async fn hear(client: &mut WebSocketStream<TcpStream>) -> Value {
    let message = client.next().await.expect("something comes").expect("a message");
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

#[tokio::test]
async fn a_message_published_by_rest_reaches_a_subscribed_socket() {
    let plane = Plane::start(|_| ());
    let mut client = plane.client().await;
    say(&mut client, json!({"id": 1, "connect": {}})).await;
    assert_eq!(hear(&mut client).await["id"], 1);
    say(&mut client, json!({"id": 2, "subscribe": {"channel": "demo:a/b"}})).await;
    assert!(hear(&mut client).await["ok"].is_object());
    let published =
        plane.post("/channels/demo:a%2Fb/messages", &json!({"name": "greet", "data": {"x": [1, "é"]}})).await;
    assert_eq!(published.status, 200, "{}", published.json());
    let answer = published.json();
    assert_eq!((&answer["durability"], &answer["duplicate"]), (&json!("memory"), &json!(false)));
    assert_eq!(published.header("ratelimit-policy"), Some("\"rest_requests\";q=200000;w=1"));
    assert!(published.header("ratelimit").is_some_and(|left| left.starts_with("\"rest_requests\";r=19")));
    let push = hear(&mut client).await;
    assert_eq!((&push["msg"]["data"], &push["msg"]["channel"]), (&json!({"x": [1, "é"]}), &json!("demo:a/b")));
    assert_eq!(push["msg"]["id"], answer["id"]);
    let history = plane.get("/channels/demo:a%2fb/messages?limit=5").await.json();
    assert_eq!(history["messages"][0]["position"], answer["position"]);
    let channels = plane.get("/channels?prefix=demo:").await.json();
    assert_eq!(channels, json!({"items": [{"name": "demo:a/b", "subscribers": 1}]}));
}

#[tokio::test]
async fn a_publish_with_an_id_is_accepted_once() {
    let plane = Plane::start(|_| ());
    let body = json!({"id": "order-7", "data": 1});
    let first = plane.post("/channels/a/messages", &body).await.json();
    let again = plane.post("/channels/a/messages", &body).await.json();
    assert_eq!((&again["position"], &again["duplicate"]), (&first["position"], &json!(true)));
    plane.post("/channels/a/messages", &json!({"id": "order-7", "data": 2})).await.refuses(409, "id_reused");
}

#[tokio::test]
async fn every_wrong_request_is_told_what_is_wrong() {
    let plane = Plane::start(|_| ());
    let misspelt = json!({"data": 1, "dta": 2});
    let problem = plane.post("/channels/a/messages", &misspelt).await.refuses(400, "invalid_request");
    assert_eq!(problem["errors"][0]["pointer"], "/dta");
    for name in ["a%2525", "a*", "%24stats:x", "a::b", "%ff", "a%20b"] {
        let answer = plane.post(&format!("/channels/{name}/messages"), &json!({"data": 1})).await;
        answer.refuses(400, "invalid_channel");
    }
    plane.get("/channels/a/messages?limit=0").await.refuses(400, "invalid_request");
    plane.get("/channels/a/messages?order=up").await.refuses(400, "invalid_request");
    plane.get("/channels/a/messages?from=x.1").await.refuses(400, "invalid_position");
    plane.get("/nothing").await.refuses(404, "not_found");
    let answer = plane.send("DELETE", &plane.url("/batch"), &[], b"").await;
    answer.refuses(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    let (url, basic) = (plane.url("/channels/a/messages"), Plane::basic(&plane.key));
    plane.send("POST", &url, &[&basic], b"{}").await.refuses(415, "unsupported_media_type");
    let json = "Content-Type: application/json";
    plane.send("POST", &url, &[&basic, json], b"{\"data\":1,\"data\":2}").await.refuses(400, "invalid_json");
    plane.send("POST", &url, &[&basic, json], &vec![b' '; 1024 * 1024 + 1]).await.refuses(413, "message_too_large");
    plane.get("/socket").await.refuses(426, "invalid_request");
}

#[tokio::test]
async fn only_a_credential_of_the_app_in_the_path_counts() {
    let plane = Plane::start(|_| ());
    let url = plane.url("/channels/a/messages");
    let answer = plane.send("GET", &url, &[], b"").await;
    answer.refuses(401, "key_invalid");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"fanfare\""));
    let elsewhere = AppId::new(9, 9);
    let other = format!("/v1/apps/{elsewhere}/channels/a/messages");
    plane.send("GET", &other, &[&Plane::basic(&plane.key)], b"").await.refuses(404, "not_found");
    plane.send("GET", "/v1/apps/nonsense/channels", &[&Plane::basic(&plane.key)], b"").await.refuses(404, "not_found");
    let weak = format!("Authorization: Bearer {}", plane.weak);
    let json = "Content-Type: application/json";
    let refused = plane.send("POST", &url, &[&weak, json], b"{\"data\":1}").await.refuses(403, "forbidden");
    assert_eq!(refused["layer"], "key");
    let only = plane.url("/channels/only:1/messages");
    assert_eq!(plane.send("POST", &only, &[&weak, json], b"{\"data\":1}").await.status, 200);
}

#[tokio::test]
async fn a_minted_token_opens_what_it_says_and_no_more() {
    let plane = Plane::start(|_| ());
    let request = json!({"sub": "ann", "cap": {"room:9": ["publish", "history"]}, "ttl_s": 60});
    let minted = plane.post("/tokens", &request).await;
    assert_eq!(minted.status, 200, "{}", minted.json());
    let bearer = format!("Authorization: Bearer {}", minted.json()["token"].as_str().expect("a token"));
    let json = "Content-Type: application/json";
    let publish = async |channel: &str| {
        let url = plane.url(&format!("/channels/{channel}/messages"));
        plane.send("POST", &url, &[&bearer, json], b"{\"data\":1}").await
    };
    assert_eq!(publish("room:9").await.status, 200);
    publish("room:8").await.refuses(403, "forbidden");
    plane.post("/tokens", &json!({"ttl_s": 0})).await.refuses(400, "invalid_request");
    plane.post("/tokens", &json!({"info": 7})).await.refuses(400, "invalid_request");
    let weak = Plane::basic(&plane.weak);
    plane.send("POST", &plane.url("/tokens"), &[&weak, json], b"{}").await.refuses(403, "forbidden");
}

#[tokio::test]
async fn every_message_of_a_batch_has_its_own_result() {
    let plane = Plane::start(|app| {
        app.limits.set(Limit::BatchMessages, LimitValue::count(5));
        app.limits.set(Limit::BatchChannels, LimitValue::count(2));
        app.limits.set(Limit::BatchBytes, LimitValue::count(2_000));
    });
    let messages = json!({"messages": [
        {"channel": "a", "data": 1}, {"channel": "b", "data": 2}, {"channel": "a b", "data": 3},
        {"channel": "a", "dta": 4}, {"channel": "a", "data": 5},
    ]});
    let answer = plane.post("/batch", &messages).await;
    let results = answer.json();
    assert_eq!(answer.status, 200, "{results}");
    let seq = |index: usize| {
        results["results"][index]["ok"]["position"].as_str().and_then(|it| it.rsplit_once('.')).map(|it| it.1)
    };
    assert_eq!((seq(0), seq(1), seq(4)), (Some("1"), Some("1"), Some("2")));
    assert_eq!(results["results"][2]["error"]["code"], "invalid_channel");
    assert_eq!(results["results"][3]["error"]["errors"][0]["pointer"], "/messages/3/dta");
    let of = |channels: &[&str]| json!({"messages": channels.iter().map(|channel| json!({"channel": channel, "data": 0})).collect::<Vec<_>>()});
    let refused = plane.post("/batch", &of(&["a", "b", "c"])).await.refuses(400, "invalid_request");
    assert_eq!(refused["limit"], "batch_channels");
    plane.post("/batch", &of(&["a"; 6])).await.refuses(400, "invalid_request");
    plane
        .post("/batch", &json!({"messages": [{"channel": "a", "data": "x".repeat(3_000)}]}))
        .await
        .refuses(413, "message_too_large");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let plane = Plane::start(|app| app.limits.set(Limit::RestRequests, LimitValue::rate(1, 2)));
    for left in ["1", "0"] {
        let answer = plane.get("/channels").await;
        assert!(answer.header("ratelimit").is_some_and(|it| it.starts_with(&format!("\"rest_requests\";r={left};t="))));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"rest_requests\";q=2;w=2"));
    }
    let answer = plane.get("/channels").await;
    let problem = answer.refuses(429, "rate_limited");
    assert_eq!((&problem["limit"], &problem["retryable"]), (&json!("rest_requests"), &json!(true)));
    assert_eq!(
        (answer.header("retry-after"), answer.header("ratelimit")),
        (Some("1"), Some("\"rest_requests\";r=0;t=1"))
    );
}

#[tokio::test]
async fn browsers_are_admitted_by_the_apps_list_of_origins() {
    let plane = Plane::start(|app| app.origins = vec!["https://a.example".into()]);
    let url = plane.url("/channels");
    let preflight = async |origin: &str| {
        let headers = [&*format!("Origin: {origin}"), "Access-Control-Request-Method: POST"];
        plane.send("OPTIONS", &url, &headers, b"").await
    };
    let answer = preflight("https://a.example").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("https://a.example")));
    assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, content-type, last-event-id"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
    for origin in ["https://a.example.evil", "http://a.example", "https://a.example:444", "null", "https://A.example"] {
        let answer = preflight(origin).await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
        let request = format!("ws://x{}", plane.url("/socket"));
        let mut request = request.into_client_request().expect("a request");
        request.headers_mut().insert("origin", origin.parse().expect("a value"));
        let stream = TcpStream::connect(plane.addr).await.expect("connects");
        // The page can read why: the refusal comes over the socket.
        let (mut refused, _) = client_async(request, stream).await.expect("an answer that browsers show");
        assert_eq!(hear(&mut refused).await["error"]["code"], json!("origin_denied"), "{origin}");
        let Some(Ok(Message::Close(Some(goodbye)))) = refused.next().await else { panic!("{origin}: it is closed") };
        assert_eq!(u16::from(goodbye.code), 4010);
    }
    let open = plane.send("GET", "/v1/time", &["Origin: https://b.example"], b"").await;
    assert_eq!((open.status, open.header("access-control-allow-origin")), (200, Some("*")));
    assert!(open.json()["time"].as_u64().is_some_and(|time| time > 1_700_000_000_000));
}

#[tokio::test]
async fn the_plane_describes_itself_without_help_from_elsewhere() {
    let plane = Plane::start(|_| ());
    let document = plane.send("GET", "/openapi.json", &[], b"").await.json();
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    assert!(paths.len() > 6 && paths.iter().any(|path| path.ends_with("/socket")), "{paths:?}");
    let page = plane.send("GET", "/docs", &[], b"").await;
    let text = String::from_utf8(page.body.clone()).expect("text");
    assert!(page.status == 200 && text.contains("publish_message") && !text.contains("<script"));
    assert!(page.header("content-security-policy").is_some());
    let sdk = plane.send("GET", "/sdk/v1.js", &[], b"").await;
    if sdk.status == 404 {
        assert!(sdk.refuses(404, "not_found")["detail"].as_str().is_some_and(|it| it.contains("cargo xtask sdk")));
        return;
    }
    assert_eq!(sdk.header("content-type"), Some("text/javascript; charset=utf-8"));
    let known = format!("If-None-Match: {}", sdk.header("etag").expect("a tag"));
    assert_eq!(plane.send("GET", "/sdk/v1.js", &[&known], b"").await.status, 304);
}

#[tokio::test]
async fn stopping_ends_sockets_through_the_node_and_then_the_gateway() {
    let mut plane = Plane::start(|_| ());
    let mut client = plane.client().await;
    say(&mut client, json!({"id": 1, "connect": {}})).await;
    hear(&mut client).await;
    plane.stop.cancel();
    let options = DrainOptions { within: Duration::from_secs(10), window: Duration::from_secs(1) };
    let drained = async {
        let mut code = 0;
        while let Some(Ok(message)) = client.next().await {
            if let Message::Close(Some(goodbye)) = message {
                code = u16::from(goodbye.code);
            }
        }
        code
    };
    let (_, code) = tokio::join!(plane.node.drain(options), drained);
    assert_eq!(code, 4200);
    while plane.tasks.join_next().await.is_some() {}
    assert!(TcpStream::connect(plane.addr).await.is_err(), "nobody listens any more");
}

/// Connects by hand, with an offer of permessage-deflate or none, and subscribes to `demo:a`. Answers come uncompressed.
async fn subscribed_raw(plane: &Plane, offer: &str) -> TcpStream {
    let mut stream = TcpStream::connect(plane.addr).await.expect("connects");
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n",
        plane.url("/socket")
    );
    stream.write_all(request.as_bytes()).await.expect("writes");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let agreed = String::from_utf8_lossy(&head).contains("sec-websocket-extensions: permessage-deflate");
    assert_eq!(agreed, !offer.is_empty());
    for command in [json!({"id": 1, "connect": {}}), json!({"id": 2, "subscribe": {"channel": "demo:a"}})] {
        let command = command.to_string();
        let length = u8::try_from(command.len()).expect("is short");
        // A mask of zeros changes nothing.
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], command.as_bytes()].concat();
        stream.write_all(&frame).await.expect("writes");
        let (first, _) = read_frame(&mut stream).await;
        assert_eq!(first, 0x81);
    }
    stream
}

async fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.expect("a frame");
    let length = match head[1] {
        126 => stream.read_u16().await.expect("a length").into(),
        short => usize::from(short),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await.expect("a payload");
    (head[0], payload)
}

#[tokio::test]
async fn one_compressed_form_reaches_all_who_agreed_and_the_plain_one_all_others() {
    let plane = Plane::start(|_| ());
    let agreed = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let narrow = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n";
    let mut plain = subscribed_raw(&plane, "").await;
    let mut one = subscribed_raw(&plane, agreed).await;
    let mut other = subscribed_raw(&plane, agreed).await;
    let mut narrow = subscribed_raw(&plane, narrow).await;
    // Short, of a length that fits the narrow window, and longer than that.
    for (words, fits) in [(1, true), (30, true), (200, false)] {
        let data = "as before ".repeat(words);
        assert_eq!(plane.post("/channels/demo:a/messages", &json!({"data": data})).await.status, 200);
        let (first, payload) = read_frame(&mut plain).await;
        assert_eq!(first, 0x81);
        let (head, deflated) = read_frame(&mut one).await;
        assert_eq!(read_frame(&mut other).await, (head, deflated.clone()));
        let to_narrow = read_frame(&mut narrow).await;
        if words == 1 {
            assert_eq!((head, &deflated), (0x81, &payload), "not worth it");
        } else {
            assert!(head == 0xc1 && deflated.len() < payload.len() / 2, "{} of {}", deflated.len(), payload.len());
        }
        assert_eq!(to_narrow, if fits { (head, deflated) } else { (0x81, payload) });
    }
}

/// An event stream, read by hand.
struct Stream(TcpStream, Vec<u8>);

impl Stream {
    /// Asks for one, and its answer's head.
    async fn open(plane: &Plane, query: &str, headers: &[&str]) -> (String, Self) {
        let mut stream = TcpStream::connect(plane.addr).await.expect("connects");
        let mut request = format!("GET {}?{query} HTTP/1.1\r\nHost: x\r\n", plane.url("/sse"));
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        stream.write_all(format!("{request}\r\n").as_bytes()).await.expect("writes");
        let mut stream = Self(stream, Vec::new());
        (stream.until("\r\n\r\n").await, stream)
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            let text = String::from_utf8(self.1.clone()).expect("text");
            if let Some((before, after)) = text.split_once(end) {
                self.1 = after.as_bytes().to_vec();
                return before.to_owned();
            }
            let mut part = [0; 4_096];
            let count = self.0.read(&mut part).await.expect("reads");
            assert!(count > 0, "it ended after {text:?}");
            self.1.extend_from_slice(&part[..count]);
        }
    }

    /// What is told up to the next `id`, and that.
    async fn told(&mut self) -> (Vec<Value>, String) {
        let mut told = Vec::new();
        loop {
            let event = self.until("\n\n").await;
            if let Some(id) = event.strip_prefix("id: ") {
                return (told, id.to_owned());
            }
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event}"));
            told.push(serde_json::from_str(data).expect("JSON"));
        }
    }
}

#[tokio::test]
async fn an_event_stream_tells_of_all_its_channels_and_goes_on_where_each_was() {
    let plane = Plane::start(|_| ());
    let (head, mut stream) =
        Stream::open(&plane, "channels=demo:b&channels=demo:a", &["Origin: https://a.example"]).await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("access-control-allow-origin: *") && head.contains("x-request-id: "), "{head}");
    let (told, _) = stream.told().await;
    assert!(told[0]["ok"]["connection"].is_string() && told[1]["ok"]["channel"] == "demo:a", "{told:?}");
    assert_eq!(stream.told().await.0[0]["ok"]["channel"], "demo:b");
    let publish = async |channel: &str, data: u64| {
        let answer = plane.post(&format!("/channels/demo:{channel}/messages"), &json!({"data": data})).await;
        assert_eq!(answer.status, 200);
    };
    publish("a", 1).await;
    publish("b", 2).await;
    assert_eq!(stream.told().await.0[0]["msg"]["data"], 1);
    let (told, id) = stream.told().await;
    assert_eq!(told[0]["msg"]["data"], 2);
    drop(stream);
    publish("b", 3).await;
    publish("a", 4).await;
    let last = format!("Last-Event-ID: {id}");
    let (_, mut stream) = Stream::open(&plane, "channels=demo:a&channels=demo:b", &[&last]).await;
    let (a, b) = (stream.told().await.0, stream.told().await.0);
    assert_eq!((&a[1]["ok"]["recovered"], &a[2]["msg"]["data"]), (&json!(true), &json!(4)), "{a:?}");
    assert_eq!((&b[0]["ok"]["recovered"], &b[1]["msg"]["data"]), (&json!(true), &json!(3)), "{b:?}");
    let refused = plane.send("GET", &format!("{}?channels=demo:a", plane.url("/sse")), &[&last], b"").await;
    refused.refuses(400, "invalid_position");
}

#[tokio::test]
async fn a_ticket_opens_one_event_stream() {
    let plane = Plane::start(|app| app.rules.clear());
    let wanted = json!({"sub": "ann", "cap": {"room:9": ["subscribe"]}, "ttl_s": 60});
    let token = plane.post("/tokens", &wanted).await.json()["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Authorization: Bearer {token}");
    let sse = |query: &str| format!("{}?{query}", plane.url("/sse"));
    plane.send("GET", &sse("channels=room:9"), &[], b"").await.refuses(401, "token_missing");
    plane.send("GET", &sse(&format!("channels=room:9&token={token}")), &[], b"").await.refuses(400, "invalid_request");
    plane.send("POST", &plane.url("/tickets"), &[&Plane::basic(&plane.key)], b"").await.refuses(401, "token_missing");
    let bought = plane.send("POST", &plane.url("/tickets"), &[&bearer], b"").await;
    assert_eq!(bought.status, 200, "{}", bought.json());
    let query = format!("channels=room:9&ticket={}", bought.json()["ticket"].as_str().expect("a ticket"));
    let (head, mut stream) = Stream::open(&plane, &query, &[]).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert_eq!(stream.told().await.0[0]["ok"]["user"], "ann");
    plane.send("GET", &sse(&query), &[], b"").await.refuses(401, "token_invalid");
    let (_, mut stream) = Stream::open(&plane, "channels=room:8&channels=room:9", &[&bearer]).await;
    let (told, _) = stream.told().await;
    assert_eq!((&told[1]["error"]["code"], &told[2]["ok"]["channel"]), (&json!("forbidden"), &json!("room:9")));
}

#[tokio::test]
async fn an_event_stream_of_another_origin_or_method_is_refused() {
    let plane = Plane::start(|app| app.origins = vec!["https://a.example".into()]);
    let url = format!("{}?channels=demo:a", plane.url("/sse"));
    for origin in ["https://b.example", "null", "https://a.example.evil"] {
        let answer = plane.send("GET", &url, &[&format!("Origin: {origin}")], b"").await;
        answer.refuses(403, "origin_denied");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    assert_eq!(plane.send("HEAD", &url, &[], b"").await.status, 405);
    for query in ["", "channels=a%20b", "channels=demo:a&x=1"] {
        let answer = plane.send("GET", &format!("{}?{query}", plane.url("/sse")), &[], b"").await;
        assert_eq!(answer.status, 400, "{query}");
    }
}
