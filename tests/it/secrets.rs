//! Secrets: what was typed, shown once or signed is found nowhere afterwards, and the key they are sealed under can change.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ::harness::answer::{Answer, http};
use ::harness::client::{Client, SUBPROTOCOL};
use ::harness::command::{fanfare, prepared};
use ::harness::eventually;
use ::harness::owner::Owner;
use ::harness::postgres::superuser_of;
use ::harness::raw::Raw;
use ::harness::server::{Home, Options, PASSWORD, Server};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions};
use tokio::time::interval;

/// Passwords that somebody mistypes or that are refused.
const MISTYPED: &str = "canary-mistyped-7c1e9a40";
const COMMON: &str = "canary77";
/// What is published.
const PAYLOAD: &str = "canary-payload-55b0d1c2";
const EMAIL: &str = "canary-address@example.com";

/// What must not be found, and what it is.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    /// A key's secret half without its ends: the prefix is everybody's, and the last characters are shown to people.
    fn key(&mut self, what: &'static str, printed: &str) -> Result<()> {
        let (_, secret) = printed.split_once(':').context("a printed key has two parts")?;
        self.0.push((what, secret[4..secret.len() - 4].to_owned()));
        Ok(())
    }

    /// A token's signature: without it the rest is worth nothing, and is readable by design.
    fn token(&mut self, what: &'static str, token: &str) -> Result<()> {
        self.0.push((what, token.rsplit_once('.').context("a token has three parts")?.1.to_owned()));
        Ok(())
    }

    /// Each of them as it is, in hex and in base64.
    fn forms(&self) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().flat_map(|(what, canary)| {
            let base64 = STANDARD.encode(canary).trim_end_matches('=').to_owned();
            [canary.clone(), hex(canary.as_bytes()), base64].map(|form| (*what, form))
        })
    }

    /// Fails when one of them is in there.
    fn absent_from(&self, place: &str, text: &str) -> Result<()> {
        for (what, form) in self.forms() {
            let found = text.lines().find(|line| line.contains(&form));
            ensure!(found.is_none(), "{place} has {what}: {found:?}");
        }
        Ok(())
    }

    /// Fails when one of them is in a file below the directory.
    fn absent_from_disk(&self, directory: &Path) -> Result<()> {
        let mut grep = Command::new("grep");
        grep.args(["--recursive", "--text", "--fixed-strings", "--files-with-matches"]);
        grep.args(self.forms().flat_map(|(_, form)| ["-e".to_owned(), form]));
        let found = grep.arg("--").arg(directory).output()?;
        // 1 is its word for nothing.
        ensure!(found.status.code() == Some(1), "a secret is in {}", String::from_utf8_lossy(&found.stdout));
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything of a server that takes a secret, taken rightly and wrongly.
async fn use_every_door(server: &Server, canaries: &mut Canaries) -> Result<Owner> {
    let owner = server.sign_up_as(EMAIL).await?;
    canaries.key("the first key", &owner.key)?;
    let control = |path: &str| -> Result<RequestBuilder> {
        Ok(http()?.post(format!("{}/api/v1/{path}", server.control_url())).header("X-Fanfare-CSRF", "1"))
    };
    for (path, email, password) in
        [("sign-in", EMAIL, MISTYPED), ("sign-up", "other@example.com", COMMON), ("sign-up", EMAIL, MISTYPED)]
    {
        Answer::to(control(path)?.json(&json!({ "email": email, "password": password }))).await?.refusal()?;
    }
    let torn = format!(r#"{{"email":"{EMAIL}","password":"{MISTYPED}"#);
    Answer::to(control("sign-in")?.header("content-type", "application/json").body(torn)).await?.refusal()?;
    let unknown = json!({ "email": EMAIL, "password": PASSWORD, MISTYPED: 1, "pass": MISTYPED });
    Answer::to(control("sign-in")?.json(&unknown)).await?.refusal()?;
    let signed_in = Answer::to(control("sign-in")?.json(&json!({ "email": EMAIL, "password": PASSWORD }))).await?;
    let cookie = signed_in.cookie().context("a session's cookie")?;
    canaries.0.push(("the session", cookie.split_once('=').context("name=value")?.1.to_owned()));
    let session = |cookie: &str| -> Result<RequestBuilder> {
        Ok(http()?.get(format!("{}/api/v1/session", server.control_url())).header("cookie", cookie))
    };
    Answer::to(session(cookie)?).await?.ok()?;
    Answer::to(session(&format!("{cookie}x"))?).await?.refusal()?;

    // Made twice by the same request: the answer is kept, with the secret in it.
    let body = json!({ "name": "twice", "capabilities": { "**": ["publish", "subscribe", "sign"] } });
    let twice = || owner.request(reqwest::Method::POST, &format!("/api/v1/apps/{}/keys", owner.app)).json(&body);
    let twice = || twice().header("X-Fanfare-CSRF", "1").header("Idempotency-Key", "once");
    let (first, second) = (Answer::to(twice()).await?.ok()?, Answer::to(twice()).await?.ok()?);
    ensure!(first == second, "the same answer");
    canaries.key("a made key", first["secret"].as_str().context("a secret")?)?;
    let live = owner.post(&format!("/apps/{}/live-token", owner.app), &json!({})).await?.ok()?;
    canaries.token("the dashboard's token", live["token"].as_str().context("a token")?)?;
    let look = owner.post(&format!("/apps/{}/inspector-token", owner.app), &json!({})).await?.ok()?;
    let look = look["token"].as_str().context("a token")?;
    canaries.token("a token that lets look", look)?;
    Answer::to(http()?.get(format!("{}/connections", owner.app_url())).bearer_auth(look)).await?.ok()?;
    use_the_data_plane(&owner, canaries).await?;
    Ok(owner)
}

async fn use_the_data_plane(owner: &Owner, canaries: &mut Canaries) -> Result<()> {
    let (id, secret) = owner.key.split_once(':').context("a printed key has two parts")?;
    let messages = format!("{}/channels/room:9/messages", owner.app_url());
    let body = json!({ "data": PAYLOAD, "headers": { "h": PAYLOAD } });
    let post = |url: &str| -> Result<RequestBuilder> { Ok(http()?.post(url).json(&body)) };
    Answer::to(post(&messages)?.basic_auth(id, Some(secret))).await?.ok()?;
    Answer::to(post(&messages)?.bearer_auth(&owner.key)).await?.ok()?;
    let token = owner.token_for("ann", &["room:*"])?;
    canaries.token("a token", &token)?;
    Answer::to(post(&messages)?.bearer_auth(&token)).await?.ok()?;
    let minted = json!({ "sub": "ann", "cap": { "room:*": ["subscribe"] } });
    let minted = owner.publisher().post("/tokens", &minted).await?.ok()?;
    canaries.token("a minted token", minted["token"].as_str().context("a token")?)?;
    // In places where they do not belong, or torn.
    for request in [
        post(&format!("{messages}?token={token}&key={secret}"))?,
        post(&messages)?.basic_auth(id, Some(&secret[..secret.len() - 1])),
        post(&messages)?.bearer_auth(&secret[1..]),
        post(&messages)?.bearer_auth(format!("{token}x")),
        post(&messages)?.header("authorization", format!("Digest {secret}")),
        post(&format!("{}/channels/{token}/messages", owner.app_url()))?,
        http()?.post(&messages).json(&json!({ "data": PAYLOAD, token.clone(): secret })),
    ] {
        Answer::to(request).await?.refusal()?;
    }
    let expired = owner.token(&json!({ "sub": "ann", "exp": 1_000 }))?;
    canaries.token("an expired token", &expired)?;
    for refused in [&expired, &format!("{token}x"), secret] {
        let mut client = Client::open(&owner.app_url(), "eve").await?;
        client.refused("connect", json!({ "token": refused })).await?;
    }
    let listed = format!("{SUBPROTOCOL}, fanfare.token.{token}");
    for headers in [("Sec-WebSocket-Protocol", listed.as_str()), ("Authorization", &format!("Bearer {token}"))] {
        ensure!(Raw::handshake(&owner.app_url(), &[headers]).await?.status == 101);
    }
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
    ann.subscribe("room:9").await?;
    ann.publish("room:9", PAYLOAD).await?;
    ann.ok("refresh", json!({ "token": owner.token_for("ann", &["room:*"])? })).await?;
    ann.refused("publish", json!({ "channel": "room:9", "data": 1, token.as_str(): PAYLOAD })).await?;
    ann.send(&format!(r#"{{"id":9,"refresh":{{"token":"{token}""#)).await?;
    ann.receive().await?;
    Ok(())
}

/// Every row of every table of the database, with bytes in hex.
async fn dump(data: &Path) -> Result<String> {
    let mut admin = superuser_of(&data.join("postgres/run")).connect().await?;
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
         WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut admin)
    .await?;
    let mut text = String::new();
    for table in tables {
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("SELECT row::text FROM {table} AS row")))
            .fetch_all(&mut admin)
            .await?;
        text.push_str(&format!("{table}\n{}\n", rows.join("\n")));
    }
    Ok(text)
}

#[tokio::test]
async fn no_secret_is_found_in_the_log_the_metrics_the_database_or_on_the_disk() -> Result<()> {
    // The most that anybody can have logged.
    let options = Options::at(Home::Embedded).with("FANFARE_LOG__FILTER", "trace");
    let mut server = Server::start_with(options).await?;
    let mut canaries = Canaries(Vec::new());
    for (what, text) in [("a password", PASSWORD), ("a mistyped password", MISTYPED), ("a common password", COMMON)] {
        canaries.0.push((what, text.to_owned()));
    }
    let code = server.platform().welcome_url.clone().context("a welcome link")?;
    let (_, code) = code.split_once('#').context("a code")?;
    canaries.0.push(("the welcome code", code.to_owned()));
    let claimed = server.claim(code, "first@example.com").await?;
    canaries.key("the first start's key", &claimed.key)?;
    let owner = use_every_door(&server, &mut canaries).await?;

    for path in ["metrics", "ready", "health"] {
        let answer = Answer::to(http()?.get(format!("{}/{path}", server.private_url()))).await?.ok()?;
        canaries.absent_from(path, &answer.to_string())?;
    }
    let text = dump(server.data()).await?;
    ensure!(
        text.contains(EMAIL) && text.contains("fanfare.audit") && text.contains("\\\\x"),
        "the dump is whole: {text}"
    );
    canaries.absent_from("the database", &text)?;
    ensure!(!text.contains(PAYLOAD), "messages are not Postgres's");
    ensure!(canaries.absent_from("a copy", &format!("\\x{}", hex(PASSWORD.as_bytes()))).is_err(), "they can be found");
    server.stop().await?;
    canaries.absent_from_disk(server.data())?;

    let master_key = fs::read_to_string(server.data().join("master.key"))?;
    canaries.0.push(("the master key", master_key.trim().to_owned()));
    canaries.0.extend([("a payload", PAYLOAD.to_owned()), ("an address", EMAIL.to_owned())]);
    let log = server.log()?;
    ensure!(log.contains(" TRACE ") && log.contains(&owner.app), "the log is of this server, and has all there is");
    canaries.absent_from("the log", &log)?;
    ensure!(canaries.absent_from_disk(server.data()).is_err(), "the disk is looked at: the master key is on it");
    let raw = hex(&STANDARD.decode(master_key.trim())?);
    ensure!(!text.contains(&raw) && !text.contains(master_key.trim()), "the master key is kept outside of Postgres");
    Ok(())
}

/// Whether everything sealed still opens: old tokens verify, passwords are known, keys are made and work.
async fn all_opens(server: &Server, owner: &Owner, token: &str) -> Result<()> {
    server.await_app(owner).await?;
    Client::connect(&owner.app_url(), "ann", Some(token)).await?;
    let body = json!({ "email": owner.email, "password": PASSWORD });
    let request = http()?.post(format!("{}/api/v1/sign-in", server.control_url())).json(&body);
    Answer::to(request.header("X-Fanfare-CSRF", "1")).await?.ok()?;
    let key = owner.create_key("later", &json!({ "**": ["publish", "sign"] })).await?;
    let publisher = owner.publisher_with(&key);
    eventually("a new key works", async || Ok(publisher.publish("room:9", 1).await.ok())).await?;
    Ok(())
}

#[tokio::test]
async fn the_master_key_in_a_file_is_replaced_and_everything_sealed_still_opens() -> Result<()> {
    let mut server = Server::start().await?;
    let owner = server.sign_up().await?;
    let token = owner.token_for("ann", &["room:*"])?;
    let (file, next) = (server.data().join("master.key"), server.data().join("master.key.next"));
    let url = server.database().url.clone();
    let data = server.data().to_str().context("a path of ours")?.to_owned();
    let command = |name: &str, more: &[(&str, &str)]| {
        fanfare(&[name, "--data", &data], &[&[("DATABASE_URL", url.as_str())], more].concat())
    };
    let first = fs::read_to_string(&file)?;
    let refused = command("rotate-master-key", &[])?.refusal()?;
    assert!(refused.contains("a server is running") && refused.contains("stop it"), "{refused}");
    assert_eq!(fs::read_to_string(&file)?, first, "nothing is replaced under a server");
    all_opens(&server, &owner, &token).await?;

    server.stop().await?;
    let said = command("rotate-master-key", &[])?.ok()?;
    assert!(said.contains("sealed under a new master key"), "{said}");
    let second = fs::read_to_string(&file)?;
    assert_ne!(first, second);
    assert_eq!((fs::metadata(&file)?.mode() & 0o777, next.exists()), (0o600, false));
    let refused = command("serve", &[("FANFARE_MASTER_KEY", first.trim())])?.refusal()?;
    assert!(refused.contains("master key") || refused.contains("sealed"), "the old key opens nothing: {refused}");
    server.launch().await?;
    all_opens(&server, &owner, &token).await?;

    // Interrupted after everything was sealed under the next key and before it took its place; and the snapshot is torn.
    server.stop().await?;
    command("rotate-master-key", &[])?.ok()?;
    fs::rename(&file, &next)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::write(&file, &second)?;
    fs::set_permissions(&file, mode)?;
    server.launch().await?;
    all_opens(&server, &owner, &token).await?;
    server.stop().await?;
    fs::write(server.data().join("snapshot.sealed"), "torn")?;
    command("rotate-master-key", &[])?.ok()?;
    assert!(!next.exists() && fs::read_to_string(&file)? != second);
    server.launch().await?;
    all_opens(&server, &owner, &token).await?;
    let checked = command("check", &[("FANFARE_LISTEN__PRIVATE", "127.0.0.1:0")])?;
    assert!(checked.out.contains("the master key opens it"), "{checked:?}");
    Ok(())
}

#[tokio::test]
async fn a_configured_master_key_is_replaced_under_load_and_nobody_notices() -> Result<()> {
    let (old, new) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
    let mut server = Server::start_with(Options::default().with("FANFARE_MASTER_KEY", &old)).await?;
    let owner = server.sign_up().await?;
    let token = owner.token_for("ann", &["room:*"])?;
    assert!(!server.data().join("master.key").exists(), "the key is kept where it was configured");
    server.stop().await?;
    let both = [("FANFARE_MASTER_KEY", new.as_str()), ("FANFARE_MASTER_KEY_PREVIOUS", old.as_str())];
    server.options_mut().variables = both.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    server.launch().await?;
    all_opens(&server, &owner, &token).await?;

    let url = server.database().url.clone();
    let data = server.data().to_str().context("a path of ours")?.to_owned();
    let variables = [(both[0]), (both[1]), ("DATABASE_URL", url.as_str())];
    let alone = fanfare(&["rotate-master-key", "--data", &data], &[both[0], variables[2]])?.refusal()?;
    assert!(alone.contains("FANFARE_MASTER_KEY_PREVIOUS"), "{alone}");
    let mut rotating = prepared(&["rotate-master-key", "--data", &data], &variables)?.stdout(Stdio::null()).spawn()?;
    let mut pace = interval(Duration::from_millis(20));
    let status = loop {
        pace.tick().await;
        owner.publisher().publish("room:9", 1).await?;
        let session: Value = owner.get("/session").await?.ok()?;
        ensure!(session["user"]["email"] == owner.email.as_str());
        Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
        if let Some(status) = rotating.try_wait()? {
            break status;
        }
    };
    assert!(status.success());
    all_opens(&server, &owner, &token).await?;
    server.stop().await?;
    server.options_mut().variables.truncate(1);
    server.launch().await?;
    all_opens(&server, &owner, &token).await
}
