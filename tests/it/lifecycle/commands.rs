//! The commands beside `serve`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use ::harness::client::Client;
use ::harness::command::{fanfare, prepared};
use ::harness::server::Server;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Directory;

#[test]
fn the_printed_configuration_is_one_that_the_server_takes() -> Result<()> {
    let directory = Directory::new("config")?;
    let file = directory.path().join("fanfare.toml");
    std::fs::write(&file, fanfare(&["config"], &[])?.ok()?)?;
    let free = [("FANFARE_LISTEN__GATEWAY", "127.0.0.1:0"), ("FANFARE_LISTEN__CONTROL", "127.0.0.1:0")];
    let variables = [&free[..], &[("FANFARE_LISTEN__PRIVATE", "127.0.0.1:0")]].concat();
    let file = file.to_str().context("a path of ours")?;
    let checked = fanfare(&["check", "--config", file, "--data", directory.text()], &variables)?.ok()?;
    assert!(checked.contains(file) && !checked.contains("WRONG"), "{checked}");
    Ok(())
}

#[test]
fn both_openapi_documents_are_printed_as_json() -> Result<()> {
    for (plane, path) in
        [("data-plane", "/v1/apps/{app}/channels/{channel}/messages"), ("control-plane", "/api/v1/sign-up")]
    {
        let document = fanfare(&["openapi", plane], &[])?.json()?;
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{plane}");
        assert!(document["paths"].get(path).is_some(), "{plane}");
    }
    Ok(())
}

#[tokio::test]
async fn what_the_commands_make_and_send_is_what_the_server_takes() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let (url, key) = (owner.app_url(), owner.key.as_str());
    let exported = [("FANFARE_URL", url.as_str()), ("FANFARE_KEY", key)];

    let make = ["token", "make", "--sub", "ann", "--cap", "room:*=subscribe,publish", "--ttl", "15m"];
    let token = fanfare(&make, &exported)?.ok()?;
    let token = token.trim();
    let explained = fanfare(&["token", "inspect", token, "--json"], &exported)?.json()?;
    assert_eq!((&explained["acceptable"], &explained["explained"]["signature"]), (&json!(true), &json!("valid")));
    assert_eq!(explained["claims"]["sub"], "ann");
    let mut ann = Client::connect(&url, "ann", Some(token)).await?;
    assert_eq!(ann.hello["user"], "ann");
    ann.subscribe("room:9").await?;

    let sent = ["publish", "room:9", "plain words", "--name", "greet", "--header", "trace=1", "--json"];
    let published = fanfare(&sent, &exported)?.json()?;
    let message = ann.message("room:9").await?;
    assert_eq!((&message["data"], &message["name"]), (&json!("plain words"), &json!("greet")));
    assert_eq!((&message["id"], &message["headers"]), (&published["id"], &json!({ "trace": "1" })));

    // It stays: what comes later is printed as it comes.
    let follow = ["subscribe", "room:9", "--rewind", "1", "--count", "2", "--json"];
    let mut follower = prepared(&follow, &exported)?.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut lines = BufReader::new(follower.stdout.take().context("it is piped")?).lines();
    let mut next = || -> Result<Value> { Ok(serde_json::from_str(&lines.next().context("it prints a line")??)?) };
    assert_eq!(next()?["data"], "plain words");
    ann.publish("room:9", json!({ "later": true })).await?;
    assert_eq!(next()?["data"], json!({ "later": true }));
    assert!(follower.wait()?.success());

    // A refusal names the code, and what it may not say stays unsaid.
    let (id, secret) = key.split_once(':').context("a printed key has two parts")?;
    let stranger = server.sign_up().await?;
    let (_, other) = stranger.key.split_once(':').context("a printed key has two parts")?;
    let forged = format!("{id}:{other}");
    let refused = fanfare(&["publish", "room:9", "1"], &[exported[0], ("FANFARE_KEY", &forged)])?.refusal()?;
    assert!(refused.contains("key_invalid") && !refused.contains(other), "{refused}");
    let torn = format!("{id}:{}", &secret[..secret.len() - 1]);
    let refused = fanfare(&["publish", "room:9", "1"], &[exported[0], ("FANFARE_KEY", &torn)])?.refusal()?;
    assert!(refused.contains("checksum") && !refused.contains(&secret[..secret.len() - 1]), "{refused}");
    let refused = fanfare(&["subscribe", "room:9"], &[exported[0], ("FANFARE_TOKEN", "a.b.c")])?.refusal()?;
    assert!(refused.contains("token_invalid"), "{refused}");
    let expired = fanfare(&["token", "make", "--ttl", "25h"], &exported)?.refusal()?;
    assert!(expired.contains("24 hours"), "{expired}");
    Ok(())
}
