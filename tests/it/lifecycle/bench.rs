//! `fanfare bench`: what it measures is there, and what it judges is right.

use ::harness::command::fanfare;
use ::harness::server::Server;
use anyhow::Result;
use serde_json::{Value, json};

/// A run of two seconds against an app, and its report.
fn bench(url: &str, key: &str, more: &[&str]) -> Result<Value> {
    let common = ["bench", "--json", "--duration", "2s", "--warmup", "1s", "--rate", "100"];
    fanfare(&[&common[..], more].concat(), &[("FANFARE_URL", url), ("FANFARE_KEY", key)])?.json()
}

#[tokio::test]
async fn every_way_of_publishing_and_receiving_is_measured_and_judged() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let cases = [
        ["--connections", "12", "--channels", "3", "--publish", "rest", "--transport", "websocket"],
        ["--connections", "5", "--channels", "1", "--publish", "socket", "--transport", "sse"],
        ["--connections", "6", "--channels", "2", "--publish", "socket", "--arrivals", "poisson"],
    ];
    for case in cases {
        let report = bench(&owner.app_url(), &owner.key, &case)?;
        let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        let (connections, channels) = (count("/plan/connections"), count("/plan/channels"));
        let acknowledged = count("/publish/acknowledged");
        assert!(acknowledged > 100, "{report}");
        assert_eq!(count("/publish/published"), acknowledged, "{report}");
        // Channels take turns and have as many clients each.
        let received = count("/delivery/received");
        assert!(received.abs_diff(acknowledged * connections / channels) <= connections, "{report}");
        for judged in ["missing", "again", "left_out_as_told", "connections_ended"] {
            assert_eq!(report["delivery"][judged], json!(0), "{report}");
        }
        assert_eq!(count("/connect_us/count"), connections);
        // The second after the warm-up.
        assert!((50..=150).contains(&count("/publish/latency_us/count")), "{report}");
        assert!(count("/delivery/latency_us/p50") > 0 && report["histograms"]["delivery"][0].is_array(), "{report}");
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_measured_is_refused_with_the_reason() -> Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let reader = owner.create_key("reader", &json!({ "**": ["history"] })).await?;
    let cases: [(&str, &[&str], &str); 6] = [
        (&owner.key, &["--connections", "2", "--channels", "3"], "no subscriber"),
        (&owner.key, &["--warmup", "1h"], "warm-up"),
        (&owner.key, &["--rate", "0"], "above 0"),
        (&owner.key, &["--publishers", "1000"], "publish nothing"),
        (&owner.key, &["--prefix", "a b"], "--prefix"),
        // It may not sign tokens.
        (&reader, &["--connections", "1", "--publishers", "1"], "connection 1 of 1"),
    ];
    let url = owner.app_url();
    for (key, more, why) in cases {
        let arguments = [&["bench", "--duration", "2s"][..], more].concat();
        let exported = [("FANFARE_URL", &*url), ("FANFARE_KEY", key)];
        let error = fanfare(&arguments, &exported)?.ok().expect_err(why);
        assert!(format!("{error:#}").contains(why), "{why}: {error:#}");
    }
    Ok(())
}
