//! Signing in and out.

use anyhow::{Context, Result};
use harness::answer::Answer;
use harness::server::{Options, PASSWORD, Server};
use serde_json::{Value, json};
use std::net::TcpListener;

use super::{Visitor, places, refused};

const SIGN_IN: &str = "/api/v1/sign-in";
const SIGN_OUT: &str = "/api/v1/sign-out";
const SESSION: &str = "/api/v1/session";

fn credentials(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD })
}

/// The cookie that is set: its name, its value, and its attributes in order.
fn parts(answer: &Answer) -> Result<(String, String, Vec<String>)> {
    let mut parts = answer.header("set-cookie").context("a cookie is set")?.split("; ").map(str::to_owned);
    let pair = parts.next().context("a cookie has a name")?;
    let (name, value) = pair.split_once('=').context("a cookie has a value")?;
    Ok((name.to_owned(), value.to_owned(), parts.collect()))
}

#[tokio::test]
async fn the_cookie_is_bound_to_this_host_and_no_script_reads_it() -> Result<()> {
    let server = Server::start().await?;
    let visitor = Visitor::of(&server)?;
    let answer = visitor.post("/api/v1/sign-up", None, &credentials("ann@example.com")).await?;
    let (name, value, attributes) = parts(&answer)?;
    // 256 bits in base64url.
    assert_eq!((name.as_str(), value.len()), ("fanfare", 43));
    assert_eq!(attributes, ["Path=/", "Max-Age=86400", "HttpOnly", "SameSite=Strict"]);
    assert!(!answer.body.to_string().contains(&value), "the session is in the cookie alone");
    let out = visitor.post(SIGN_OUT, Some(&format!("fanfare={value}")), &json!({})).await?;
    assert_eq!(
        parts(&out)?,
        (
            "fanfare".into(),
            String::new(),
            vec!["Path=/".to_owned(), "Max-Age=0".to_owned(), "HttpOnly".to_owned(), "SameSite=Strict".to_owned(),]
        )
    );
    Ok(())
}

#[tokio::test]
async fn behind_https_the_cookie_is_secure_and_browsers_stay_on_https() -> Result<()> {
    // A port that is free now: the public URL names it before the server listens there.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let options = Options::default()
        .with("FANFARE_LISTEN__CONTROL", format!("127.0.0.1:{port}"))
        .with("FANFARE_PUBLIC__CONTROL_URL", format!("https://localhost:{port}"));
    let server = Server::start_with(options).await?;
    assert_eq!(server.control_url(), format!("https://localhost:{port}"));
    let visitor = Visitor::at(&format!("http://127.0.0.1:{port}"))?;
    let answer = visitor.post("/api/v1/sign-up", None, &credentials("ann@example.com")).await?;
    let (name, value, attributes) = parts(&answer)?;
    assert_eq!(name, "__Host-fanfare");
    assert_eq!(attributes, ["Path=/", "Max-Age=86400", "HttpOnly", "SameSite=Strict", "Secure"]);
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    let own = visitor.get(SESSION, Some(&format!("__Host-fanfare={value}"))).await?;
    assert_eq!(own.status, 200);
    // A neighbour could plant this one.
    let planted = visitor.get(SESSION, Some(&format!("fanfare={value}"))).await?;
    refused(&planted, "session_expired")
}

#[tokio::test]
async fn every_sign_in_makes_a_new_session_and_signing_out_ends_it() -> Result<()> {
    let server = Server::start().await?;
    server.sign_up_as("ann@example.com").await?;
    let visitor = Visitor::of(&server)?;
    let sign_in = async |cookie: Option<&str>| -> Result<String> {
        let answer = visitor.post(SIGN_IN, cookie, &credentials("ann@example.com")).await?;
        Ok(answer.cookie().context("a session")?.to_owned())
    };
    let is_open = async |cookie: &str| -> Result<bool> {
        let answer = visitor.get(SESSION, Some(cookie)).await?;
        if answer.status != 200 {
            refused(&answer, "session_expired")?;
        }
        Ok(answer.status == 200)
    };
    // A session that somebody else planted is not the one that is signed in.
    let planted = format!("fanfare={}", "A".repeat(43));
    let first = sign_in(Some(&planted)).await?;
    assert!(first != planted && !is_open(&planted).await? && is_open(&first).await?);
    // Another browser's session is its own; signing in over one ends that one.
    let elsewhere = sign_in(None).await?;
    let second = sign_in(Some(&first)).await?;
    assert!(second != first && !is_open(&first).await? && is_open(&second).await? && is_open(&elsewhere).await?);
    // A failed attempt ends nothing.
    let wrong = json!({ "email": "ann@example.com", "password": "not it" });
    visitor.post(SIGN_IN, Some(&second), &wrong).await?;
    assert!(is_open(&second).await?);
    assert_eq!(visitor.post(SIGN_OUT, Some(&second), &json!({})).await?.status, 204);
    assert!(!is_open(&second).await? && is_open(&elsewhere).await?);
    assert_eq!(visitor.post(SIGN_OUT, Some(&second), &json!({})).await?.status, 204, "twice is no error");
    for cookie in ["fanfare=", "fanfare=x", "fanfare=\"\"", "other=1", &"fanfare=".repeat(500)] {
        assert!(!is_open(cookie).await?, "{cookie}");
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_address_are_answered_alike() -> Result<()> {
    let server = Server::start().await?;
    server.sign_up_as("ann@example.com").await?;
    let visitor = Visitor::of(&server)?;
    let mut answers = Vec::new();
    for (email, password) in [
        ("ann@example.com", "not the password of ann"),
        ("ann@example.com", ""),
        ("ANN@EXAMPLE.COM", "not the password of ann"),
        ("nobody@example.com", "not the password of ann"),
        ("nobody@example.com", PASSWORD),
        ("no address", PASSWORD),
        ("ann@example.com\u{0}", PASSWORD),
        ("", ""),
    ] {
        let mut answer = visitor.post(SIGN_IN, None, &json!({ "email": email, "password": password })).await?;
        refused(&answer, "sign_in_failed").context(email)?;
        assert_eq!(answer.cookie(), None);
        answer.body["request_id"].take();
        for own in ["x-request-id", "date"] {
            answer.headers.remove(own);
        }
        answers.push((email, answer.status, answer.headers, answer.body));
    }
    for (email, status, headers, body) in &answers[1..] {
        assert_eq!((status, headers, body), (&answers[0].1, &answers[0].2, &answers[0].3), "{email}");
    }
    Ok(())
}

#[tokio::test]
async fn a_welcome_code_that_is_none_claims_nothing() -> Result<()> {
    let server = Server::start().await?;
    let visitor = Visitor::of(&server)?;
    for code in ["", "x", &"A".repeat(43), &"A".repeat(4_300)] {
        let body = json!({ "code": code, "email": "ann@example.com", "password": PASSWORD });
        let answer = visitor.post("/api/v1/welcome", None, &body).await?;
        assert_eq!(places(&answer, "not_found")?, ["/code"]);
        assert_eq!(answer.cookie(), None);
    }
    Ok(())
}
