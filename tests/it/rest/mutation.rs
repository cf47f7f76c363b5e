//! Nonsense by the thousand: mutated frames, bodies, requests and tokens. The server must neither fall, nor grow, nor
//! believe any of it.

use std::env;
use std::time::Duration;

use ::harness::answer::{Answer, http};
use ::harness::client::Client;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use ::harness::raw::{Raw, TEXT, frame};
use ::harness::server::Server;
use ::harness::{TIMEOUT, eventually};
use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Mutations of each kind; `FANFARE_LONG` says another number.
const EACH: usize = 600;
/// How much more memory the server may hold afterwards.
const GROWTH_BYTES_MAX: u64 = 64 * 1024 * 1024;

const COMMANDS: [&str; 8] = [
    r#"{"id":2,"subscribe":{"channel":"room:9","rewind":{"messages":10}}}"#,
    r#"{"id":3,"publish":{"channel":"room:9","data":{"a":[1,2,{"b":"c"}]},"name":"n","id":"i","headers":{"h":"v"}}}"#,
    r#"{"id":4,"publish":{"channel":"room:9","data":"AP8h","encoding":"base64","key":"k"}}"#,
    r#"{"id":5,"history":{"channel":"room:9","direction":"forward","limit":10}}"#,
    r#"{"id":6,"unsubscribe":{"channel":"room:9"}}"#,
    r#"{"id":7,"refresh":{"token":"a.b.c"}}"#,
    r#"{"id":8,"subscribe":{"channel":"room:9","position":"k3Zx.11"}}"#,
    "{\"id\":9,\"ping\":{}}\n{\"id\":10,\"ping\":{}}",
];

const BODIES: [&str; 4] = [
    r#"{"data":{"text":"hi","list":[1,2.5,null]},"name":"greet","id":"order-7","key":"k","headers":{"trace":"1"}}"#,
    r#"{"data":"AP8h","encoding":"base64"}"#,
    r#"{"messages":[{"channel":"room:1","data":1},{"channel":"room:2","data":{"a":"b"},"name":"x"}]}"#,
    r#"{"sub":"ann","cap":{"room:*":["subscribe","publish"]},"roles":["a"],"info":{"n":1},"ttl_s":60}"#,
];

/// Changes some bytes: flipped, replaced by ones that mean something, put in, taken out, doubled, cut.
fn mutate(chance: &mut StdRng, bytes: &mut Vec<u8>) {
    const MEANING: &[u8] = b"{}[]\",:\\\0\n\r 09eE-+.tfn%$*\xff\xc3\xed\x80/=&_A";
    for _ in 0..chance.random_range(1..=4) {
        let at = chance.random_range(0..=bytes.len());
        let inside = at < bytes.len();
        match chance.random_range(0..7) {
            0 if inside => bytes[at] ^= 1 << chance.random_range(0..8),
            1 if inside => bytes[at] = MEANING[chance.random_range(0..MEANING.len())],
            2 => bytes.insert(at, MEANING[chance.random_range(0..MEANING.len())]),
            3 if inside => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            5 => {
                let part = bytes[at..bytes.len().min(at + 40)].to_vec();
                bytes.splice(at..at, part.repeat(chance.random_range(1..20)));
            }
            _ => bytes.splice(at..at, (0..chance.random_range(1..9)).map(|_| chance.random::<u8>())).for_each(drop),
        }
    }
}

struct Storm {
    owner: Owner,
    chance: StdRng,
    each: usize,
}

impl Storm {
    fn mutation_of(&mut self, originals: &[&str]) -> Vec<u8> {
        let mut bytes = originals[self.chance.random_range(0..originals.len())].as_bytes().to_vec();
        mutate(&mut self.chance, &mut bytes);
        bytes
    }

    async fn connect(&self) -> Result<Raw> {
        let mut raw = Raw::open(&self.owner.app_url()).await?;
        let token = self.owner.token_for("storm", &["room:*"])?;
        raw.text(&json!({ "id": 1, "connect": { "token": token } }).to_string()).await?;
        ensure!(raw.frame().await?.1.starts_with(b"{\"id\":1,\"ok\""), "a good connect is refused");
        Ok(raw)
    }

    /// Mutated commands in sound frames: each is answered, and a sound command after it too.
    async fn commands(&mut self) -> Result<()> {
        let mut raw = self.connect().await?;
        for _ in 0..self.each {
            let mut bytes = self.mutation_of(&COMMANDS);
            if std::str::from_utf8(&bytes).is_err() {
                bytes = String::from_utf8_lossy(&bytes).into_owned().into_bytes();
            }
            raw.write(&[frame(TEXT, &bytes), frame(TEXT, br#"{"id":77777,"ping":{}}"#)].concat()).await?;
            loop {
                let (_, payload) =
                    raw.frame().await.with_context(|| format!("after {:?}", String::from_utf8_lossy(&bytes)))?;
                if payload.starts_with(b"{\"id\":77777,") {
                    break;
                }
                serde_json::from_slice::<Value>(&payload).context("an answer is JSON")?;
            }
        }
        Ok(())
    }

    /// Mutated frames: the server closes or waits for more; we go away either way.
    async fn frames(&mut self) -> Result<()> {
        for _ in 0..self.each {
            let mut raw = self.connect().await?;
            let command = COMMANDS[self.chance.random_range(0..COMMANDS.len())];
            let mut bytes = [frame(TEXT, command.as_bytes()), frame(TEXT, br#"{"id":11,"ping":{}}"#)].concat();
            mutate(&mut self.chance, &mut bytes);
            // Closed on us before all is sent: as good.
            let _ = raw.write(&bytes).await;
        }
        Ok(())
    }

    async fn bodies(&mut self) -> Result<()> {
        let publisher = self.owner.publisher();
        let paths = [messages("room:9"), "/batch".to_owned(), "/tokens".to_owned()];
        for _ in 0..self.each {
            let body = self.mutation_of(&BODIES);
            let path = &paths[self.chance.random_range(0..paths.len())];
            let said = String::from_utf8_lossy(&body).into_owned();
            let answer = super::post_text(&publisher, path, body).await.with_context(|| said.clone())?;
            match answer.status {
                200 => {}
                400..500 => drop(answer.refusal().with_context(|| said.clone())?),
                other => anyhow::bail!("{other} to {said:?}: {}", answer.body),
            }
        }
        Ok(())
    }

    /// Mutated requests, down to the request line.
    async fn requests(&mut self) -> Result<()> {
        let (host, app) = (self.owner.app_url(), self.owner.app.clone());
        let host = host.split('/').nth(2).context("a host")?;
        let request = format!(
            "POST /v1/apps/{app}/channels/room%3A9/messages?a=b HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: 10\r\n\r\n{{\"data\":1}}",
            self.owner.key
        );
        let upgrade = format!(
            "GET /v1/apps/{app}/socket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        for _ in 0..self.each {
            let bytes = self.mutation_of(&[&request, &upgrade]);
            let mut stream = timeout(TIMEOUT, TcpStream::connect(host)).await??;
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            // A reset is an answer too.
            let _ =
                timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.context("a request that has ended hangs")?;
            let line = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
            ensure!(answer.is_empty() || line.starts_with("HTTP/1."), "{line:?}");
            ensure!(
                !line.starts_with("HTTP/1.1 5") || line.ends_with("505"),
                "{line} to {:?}",
                String::from_utf8_lossy(&bytes)
            );
        }
        Ok(())
    }

    /// Mutated tokens: none is believed, but the one that was signed.
    async fn tokens(&mut self) -> Result<()> {
        let (good, http) = (self.owner.token_for("ann", &["room:*"])?, http()?);
        let url = format!("{}{}", self.owner.app_url(), messages("room:9"));
        Answer::to(http.get(&url).bearer_auth(&good)).await?.ok()?;
        // Every other letter at the end, whose last bits no byte needs.
        let mut tried: Vec<Vec<u8>> =
            (b'0'..=b'z').map(|letter| [&good.as_bytes()[..good.len() - 1], &[letter]].concat()).collect();
        for _ in 0..self.each {
            tried.push(self.mutation_of(&[&good]));
        }
        for token in tried {
            // What no header may hold cannot be sent; neither can what is read as a key.
            let Ok(value) = reqwest::header::HeaderValue::from_bytes(&[b"Bearer ", &token[..]].concat()) else {
                continue;
            };
            if token.trim_ascii() == good.as_bytes() {
                continue;
            }
            let answer = Answer::to(http.get(&url).header("authorization", value)).await?;
            ensure!(answer.status == 401, "{} to {:?}", answer.status, String::from_utf8_lossy(&token));
        }
        Ok(())
    }
}

/// Bytes of memory that a process holds.
fn memory(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}

#[tokio::test]
async fn thousands_of_mutated_inputs_neither_fell_nor_fool_nor_fatten_the_server() -> Result<()> {
    let each = env::var("FANFARE_LONG").map_or(Ok(EACH), |count| count.parse().map(|count: usize| count.max(EACH)))?;
    let seed = env::var("FANFARE_SEED").map_or(Ok(u64::from(std::process::id())), |seed| seed.parse())?;
    println!("{each} mutations of each of five kinds; FANFARE_SEED={seed}");
    let mut server = Server::start().await?;
    let owner = server.sign_up().await?;
    // Hashing the owner's password took more memory than all of this may.
    server.stop().await?;
    server.launch().await?;
    server.await_app(&owner).await?;
    let pid = server.platform().pid();
    let mut storm = Storm { owner: owner.clone(), chance: StdRng::seed_from_u64(seed), each: 50 };
    // Once around first, so that what is made on first use is not counted as growth.
    run(&mut storm).await.with_context(|| format!("FANFARE_SEED={seed}"))?;
    let before = memory(pid)?;
    storm.each = each;
    run(&mut storm).await.with_context(|| format!("FANFARE_SEED={seed}"))?;

    eventually("the vanished connections are let go", async || {
        let answer = Answer::to(http()?.get(format!("{}/metrics", server.private_url()))).await?;
        let text = answer.body.as_str().unwrap_or_default();
        let open = text.lines().find_map(|line| line.strip_prefix("fanfare_connections "));
        Ok((open.context("the server counts connections")?.trim().parse::<f64>()? < 1.0).then_some(()))
    })
    .await?;
    let after = memory(pid)?;
    println!("{} MiB before, {} MiB after", before >> 20, after >> 20);
    ensure!(after < before + GROWTH_BYTES_MAX, "it grew from {before} to {after} bytes");
    assert_eq!(server.ready().await?.status, 200);
    let log = server.log()?;
    ensure!(!log.contains("panicked"), "FANFARE_SEED={seed}: {log}");
    // And it works as before.
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&owner.token_for("ann", &["room:*"])?)).await?;
    ann.subscribe("room:after").await?;
    owner.publisher().publish("room:after", "hi").await?;
    assert_eq!(timeout(Duration::from_secs(5), ann.message("room:after")).await??["data"], "hi");
    Ok(())
}

async fn run(storm: &mut Storm) -> Result<()> {
    storm.commands().await.context("commands")?;
    storm.frames().await.context("frames")?;
    storm.bodies().await.context("bodies")?;
    storm.requests().await.context("requests")?;
    storm.tokens().await.context("tokens")
}
