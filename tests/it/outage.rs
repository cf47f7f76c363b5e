//! Postgres goes away, with and without the server: the data plane does not need it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use ::harness::answer::{Answer, http};
use ::harness::client::Client;
use ::harness::command::fanfare;
use ::harness::ledger::{Ledger, Outcome};
use ::harness::owner::Owner;
use ::harness::postgres::{OwnCluster, URL_PASSWORD};
use ::harness::raw::Raw;
use ::harness::server::{Home, Options, PASSWORD, Server, is_over_redis};
use ::harness::{TIMEOUT, eventually};
use anyhow::{Context, Result, ensure};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::time::{Instant, interval, timeout};

/// An app that nobody has.
const UNKNOWN: &str = "app_00000000000000000000000001";

/// A Postgres that the test may stop, and a server that works with it.
pub(crate) async fn stoppable() -> Result<(OwnCluster, Server)> {
    let cluster = OwnCluster::start().await?;
    let data = std::env::temp_dir().join(format!("fanfare-migrate-{}", std::process::id()));
    let data = data.to_str().context("a path of ours")?;
    fanfare(&["migrate", "--data", data], &[("DATABASE_URL", &cluster.url())])?.ok()?;
    fs::remove_dir_all(data)?;
    let server = Server::start_with(Options::at(Home::Url(cluster.url()))).await?;
    Ok((cluster, server))
}

/// Publishes by REST and over a socket, and sees both arrive. Nothing here may fail, whatever happens to Postgres.
struct Traffic {
    owner: Owner,
    ledger: Ledger,
    ann: Client,
    bob: Client,
    slowest: Duration,
}

impl Traffic {
    async fn new(owner: &Owner) -> Result<Self> {
        let mut ann = owner.connect_as("ann", &["room:*"]).await?;
        ann.subscribe("room:9").await?;
        let bob = owner.connect_as("bob", &["room:*"]).await?;
        Ok(Self { owner: owner.clone(), ledger: Ledger::new(), ann, bob, slowest: Duration::ZERO })
    }

    async fn flow(&mut self, rounds: usize) -> Result<()> {
        let publisher = self.owner.publisher();
        let mut pace = interval(Duration::from_millis(5));
        for round in 0..rounds {
            pace.tick().await;
            let begun = Instant::now();
            let outcome = publisher.publish_into(&mut self.ledger, "room:9", json!({ "rest": round })).await?;
            ensure!(matches!(outcome, Outcome::Acked(_)), "a publish was not acknowledged: {outcome:?}");
            self.bob.publish_into(&mut self.ledger, "room:9", json!({ "socket": round })).await?;
            for _ in 0..2 {
                self.ann.message("room:9").await?;
            }
            self.slowest = self.slowest.max(begun.elapsed());
        }
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let summary =
            self.ledger.check_settled(&self.ann.journals()).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        ensure!(summary.acked == summary.delivered, "{summary:?}");
        Ok(())
    }
}

/// The control plane refuses in time, as clients can understand.
async fn refuses(request: RequestBuilder) -> Result<()> {
    let begun = Instant::now();
    let answer = Answer::to(request.header("X-Fanfare-CSRF", "1")).await?;
    let took = begun.elapsed();
    ensure!((answer.status, answer.refusal()?.as_str()) == (503, "storage_unavailable"), "{}", answer.body);
    ensure!(answer.header("retry-after").is_some(), "it says when to come back: {}", answer.body);
    // A second, and room for a slow machine.
    ensure!(took < Duration::from_secs(3), "refused after {took:?}");
    Ok(())
}

async fn control_refuses(server: &Server, owner: &Owner) -> Result<()> {
    let post = |path: &str, email: &str| -> Result<RequestBuilder> {
        let body = json!({ "email": email, "password": PASSWORD });
        Ok(http()?.post(format!("{}/api/v1/{path}", server.control_url())).json(&body))
    };
    refuses(owner.request(reqwest::Method::GET, "/api/v1/session")).await?;
    refuses(post("sign-in", &owner.email)?).await?;
    refuses(post("sign-up", "late@example.com")?).await?;
    // The one thing that the data plane cannot do alone: what a restart would forget is not begun.
    let revocation = http()?.post(format!("{}/revocations", owner.app_url())).bearer_auth(&owner.key);
    refuses(revocation.json(&json!({ "user": "bob" }))).await?;
    let key = json!({ "name": "late", "capabilities": { "**": ["publish"] } });
    refuses(owner.request(reqwest::Method::POST, &format!("/api/v1/apps/{}/keys", owner.app)).json(&key)).await
}

async fn sign_in(server: &Server, owner: &Owner) -> Result<Answer> {
    let body = json!({ "email": owner.email, "password": PASSWORD });
    let request = http()?.post(format!("{}/api/v1/sign-in", server.control_url())).json(&body);
    Answer::to(request.header("X-Fanfare-CSRF", "1")).await
}

/// Readiness says that work may be sent, and that something is missing that reads like this.
async fn degraded(server: &Server, word: &str) -> Result<()> {
    eventually("readiness tells of the outage", async || {
        let ready = server.ready().await?;
        ensure!(ready.status == 200 && ready.body["ready"] == true, "known apps are served: {}", ready.body);
        Ok(ready.body["degraded"].to_string().contains(word).then_some(()))
    })
    .await
}

async fn recovered(server: &Server) -> Result<()> {
    eventually("all is well", async || Ok((server.ready().await?.body["degraded"] == json!([])).then_some(()))).await
}

/// How an app that nobody has is answered, by REST and as a socket.
async fn unknown(server: &Server) -> Result<String> {
    let url = format!("{}/v1/apps/{UNKNOWN}", server.gateway_url());
    let rest = Answer::to(http()?.get(format!("{url}/channels")).bearer_auth("a.b.c")).await?.refusal()?;
    let mut raw = Raw::handshake(&url, &[]).await?;
    let problem: Value = serde_json::from_str(&raw.body().await?)?;
    ensure!(problem["code"] == rest.as_str(), "by REST {rest}, as a socket {problem}");
    Ok(rest)
}

#[tokio::test]
async fn who_publishes_and_subscribes_does_not_notice_that_postgres_is_gone() -> Result<()> {
    let (mut cluster, server) = stoppable().await?;
    let owner = server.sign_up().await?;
    let mut traffic = Traffic::new(&owner).await?;
    let stop = async {
        interval(Duration::from_millis(100)).tick().await;
        cluster.stop()
    };
    let (flowed, stopped) = tokio::join!(traffic.flow(100), stop);
    stopped?;
    flowed?;
    let mut eve = owner.connect_as("eve", &["room:*"]).await?;
    eve.subscribe("room:9").await?;
    let (controlled, flowed) = tokio::join!(control_refuses(&server, &owner), traffic.flow(300));
    controlled?;
    flowed?;
    let forged = format!("{}x", owner.token_for("mallory", &["room:*"])?);
    let mut mallory = Client::open(&owner.app_url(), "mallory").await?;
    assert_eq!(mallory.refused("connect", json!({ "token": forged })).await?["code"], "token_invalid");
    assert_eq!(unknown(&server).await?, "not_found", "every app is known since the start");
    degraded(&server, "Postgres").await?;
    degraded(&server, "nothing has been heard").await?;

    let begun = Instant::now();
    cluster.launch().await?;
    eventually("sign-in works again", async || Ok((sign_in(&server, &owner).await?.status == 200).then_some(())))
        .await?;
    recovered(&server).await?;
    println!("recovered {:?} after the start of Postgres began; slowest round {:?}", begun.elapsed(), traffic.slowest);
    traffic.flow(10).await?;
    ensure!(!server.log()?.contains(URL_PASSWORD), "the log has the database's password");
    traffic.settle()
}

#[tokio::test]
async fn a_server_that_starts_without_postgres_serves_the_apps_it_knew() -> Result<()> {
    let (mut cluster, mut server) = stoppable().await?;
    let owner = server.sign_up().await?;
    let signing = owner.create_key("signing", &json!({ "**": ["subscribe", "publish", "sign"] })).await?;
    let of_signing = fanfare(&["token", "make", "--sub", "eve"], &[("FANFARE_KEY", &signing)])?.ok()?;
    let of_signing = of_signing.trim();
    eventually("the key is known", async || {
        let mut eve = Client::open(&owner.app_url(), "eve").await?;
        Ok(eve.command("connect", json!({ "token": of_signing })).await?.is_ok().then_some(()))
    })
    .await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    let before = ann.subscribe("room:9").await?;
    let position = format!("{}.{}", before["lineage"].as_str().context("a lineage")?, before["seq"]);
    let (ticket, connection) = (ann.ticket()?, ann.hello["connection"].clone());
    written(&server, &owner).await?;

    cluster.stop()?;
    server.kill()?;
    let begun = Instant::now();
    server.launch().await?;
    let mut traffic = Traffic::new(&owner).await?;
    traffic.flow(20).await?;
    println!("known apps are served {:?} after the start", begun.elapsed());
    let mut eve = Client::connect(&owner.app_url(), "eve", Some(of_signing)).await?;
    let mut ann = Client::come_back(&owner.app_url(), "ann", &ticket).await?;
    assert_eq!(
        (&ann.hello["user"], &ann.hello["connection"]),
        (&json!("ann"), &connection),
        "tickets outlive the node"
    );
    let resumed = ann.resume("room:9", &position).await?;
    // In memory the log has gone with the node; in Redis it has not.
    let expected = if is_over_redis() { (true, Value::Null) } else { (false, json!("epoch_changed")) };
    assert_eq!((&resumed["recovered"], &resumed["reason"]), (&json!(expected.0), &expected.1));
    assert_eq!(unknown(&server).await?, "try_again");
    control_refuses(&server, &owner).await?;
    let page = http()?.get(server.control_url()).header("accept", "text/html");
    let page = Answer::to(page).await?;
    assert!(page.status == 503 && page.body.to_string().contains("Waiting for the database"), "{}", page.body);
    degraded(&server, "snapshot").await?;

    cluster.launch().await?;
    eventually("sign-in works", async || Ok((sign_in(&server, &owner).await?.status == 200).then_some(()))).await?;
    recovered(&server).await?;
    assert_eq!(unknown(&server).await?, "not_found");
    let (id, _) = signing.split_once(':').context("a printed key has two parts")?;
    owner.post(&format!("/apps/{}/keys/{id}/revoke", owner.app), &json!({})).await?.ok()?;
    assert_eq!(eve.closed().await?.1, "token_revoked", "a change after the outage is felt");
    let late = server.sign_up_as("late@example.com").await?;
    late.publisher().publish("room:9", "hello").await?;
    traffic.flow(10).await?;
    ensure!(!server.log()?.contains(URL_PASSWORD), "the log has the database's password");
    traffic.settle()
}

/// Waits until the snapshot on disk has all that the server knows.
async fn written(server: &Server, owner: &Owner) -> Result<()> {
    let url = format!("{}/metrics", server.private_url());
    let count = async || -> Result<u64> {
        let text = Answer::to(http()?.get(&url)).await?.ok()?;
        let text = text.as_str().context("metrics are text")?;
        let line = text.lines().find_map(|line| line.strip_prefix("fanfare_snapshots_written_total "));
        line.and_then(|count| count.parse().ok()).with_context(|| format!("no count in {text}"))
    };
    // A change of the app that only serves to be written; whatever was before it is written with it or earlier.
    let before = count().await?;
    owner.create_key("marker", &json!({ "**": ["publish"] })).await?;
    eventually("the snapshot is written", async || Ok((count().await? > before).then_some(()))).await
}

#[tokio::test]
async fn a_damaged_snapshot_is_not_believed_and_keeps_nobody_waiting() -> Result<()> {
    let (mut cluster, mut server) = stoppable().await?;
    let owner = server.sign_up().await?;
    let private_url = server.private_url().to_owned();
    let (gateway_url, control_url) = (server.gateway_url().to_owned(), server.control_url().to_owned());
    server.stop().await?;
    cluster.stop()?;
    let path = server.data().join("snapshot.sealed");
    let sound = fs::read(&path)?;
    let data = server.data().to_str().context("a path of ours")?.to_owned();
    let check = || fanfare(&["check", "--data", &data], &[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")]);
    let opens = |said: &str| said.lines().any(|line| line.starts_with("ok") && line.contains("snapshot"));
    assert!(opens(&check()?.out));
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let half = sound[..sound.len() / 2].to_vec();
    for (what, bytes) in [
        ("empty", Vec::new()),
        ("one byte", vec![1]),
        ("half", half.clone()),
        ("another version", flipped(0)),
        ("one bit", flipped(sound.len() / 2)),
        ("noise", (0..sound.len()).map(|at| (at * 31 % 251) as u8).collect()),
    ] {
        fs::write(&path, bytes)?;
        let said = check()?;
        assert!(said.code == 1 && !opens(&said.out) && !said.err.contains("panicked"), "{what}: {said:?}");
    }

    // Neither Postgres nor a snapshot: nothing is known, and everybody is told so at once.
    fs::write(&path, half)?;
    let known = format!("{gateway_url}/v1/apps/{}/channels", owner.app);
    let away = async {
        eventually("it is up and not ready", async || {
            let Ok(ready) = Answer::to(http()?.get(format!("{private_url}/ready"))).await else { return Ok(None) };
            let reasons = ready.body["reasons"].to_string();
            Ok((ready.status == 503 && reasons.contains("no app is known")).then_some(()))
        })
        .await?;
        let answer = timeout(TIMEOUT, Answer::to(http()?.get(known))).await??;
        ensure!((answer.status, answer.refusal()?.as_str()) == (503, "try_again"), "{}", answer.body);
        ensure!(answer.header("retry-after").is_some(), "it says when to come back");
        refuses(http()?.get(format!("{control_url}/api/v1/session"))).await?;
        cluster.launch().await
    };
    tokio::try_join!(server.launch(), away)?;
    server.await_app(&owner).await?;
    owner.publisher().publish("room:9", "as before").await?;
    server.stop().await?;
    assert!(opens(&check()?.out), "a sound one took its place");
    Ok(())
}

#[tokio::test]
async fn what_lies_on_the_disk_is_for_the_server_alone() -> Result<()> {
    let mut server = Server::start().await?;
    let owner = server.sign_up().await?;
    let key = owner.create_key("canary-of-a-name", &json!({ "canary:*": ["publish", "sign"] })).await?;
    let publisher = owner.publisher_with(&key);
    eventually("the key is known", async || Ok(publisher.publish("canary:1", 1).await.ok())).await?;
    server.stop().await?;
    let snapshot = fs::read(server.data().join("snapshot.sealed"))?;
    let (_, secret) = key.split_once(':').context("a printed key has two parts")?;
    let (_, first) = owner.key.split_once(':').context("a printed key has two parts")?;
    for canary in [secret, &secret[4..], first, "canary", owner.app.as_str(), "demo:**", "signing", "\"keys\""] {
        let shown = snapshot.windows(canary.len()).any(|bytes| bytes == canary.as_bytes());
        assert!(!shown, "the snapshot shows {canary}");
    }
    for entry in fs::read_dir(server.data())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file() && entry.file_name() != "postgres.lock" {
            assert_eq!(metadata.mode() & 0o777, 0o600, "{}", entry.path().display());
        }
    }
    let names: Vec<_> = fs::read_dir(server.data())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    assert!(names.iter().any(|name| name == "master.key") && names.iter().any(|name| name == "snapshot.sealed"));
    Ok(())
}
