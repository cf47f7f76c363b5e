//! Several nodes and one Redis: what holds on one node holds on all of them.

mod limits;
mod looking;
mod presence;
mod proxied;
mod transports;

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use ::harness::answer::{Answer, http};
use ::harness::client::Client;
use ::harness::command::fanfare;
use ::harness::eventually;
use ::harness::ledger::{Fact, Ledger};
use ::harness::nginx::Nginx;
use ::harness::owner::Owner;
use ::harness::postgres::{Database, database};
use ::harness::redis::Redis;
use ::harness::sentinels::Sentinels;
use ::harness::server::{Home, Options, Server};
use anyhow::{Context as _, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::recovery::{keep, position, printed, publish, read_to, set};

/// How soon a node without Redis says that it is not ready (`faults.md` F1), and room for a slow machine.
const TOLD_WITHIN: Duration = Duration::from_secs(3 + 2);

/// What keeps messages.
pub(crate) enum Keeper {
    One(Redis),
    Watched(Sentinels),
}

impl From<Redis> for Keeper {
    fn from(redis: Redis) -> Self {
        Self::One(redis)
    }
}

impl From<Sentinels> for Keeper {
    fn from(sentinels: Sentinels) -> Self {
        Self::Watched(sentinels)
    }
}

impl Keeper {
    fn url(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Watched(sentinels) => sentinels.url(),
        }
    }

    pub(crate) fn watched(&mut self) -> &mut Sentinels {
        match self {
            Self::Watched(sentinels) => sentinels,
            Self::One(_) => panic!("no sentinel watches over it"),
        }
    }
}

/// For tests over one Redis, which are most.
impl Deref for Keeper {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        match self {
            Self::One(redis) => redis,
            Self::Watched(_) => panic!("sentinels watch over it"),
        }
    }
}

impl DerefMut for Keeper {
    fn deref_mut(&mut self) -> &mut Redis {
        match self {
            Self::One(redis) => redis,
            Self::Watched(_) => panic!("sentinels watch over it"),
        }
    }
}

/// A platform of several nodes.
pub(crate) struct Nodes {
    pub(crate) redis: Keeper,
    database: Database,
    pub(crate) all: Vec<Server>,
    /// What stands before the first two, where clients come that way.
    pub(crate) nginx: Option<Nginx>,
}

impl Nodes {
    async fn start(count: usize) -> Result<Self> {
        Self::over(Redis::start().await?, count).await
    }

    pub(crate) async fn over(redis: impl Into<Keeper>, count: usize) -> Result<Self> {
        let database = database().await?;
        let mut nodes = Self { redis: redis.into(), database, all: Vec::new(), nginx: None };
        for _ in 0..count {
            nodes.add().await?;
        }
        Ok(nodes)
    }

    async fn add(&mut self) -> Result<()> {
        self.add_with(self.options()).await
    }

    async fn add_with(&mut self, options: Options) -> Result<()> {
        self.all.push(Server::start_with(options).await?);
        Ok(())
    }

    fn options(&self) -> Options {
        let options = Options::at(Home::Url(self.database.url.clone()))
            .with("REDIS_URL", self.redis.url())
            .with("FANFARE_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
        match &self.redis {
            Keeper::Watched(sentinels) if let Some(ca) = sentinels.ca() => {
                options.with("FANFARE_REDIS_TLS_CA", ca.display())
            }
            Keeper::One(_) | Keeper::Watched(_) => options,
        }
    }

    /// Somebody who signed up at the first node, as every node knows them; or as they come in through nginx.
    pub(crate) async fn sign_up(&self) -> Result<Vec<Owner>> {
        let owner = self.all[0].sign_up().await?;
        let everywhere: Vec<Owner> = self.all.iter().map(|node| owner.at(node)).collect();
        for (node, owner) in self.all.iter().zip(&everywhere) {
            node.await_app(owner).await?;
        }
        let Some(nginx) = &self.nginx else { return Ok(everywhere) };
        Ok(vec![owner.through(nginx.gateway_url(), nginx.control_url())])
    }
}

async fn ready(server: &Server, expected: bool) -> Result<()> {
    eventually("readiness changes", async || {
        let ready = server.ready().await?;
        let told = ready.body["reasons"].to_string().contains("Redis");
        Ok(((ready.status == 200) == expected && told != expected).then_some(()))
    })
    .await
}

/// A channel's setting says what an acknowledgement means, to backends and to clients alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_as_replicated_is_on_a_second_redis_or_refused() -> Result<()> {
    let mut nodes = Nodes::over(Sentinels::start().await?, 1).await?;
    let owners = nodes.sign_up().await?;
    let owner = &owners[0];
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    set(owner, json!([{ "pattern": "room:*", "durability": "replicated" }])).await?;
    let publish = async |id: &str| {
        let message = json!({ "id": id, "data": id });
        owner.publisher().post("/channels/room:9/messages", &message).await
    };
    eventually("the setting arrives", async || {
        Ok((publish("first").await?.ok()?["durability"] == "replicated").then_some(()))
    })
    .await?;
    nodes.redis.watched().kill(1)?;
    let refused = publish("second").await?;
    let word = (refused.status, &refused.body["code"], &refused.body["retryable"]);
    ensure!(word == (503, &json!("not_replicated"), &json!(true)), "{}", refused.body);
    let refused = ann.command("publish", json!({ "channel": "room:9", "id": "third", "data": 3 })).await?;
    ensure!(refused.as_ref().is_err_and(|error| error["code"] == "not_replicated"), "{refused:?}");
    let metrics = http()?.get(format!("{}/metrics", nodes.all[0].private_url())).send().await?.text().await?;
    ensure!(metrics.contains("\nfanfare_redis_not_replicated_total 2\n"), "{metrics}");
    nodes.redis.watched().launch(1).await?;
    let told = publish("second").await?;
    let word = (told.status, &told.body["durability"], &told.body["duplicate"]);
    ensure!(word == (200, &json!("replicated"), &json!(true)), "{}", told.body);
    Ok(())
}

/// The same where Redis is spoken to over TLS alone.
#[tokio::test]
async fn nodes_hear_each_other_over_tls() -> Result<()> {
    let nodes = Nodes::over(Sentinels::start_tls().await?, 2).await?;
    let owners = nodes.sign_up().await?;
    let mut ann = owners[0].connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    owners[1].publisher().publish("room:9", "here").await?;
    ensure!(ann.message("room:9").await?["data"] == "here");
    Ok(())
}

#[tokio::test]
async fn what_is_published_on_one_node_reaches_the_subscribers_of_every_node() -> Result<()> {
    let nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let mut ledger = Ledger::new();
    let mut clients = Vec::new();
    for (number, owner) in owners.iter().enumerate() {
        let mut client = owner.connect_as(&format!("user-{number}"), &["room:*"]).await?;
        client.subscribe("room:9").await?;
        clients.push(client);
    }
    for round in 0..50 {
        publish(&owners[round % 2], &mut ledger, "room:9", round as u64..round as u64 + 1).await?;
        clients[round % 2].publish_into(&mut ledger, "room:9", round as u64 + 1_000).await?;
    }
    for client in &mut clients {
        read_to(client, "room:9", 100).await?;
        client.nothing_came().await?;
    }
    let journals: Vec<_> = clients.iter().flat_map(Client::journals).collect();
    let summary = ledger.check_settled(&journals).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    ensure!((summary.acked, summary.delivered) == (100, 200), "{summary:?}");
    // The log is one, wherever it is read.
    let mut pages = Vec::new();
    for owner in &owners {
        pages.push(owner.publisher().get("/channels/room:9/messages?limit=100").await?.ok()?);
    }
    ensure!(pages[0]["messages"] == pages[1]["messages"] && pages[0]["messages"].as_array().map(Vec::len) == Some(100));
    Ok(())
}

#[tokio::test]
async fn a_client_whose_node_died_goes_on_at_another_without_a_hole() -> Result<()> {
    let mut nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    keep(&owners[0], 1_000).await?;
    let mut ledger = Ledger::new();
    let mut ann = owners[0].connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    publish(&owners[1], &mut ledger, "room:9", 1..11).await?;
    read_to(&mut ann, "room:9", 10).await?;
    let (ticket, connection) = (ann.ticket()?, ann.hello["connection"].clone());
    nodes.all[0].kill()?;
    let journals = ann.vanish();
    let place = position(&journals, "room:9")?;
    publish(&owners[1], &mut ledger, "room:9", 11..31).await?;

    let mut ann = Client::come_back(&owners[1].app_url(), "ann", &ticket).await?;
    ensure!(ann.hello["connection"] == connection, "{}", ann.hello);
    journals.into_iter().for_each(|journal| ann.continue_journal(journal));
    let ok = ann.resume("room:9", &printed(&place)).await?;
    ensure!(ok["recovered"] == true, "{ok}");
    read_to(&mut ann, "room:9", 30).await?;

    // The node that died comes back with nothing of its own, and the log is as it was.
    nodes.all[0].launch().await?;
    let again = owners[0].at(&nodes.all[0]);
    nodes.all[0].await_app(&again).await?;
    publish(&again, &mut ledger, "room:9", 31..41).await?;
    read_to(&mut ann, "room:9", 40).await?;
    let summary = ledger.check_settled(&ann.journals()).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    ensure!((summary.acked, summary.delivered) == (40, 40), "{summary:?}");
    Ok(())
}

#[tokio::test]
async fn without_redis_publishes_are_refused_connections_stay_and_readiness_says_so() -> Result<()> {
    let mut nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let mut ledger = Ledger::new();
    let mut ann = owners[0].connect_as("ann", &["room:*"]).await?;
    let before = ann.subscribe("room:9").await?;
    publish(&owners[1], &mut ledger, "room:9", 1..6).await?;
    read_to(&mut ann, "room:9", 5).await?;
    nodes.redis.kill()?;
    let begun = Instant::now();
    for node in &nodes.all {
        ready(node, false).await?;
    }
    ensure!(begun.elapsed() < TOLD_WITHIN, "readiness told after {:?}", begun.elapsed());
    for owner in &owners {
        let begun = Instant::now();
        let answer = owner.publisher().post("/channels/room:9/messages", &json!({ "data": "away" })).await?;
        // The first to notice cannot know whether it was done.
        let is_told = [503, 504].contains(&answer.status) && answer.body["retryable"] == true;
        ensure!(is_told, "{} {}", answer.status, answer.body);
        ensure!(begun.elapsed() < TOLD_WITHIN, "refused after {:?}", begun.elapsed());
    }
    let refused = ann.refused("publish", json!({ "channel": "room:9", "data": "away" })).await?;
    ensure!(refused["retryable"] == true, "{refused}");
    ann.nothing_came().await?;

    // It kept nothing: whoever was subscribed is told, once there is a message to tell by, and hears on.
    nodes.redis.launch().await?;
    for node in &nodes.all {
        ready(node, true).await?;
    }
    let lineage = before["lineage"].as_str().context("a lineage")?;
    ledger.fact("room:9", Fact::LineageEnded(lineage.to_owned()));
    publish(&owners[1], &mut ledger, "room:9", 6..9).await?;
    let told = ann.push().await?;
    ensure!(told["recovery"]["reason"] == "epoch_changed", "{told}");
    read_to(&mut ann, "room:9", 3).await?;
    let summary = ledger.check_settled(&ann.journals()).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    ensure!((summary.acked, summary.delivered) == (8, 8), "{summary:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_backend_does_to_connections_reaches_those_of_every_node() -> Result<()> {
    let mut nodes = Nodes::start(2).await?;
    let owners = nodes.sign_up().await?;
    let publisher = owners[0].publisher();
    let post = async |path: &str, body: Value| publisher.post(path, &body).await?.ok();
    // Who lives is known soon after a node has started.
    eventually("both nodes are known", async || {
        let told = post("/users/nobody/messages", json!({ "data": 1 })).await?;
        Ok((told["nodes"] == json!({ "applied": 2, "known": 2 })).then_some(()))
    })
    .await?;
    let mut anns = Vec::new();
    for owner in &owners {
        anns.push(owner.connect_as("ann", &["room:*"]).await?);
    }
    let mut bob = owners[1].connect_as("bob", &["room:*"]).await?;
    let both = |told: &Value| {
        let is_both = told["connections"] == 2 && told["nodes"] == json!({ "applied": 2, "known": 2 });
        is_both.then_some(()).with_context(|| told.to_string())
    };
    both(&post("/users/ann/messages", json!({ "name": "hi", "data": { "a": [1] } })).await?)?;
    for ann in &mut anns {
        let push = ann.push().await?;
        ensure!(push.to_string().contains(r#""data":{"a":[1]}"#), "{push}");
    }
    let subscription =
        async |method: Method| Answer::to(publisher.request(method, "/users/ann/subscriptions/room:9")).await?.ok();
    both(&subscription(Method::PUT).await?)?;
    for ann in &mut anns {
        ensure!(ann.push().await?["subscribed"]["channel"] == "room:9");
    }
    publisher.publish("room:9", "all").await?;
    for ann in &mut anns {
        ensure!(ann.message("room:9").await?["data"] == "all");
    }
    both(&subscription(Method::DELETE).await?)?;
    for ann in &mut anns {
        ensure!(ann.push().await?["unsubscribed"]["channel"] == "room:9");
    }
    both(&post("/disconnect", json!({ "user": "ann" })).await?)?;
    for ann in &mut anns {
        ensure!(ann.closed().await?.1 == "disconnected");
    }
    bob.nothing_came().await?;
    let token = owners[1].token(&json!({ "sub": "bob", "jti": "bob-1" }))?;
    let mut again = Client::connect(&owners[1].app_url(), "bob", Some(&token)).await?;
    let told = post("/revocations", json!({ "token": "bob-1" })).await?;
    ensure!(told["connections"] == 1 && told["nodes"] == json!({ "applied": 2, "known": 2 }), "{told}");
    ensure!(again.closed().await?.1 == "token_revoked");

    // A node that died is missed, and said to be, until it is known to be gone.
    nodes.all[1].kill()?;
    let begun = Instant::now();
    let told = post("/disconnect", json!({ "user": "ann" })).await?;
    ensure!(told["nodes"]["applied"] == 1 && begun.elapsed() < TOLD_WITHIN, "{told} after {:?}", begun.elapsed());
    eventually("it is known to be gone", async || {
        let told = post("/disconnect", json!({ "user": "ann" })).await?;
        Ok((told["nodes"] == json!({ "applied": 1, "known": 1 })).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_redis_that_comes_back_with_everything_is_continued_and_clients_are_told_the_lineage() -> Result<()> {
    let redis = Redis::start_with(&["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).await?;
    let mut nodes = Nodes::over(redis, 2).await?;
    let owners = nodes.sign_up().await?;
    let mut ann = owners[0].connect_as("ann", &["room:*"]).await?;
    let first = ann.subscribe("room:9").await?;
    for number in 1..6 {
        owners[1].publisher().publish("room:9", number).await?;
        ensure!(ann.message("room:9").await?["data"] == number);
    }
    let mut away = owners[1].connect_as("away", &["room:*"]).await?;
    let place = format!("{}.3", first["lineage"].as_str().context("a lineage")?);
    for round in 0..3 {
        nodes.redis.kill()?;
        for node in &nodes.all {
            ready(node, false).await?;
        }
        nodes.redis.launch().await?;
        for node in &nodes.all {
            ready(node, true).await?;
        }
        let number = 6 + round;
        let published = owners[1].publisher().publish("room:9", number).await?;
        // Before the first message under the new lineage: nothing is missing, and where to come back is known.
        let told = ann.push().await?["recovery"].clone();
        let lineage = told["lineage"].as_str().context("a lineage")?;
        ensure!((&told["recovered"], &told["seq"]) == (&json!(true), &json!(number - 1)), "{told}");
        ensure!(published.position == format!("{lineage}.{number}"), "{} {told}", published.position);
        ensure!(ann.message("room:9").await?["data"] == number);
        ann.nothing_came().await?;
    }
    // Who was away all the time goes on from a lineage of three lives ago.
    let ok = away.resume("room:9", &place).await?;
    ensure!(ok["recovered"] == true && ok["seq"] == 3, "{ok}");
    for number in 4..9 {
        ensure!(away.message("room:9").await?["data"] == number);
    }
    away.nothing_came().await
}

#[tokio::test]
async fn a_node_that_starts_without_redis_is_not_ready_until_it_is_there() -> Result<()> {
    let mut nodes = Nodes::start(1).await?;
    let owners = nodes.sign_up().await?;
    nodes.all[0].stop().await?;
    nodes.redis.kill()?;
    nodes.all[0].launch().await?;
    ready(&nodes.all[0], false).await?;
    nodes.redis.launch().await?;
    ready(&nodes.all[0], true).await?;
    let owner = owners[0].at(&nodes.all[0]);
    nodes.all[0].await_app(&owner).await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    owner.publisher().publish("room:9", "here").await?;
    ensure!(ann.message("room:9").await?["data"] == "here");
    nodes.all[0].stop().await
}

#[tokio::test]
async fn a_redis_that_may_forget_is_refused_before_anything_is_served_and_the_check_says_so() -> Result<()> {
    let database = database().await?;
    let fit = Redis::start().await?;
    let unfit = Redis::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"]).await?;
    let data = std::env::temp_dir().join(format!("fanfare-redis-check-{}", std::process::id()));
    let data = data.to_str().context("a path of ours")?;
    let run = |command: &str, url: &str| {
        let variables = [
            ("DATABASE_URL", &*database.url),
            ("REDIS_URL", url),
            ("FANFARE_LISTEN__GATEWAY", "127.0.0.1:0"),
            ("FANFARE_LISTEN__CONTROL", "127.0.0.1:0"),
            ("FANFARE_LISTEN__PRIVATE", "127.0.0.1:0"),
        ];
        fanfare(&[command, "--data", data], &variables)
    };
    let of_redis = |url: &str| -> Result<String> {
        let said = run("check", url)?.out;
        Ok(said.lines().find(|line| line.contains(" redis ")).context("it says nothing of Redis")?.to_owned())
    };
    ensure!(of_redis(&fit.url())?.starts_with("ok"), "{}", of_redis(&fit.url())?);
    for (url, word) in [
        (unfit.url(), "volatile-lru"),
        ("redis+unix:///nowhere".to_owned(), "does not answer"),
        ("http://user:hunter2@localhost".to_owned(), "REDIS_URL"),
        ("redis+sentinel://user:hunter2@localhost".to_owned(), "name of the master"),
    ] {
        let said = of_redis(&url)?;
        ensure!(said.starts_with("WRONG") && said.contains(word) && !said.contains("hunter2"), "{url}: {said}");
    }
    let refused = run("serve", &unfit.url())?;
    ensure!(refused.code != 0 && refused.err.contains("maxmemory-policy"), "{refused:?}");
    // It may never have been made.
    let _ = std::fs::remove_dir_all(data);
    Ok(())
}
