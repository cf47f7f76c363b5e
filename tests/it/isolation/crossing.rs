//! The same names in several apps are different channels: messages, history, ids and positions never cross.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use harness::client::Client;
use harness::owner::Owner;
use harness::server::Server;
use serde_json::{Value, json};

use super::world::everything;

const CHANNELS: [&str; 4] = ["room:1", "room:2", "room:2:deep", "demo:hello"];
const MESSAGES: usize = 200;
const BATCH: usize = 20;

/// An app, somebody who listens to all its channels, and where its messages ended up.
struct World {
    name: &'static str,
    owner: Owner,
    listener: Client,
    positions: Vec<String>,
}

impl World {
    async fn new(name: &'static str, owner: Owner) -> Result<Self> {
        let mut listener = owner.connect_as("ann", &["room:**", "demo:*"]).await?;
        for channel in CHANNELS {
            listener.subscribe(channel).await?;
        }
        Ok(Self { name, owner, listener, positions: Vec::new() })
    }

    /// Publishes a number of messages round the channels. The ids are the same in every app, what they say is not.
    async fn publish(&mut self, from: usize) -> Result<()> {
        let messages: Vec<Value> = (from..from + BATCH)
            .map(|number| {
                let channel = CHANNELS[number % CHANNELS.len()];
                json!({ "channel": channel, "id": format!("order-{number}"), "data": [self.name, number] })
            })
            .collect();
        let done = self.owner.publisher().post("/batch", &json!({ "messages": messages })).await?.ok()?;
        for result in done["results"].as_array().context("a batch has results")? {
            ensure!(result["ok"]["duplicate"] == false, "{} was published in another app: {result}", self.name);
            self.positions.push(result["ok"]["position"].as_str().context("a message has a position")?.to_owned());
        }
        Ok(())
    }

    /// What the listener received is what was published here: all of it, once, in order, and nothing else.
    async fn received(&mut self) -> Result<()> {
        let mut seen: [Vec<usize>; 4] = Default::default();
        for _ in 0..MESSAGES {
            let push = self.listener.push().await?;
            let message = &push["msg"];
            ensure!(message["data"][0] == self.name, "{} received {push}", self.name);
            let at = CHANNELS.iter().position(|channel| message["channel"] == *channel).context("a known channel")?;
            let number = message["data"][1].as_u64().context("a number")?;
            seen[at].push(usize::try_from(number)?);
        }
        self.listener.nothing_came().await?;
        for (at, numbers) in seen.iter().enumerate() {
            ensure!(numbers.iter().copied().eq((at..MESSAGES).step_by(CHANNELS.len())), "{}: {numbers:?}", self.name);
        }
        Ok(())
    }

    /// What is kept of a channel is what was published here.
    async fn kept(&self) -> Result<()> {
        for channel in CHANNELS {
            let path = format!("/channels/{channel}/messages?direction=forward");
            let page = self.owner.publisher().get(&path).await?.ok()?;
            let messages = page["messages"].as_array().context("a page has messages")?;
            let own = messages.iter().filter(|message| message["data"][0] == self.name).count();
            ensure!((own, messages.len()) == (MESSAGES / CHANNELS.len(), own), "{} {channel}: {page}", self.name);
        }
        Ok(())
    }

    /// Nothing that is known of another app's messages opens anything here.
    async fn refuses_positions_of(&self, other: &Self) -> Result<()> {
        let mut client = self.owner.connect_as("bob", &["room:**", "demo:*"]).await?;
        for (position, channel) in other.positions.iter().zip(CHANNELS.iter().cycle()).take(2 * CHANNELS.len()) {
            let subscribe = json!({ "channel": channel, "position": position });
            let history = json!({ "channel": channel, "from": position });
            for (command, body) in [("subscribe", subscribe), ("history", history)] {
                let error = client.refused(command, body).await?;
                ensure!(error["code"] == "invalid_position", "{command} of {} in {}: {error}", other.name, self.name);
            }
            let path = format!("/channels/{channel}/messages?from={position}");
            ensure!(self.owner.publisher().get(&path).await?.refusal()? == "invalid_position");
        }
        Ok(())
    }
}

/// The owner as the holder of a second app of theirs, with a key of its own.
async fn second_app(server: &Server, owner: &Owner) -> Result<Owner> {
    let made = owner.post(&format!("/tenants/{}/apps", owner.tenant), &json!({ "name": "second" })).await?.ok()?;
    let mut second = owner.clone();
    second.app = made["id"].as_str().context("an app has an id")?.to_owned();
    second.key = second.create_key("backend", &everything()).await?;
    server.await_app(&second).await?;
    Ok(second)
}

#[tokio::test]
async fn the_same_names_in_several_apps_never_meet() -> Result<()> {
    let server = Server::start().await?;
    let (ann, bob) = (server.sign_up().await?, server.sign_up().await?);
    let second = second_app(&server, &ann).await?;
    let mut a = World::new("a", ann).await?;
    let mut b = World::new("b", second).await?;
    let mut c = World::new("c", bob).await?;
    for from in (0..MESSAGES).step_by(BATCH) {
        tokio::try_join!(a.publish(from), b.publish(from), c.publish(from))?;
    }
    tokio::try_join!(a.received(), b.received(), c.received())?;
    tokio::try_join!(a.kept(), b.kept(), c.kept())?;
    let all: BTreeSet<&String> = [&a, &b, &c].into_iter().flat_map(|world| &world.positions).collect();
    assert_eq!(all.len(), 3 * MESSAGES, "a position stands in two apps");
    for (one, other) in [(&a, &b), (&b, &a), (&a, &c), (&c, &a)] {
        one.refuses_positions_of(other).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_key_and_a_token_count_in_one_app_of_a_tenant_alone() -> Result<()> {
    let server = Server::start().await?;
    let first = server.sign_up().await?;
    let second = second_app(&server, &first).await?;
    for (own, other) in [(&first, &second), (&second, &first)] {
        let key = other.publisher_with(&own.key);
        assert_eq!(key.get("/channels").await?.refusal()?, "key_invalid");
        let token = own.token_for("ann", &["**"])?;
        let mut client = Client::open(&other.app_url(), "ann").await?;
        assert_eq!(client.refused("connect", json!({ "token": token })).await?["code"], "token_invalid");
    }
    Ok(())
}
