//! Signing up.

use anyhow::{Context, Result};
use harness::answer::Answer;
use harness::server::{Options, PASSWORD, Server};
use reqwest::Method;
use serde_json::json;

use super::{Visitor, each, places, refused};

const SIGN_UP: &str = "/api/v1/sign-up";
/// Where a password or code could be guessed, or accounts be made without end.
const LIMITED: [&str; 3] = [SIGN_UP, "/api/v1/sign-in", "/api/v1/welcome"];

#[tokio::test]
async fn signing_up_makes_everything_that_a_first_message_needs() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up_as("ann+1@example.com").await?;
    let session = owner.get("/session").await?.ok()?;
    assert_eq!(session["user"]["email"], "ann+1@example.com");
    assert_eq!(session["gateway_url"], server.gateway_url());
    let tenant = &session["tenants"][0];
    assert_eq!((&tenant["name"], &tenant["role"]), (&json!("ann+1"), &json!("owner")));
    assert_eq!(tenant["apps"][0]["id"], owner.app);
    let apps = owner.get(&format!("/tenants/{}/apps", owner.tenant)).await?.ok()?;
    assert_eq!(each(&apps, "url"), [owner.app_url()]);
    let keys = owner.get(&format!("/apps/{}/keys", owner.app)).await?.ok()?;
    assert_eq!(each(&keys, "id"), [owner.key.split(':').next().unwrap_or_default()]);
    let acl = owner.get(&format!("/apps/{}/acl", owner.app)).await?.ok()?;
    assert_eq!(acl["rules"][0]["pattern"], "demo:**");
    let mut anybody = owner.connect_anonymous().await?;
    anybody.subscribe("demo:hello").await?;
    owner.publisher().publish("demo:hello", "hi").await?;
    assert_eq!(anybody.message("demo:hello").await?["data"], "hi");
    Ok(())
}

#[tokio::test]
async fn an_address_signs_up_once_however_it_is_written() -> Result<()> {
    let server = Server::start().await?;
    server.sign_up_as("ann@example.com").await?;
    let visitor = Visitor::of(&server)?;
    for email in ["ann@example.com", "ANN@Example.com", "  ann@example.com "] {
        let answer = visitor.post(SIGN_UP, None, &json!({ "email": email, "password": PASSWORD })).await?;
        assert_eq!(places(&answer, "sign_up_refused")?, ["/email"], "{email:?}");
        assert_eq!(answer.cookie(), None);
    }
    for email in ["", "ann", "ann@", "@example.com", "a b@example.com", "ann@example.com\u{0}", "ann@exa mple.com"] {
        let answer = visitor.post(SIGN_UP, None, &json!({ "email": email, "password": PASSWORD })).await?;
        assert_eq!(places(&answer, "invalid_request")?, ["/email"], "{email:?}");
    }
    let nameless = json!({ "email": "x", "password": PASSWORD, "tenant": " " });
    let answer = visitor.post(SIGN_UP, None, &nameless).await?;
    assert_eq!(places(&answer, "invalid_request")?, ["/email", "/tenant"], "every wrong place at once");
    Ok(())
}

#[tokio::test]
async fn weak_passwords_are_refused_and_others_kept_whole() -> Result<()> {
    let server = Server::start().await?;
    let visitor = Visitor::of(&server)?;
    let long = "Ein Männlein steht im Walde ganz still und stumm, es hat von lauter Purpur ein Mäntlein um. \
                Sag, wer mag das Männlein sein, das da steht im Wald allein?";
    let most = long.char_indices().nth(128).map_or(long, |(end, _)| &long[..end]);
    let more = long.char_indices().nth(129).map_or(long, |(end, _)| &long[..end]);
    for weak in [
        "",
        "short",
        "fourteen-chars",
        "aaaaaaaaaaaaaaaaaaaa",
        "passwordpassword",
        "password12345678",
        "P@ssw0rdP@ssw0rd!",
        "qwertyuiopasdfgh",
        "abcdefghijklmnopqrst",
        "123456789012345678",
        "summerwinter2024!",
        "fanfaredashboard",
        "mallory@example.com",
        "example-mallory-1",
        more,
    ] {
        let answer = visitor.post(SIGN_UP, None, &json!({ "email": "mallory@example.com", "password": weak })).await?;
        assert_eq!(places(&answer, "weak_password")?, ["/password"], "{weak:?}");
        assert!(weak.is_empty() || !answer.body.to_string().contains(weak), "{weak:?} is said again");
    }
    let emoji = "🦜 fährt 🚂 nach Łódź, 東京 & weiter";
    for (at, good) in [most, emoji, "  spaces around a phrase  ", "nul\u{0}inside of a long phrase"].iter().enumerate()
    {
        let email = format!("good-{at}@example.org");
        visitor.post(SIGN_UP, None, &json!({ "email": email, "password": good })).await?.ok()?;
        let sign_in = async |password: &str| -> Result<u16> {
            let body = json!({ "email": email, "password": password });
            Ok(visitor.post("/api/v1/sign-in", None, &body).await?.status)
        };
        assert_eq!(sign_in(good).await?, 200, "{good:?}");
        let cut = good.char_indices().last().map_or("", |(end, _)| &good[..end]);
        for other in [cut, good.trim(), good.split('\0').next().unwrap_or_default()] {
            assert_eq!(sign_in(other).await?, if other == *good { 200 } else { 401 }, "{other:?} for {good:?}");
        }
    }
    Ok(())
}

/// What bad attempts, each forwarded for another address, are answered. The limit comes before anything is read.
async fn attempts(server: &Server, path: &str, count: u8) -> Result<Vec<Answer>> {
    let visitor = Visitor::of(server)?;
    let mut answers = Vec::new();
    for number in 0..count {
        let request = visitor.request(Method::POST, path).header("X-Fanfare-CSRF", "1").body("{}");
        let request = request.header("X-Forwarded-For", format!("198.51.{number}.7"));
        let request = request.header("Forwarded", format!("for=203.0.{number}.7"));
        answers.push(Answer::to(request.header("X-Real-IP", format!("192.0.{number}.7"))).await?);
    }
    Ok(answers)
}

#[tokio::test]
async fn attempts_of_one_network_are_limited_whatever_they_say_of_themselves() -> Result<()> {
    let limited = || {
        let variables = [("SIGN_UP__BURST", 3), ("SIGN_IN__BURST", 3)].into_iter();
        let variables = variables.chain([("SIGN_UP__PERIOD_MS", 3_600_000), ("SIGN_IN__PERIOD_MS", 3_600_000)]);
        variables.fold(Options::default(), |all, (name, value)| all.with(&format!("FANFARE_CONTROL__{name}"), value))
    };
    let server = Server::start_with(limited()).await?;
    for path in LIMITED {
        let answers = attempts(&server, path, 5).await?;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [415, 415, 415, 429, 429], "{path}");
        refused(&answers[3], "rate_limited")?;
        assert_eq!(answers[3].body["retryable"], true);
        let wait: u64 = answers[3].header("retry-after").context("when to come back is told")?.parse()?;
        assert!((3_000..=3_700).contains(&wait), "{wait}");
    }
    // Only what a configured proxy says counts.
    let options = limited().with("FANFARE_CONTROL__TRUSTED_PROXIES", r#"["127.0.0.1", "::1"]"#);
    let behind_proxy = Server::start_with(options).await?;
    for path in LIMITED {
        let answers = attempts(&behind_proxy, path, 8).await?;
        assert!(answers.iter().all(|answer| answer.status == 415), "{path}");
    }
    Ok(())
}
