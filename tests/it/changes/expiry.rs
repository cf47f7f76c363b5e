//! What ends by itself: keys and tokens whose time is over.

use std::env;
use std::time::Duration;

use ::harness::client::Client;
use ::harness::server::Server;
use ::harness::{eventually, unix_now};
use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{Delays, connect_by, fresh_key};

/// How long keys of this test live. Long enough to connect with them on a busy machine.
const KEY_LIFE_S: u64 = 4;
const KEYS: usize = 5;
/// How long a connection may go on with an expired token.
const GRACE: Duration = Duration::from_secs(30);

/// Waits for a moment of the wall clock that the server acts upon.
async fn until(unix_s: u64) -> Result<()> {
    eventually("the time comes", async || Ok((unix_now() >= unix_s).then_some(()))).await
}

/// RFC 3339, as the control plane takes times.
fn rfc3339(unix_s: u64) -> String {
    let days = i64::try_from(unix_s / 86_400).expect("a time of this age");
    // Howard Hinnant's civil_from_days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[test]
fn times_are_written_as_they_are_read() {
    assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    assert_eq!(rfc3339(951_827_696), "2000-02-29T12:34:56Z");
    assert_eq!(rfc3339(1_700_000_000), "2023-11-14T22:13:20Z");
}

#[tokio::test]
async fn an_expired_key_ends_its_connections_and_calls() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let expires = unix_now() + KEY_LIFE_S;
    let expires_at = rfc3339(expires);
    let keys = try_join_all((0..KEYS).map(|_| fresh_key(&owner, Some(&expires_at)))).await?;
    let mut clients = try_join_all(keys.iter().map(|key| connect_by(&owner, key))).await?;
    for client in &mut clients {
        client.nothing_came().await?;
    }
    until(expires).await?;
    let since = Instant::now();
    for key in &keys {
        let answer = owner.publisher_with(key).post("/channels/room:9/messages", &json!({ "data": 1 })).await?;
        assert_eq!((answer.status, answer.refusal()?.as_str()), (401, "key_invalid"));
    }
    let mut delays = Delays::new("key expired → connection closed");
    for client in &mut clients {
        assert_eq!(client.closed().await?, (4403, "token_revoked".to_owned()));
        delays.felt(since);
    }
    delays.judge()
}

#[tokio::test]
async fn an_expired_token_leaves_its_connection_a_grace_to_bring_another() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let expires = unix_now() + 2;
    let cap = json!({ "room:*": ["subscribe", "publish"] });
    let token = owner.token(&json!({ "sub": "ann", "exp": expires, "ff": { "cap": cap } }))?;
    let mut ann = Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
    let mut left = Client::connect(&owner.app_url(), "ann", Some(&token)).await?;
    assert_eq!(ann.hello["expires_ms"], expires * 1_000);
    for client in [&mut ann, &mut left] {
        client.subscribe("room:9").await?;
        assert_eq!(client.push().await?["notice"]["kind"], "token_expiring", "it is told at once of so short a token");
    }
    // A tick of the node's second or two after the expiry, everything still works.
    until(expires + 2).await?;
    ann.publish("room:9", "still here").await?;
    for client in [&mut ann, &mut left] {
        assert_eq!(client.message("room:9").await?["data"], "still here");
    }
    let fresh = owner.token(&json!({ "sub": "ann", "ff": { "cap": cap } }))?;
    let ok = ann.ok("refresh", json!({ "token": fresh })).await?;
    ensure!(ok["expires_ms"].as_u64().is_some_and(|expires_ms| expires_ms > expires * 1_000), "{ok}");
    ann.nothing_came().await?;

    if env::var_os("FANFARE_LONG").is_some() {
        let ended = timeout(GRACE + Duration::from_secs(5), ends(&mut left)).await.context("it goes on and on")??;
        assert_eq!(ended, (4402, "token_expired".to_owned()));
        let (grace_ends, now) = (expires + GRACE.as_secs(), unix_now());
        ensure!((grace_ends..=grace_ends + 2).contains(&now), "closed at {now}, the grace ends at {grace_ends}");
        ann.publish("room:9", "refreshed in time").await?;
    }
    Ok(())
}

/// `FANFARE_LONG` has tokens that live long enough for the notices to be spread.
#[tokio::test]
async fn tokens_that_expire_together_are_renewed_in_place_and_nobody_is_disconnected() -> Result<()> {
    const CLIENTS: usize = 100;
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let expires = unix_now() + if env::var_os("FANFARE_LONG").is_some() { 70 } else { 5 };
    let cap = json!({ "room:*": ["subscribe"] });
    let sign = |exp: u64| owner.token(&json!({ "sub": "ann", "exp": exp, "ff": { "cap": cap } }));
    let (first, second) = (sign(expires)?, sign(expires + 600)?);
    let url = owner.app_url();
    let live = async || -> Result<()> {
        let mut client = Client::connect(&url, "ann", Some(&first)).await?;
        client.subscribe("room:9").await?;
        let mut notice = client.push().await;
        for _ in 0..4 {
            if notice.is_err() {
                // Nothing came for as long as a test waits. A ping keeps the link; its answer is read past.
                client.send(r#"{"id":1000000,"ping":{}}"#).await?;
                client.receive().await?;
                notice = client.push().await;
            }
        }
        let notice = notice?;
        ensure!(notice["notice"]["kind"] == "token_expiring", "{notice}");
        ensure!(notice["notice"]["expires_ms"] == expires * 1_000, "{notice}");
        client.ok("refresh", json!({ "token": second })).await?;
        until(expires + 1).await?;
        client.nothing_came().await
    };
    try_join_all((0..CLIENTS).map(|_| live())).await?;
    Ok(())
}

/// Pings until the server closes, which may take longer than a test waits for one event.
async fn ends(client: &mut Client) -> Result<(u16, String)> {
    loop {
        match timeout(Duration::from_secs(1), client.closed()).await {
            Ok(closed) => return closed,
            Err(_) => client.send(r#"{"id":1000000,"ping":{}}"#).await?,
        }
    }
}
