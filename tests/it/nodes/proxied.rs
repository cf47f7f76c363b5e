//! Behind the nginx of `deploy/`: every road leads to either node, and limits see clients' own addresses.

use std::net::Ipv4Addr;

use ::harness::eventually;
use ::harness::nginx::Nginx;
use ::harness::owner::Owner;
use ::harness::publisher::messages;
use ::harness::topology::Topology;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::Nodes;
use super::transports::over_every_road;

#[tokio::test]
async fn every_road_goes_through_nginx_to_either_node() -> Result<()> {
    let mut nodes = Nodes::start(2).await?;
    let nginx = Nginx::start([&nodes.all[0], &nodes.all[1]]).await?;
    let owners = nodes.sign_up().await?;
    let front = owners[0].through(nginx.gateway_url(), nginx.control_url());
    over_every_road(&front, &front).await?;
    // What is too large is refused in the gateway's words.
    let large = "x".repeat(3 << 20);
    let refused = front.publisher().post(&messages("room:9"), &json!({ "data": large })).await?;
    ensure!((400..500).contains(&refused.status) && refused.body["code"].is_string(), "{}", refused.body);
    // The dashboard's own calls come through too.
    ensure!(front.get(&format!("/apps/{}/limits", front.app)).await?.status == 200);
    // Where no gateway answers it is said what that means for a publish.
    nodes.all.iter_mut().try_for_each(|node| node.kill())?;
    let lost = front.publisher().post(&messages("room:9"), &json!({ "data": 1 })).await?;
    ensure!(
        (lost.status, &lost.body["code"], &lost.body["retryable"]) == (504, &json!("outcome_unknown"), &json!(true))
    );
    ensure!(lost.header("retry-after") == Some("1"), "{}", lost.body);
    Ok(())
}

#[tokio::test]
async fn limits_see_the_clients_address_whatever_it_says_of_itself() -> Result<()> {
    let mut nodes = Nodes::start(0).await?;
    for _ in 0..2 {
        let options = nodes
            .options()
            .with("FANFARE_CONTROL__TRUSTED_PROXIES", r#"["127.0.0.1"]"#)
            .with("FANFARE_CONTROL__SIGN_IN__BURST", 3)
            .with("FANFARE_CONTROL__SIGN_IN__PERIOD_MS", 3_600_000);
        nodes.add_with(options).await?;
    }
    let nginx = Nginx::start([&nodes.all[0], &nodes.all[1]]).await?;
    // Each from an address of its own, and of another network as limits know them.
    for address in [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 7, 0, 1)] {
        let client = reqwest::Client::builder().local_address(Some(address.into())).build()?;
        let mut statuses = Vec::new();
        for number in 0..5 {
            let request = client.post(format!("{}/api/v1/sign-in", nginx.control_url()));
            let request = request.header("X-Forwarded-For", format!("198.51.{number}.7")).header("X-Fanfare-CSRF", "1");
            let answer = request.header("Forwarded", format!("for=203.0.{number}.7")).body("{}").send().await?;
            statuses.push(answer.status().as_u16());
        }
        let limited: Vec<bool> = statuses.iter().map(|status| *status == 429).collect();
        ensure!(limited == [false, false, false, true, true], "{address}: {statuses:?}");
    }
    Ok(())
}

/// What `cargo xtask cluster` starts: nodes with roles, as Compose has them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_of_compose_serves_what_one_process_does() -> Result<()> {
    let cluster = Topology::start(None).await?;
    let (gateway, control) = (cluster.nginx.gateway_url().to_owned(), cluster.nginx.control_url().to_owned());
    let owner = Owner::sign_up_at(&gateway, &control, "ann@example.com").await?;
    let mut clients = Vec::new();
    for number in 0..16 {
        let mut client = owner.connect_as(&format!("user-{number}"), &["room:*"]).await?;
        client.subscribe("room:9").await?;
        clients.push(client);
    }
    owner.publisher().publish("room:9", "to all").await?;
    for client in &mut clients {
        ensure!(client.message("room:9").await?["data"] == "to all");
    }
    // Each of nginx's workers takes turns: either gateway has some, and tells of both.
    let told = eventually("the gateways know each other", async || {
        let asked = reqwest::get(format!("{}/nodes", cluster.gateways[0].private_url)).await?;
        let told: Value = asked.json().await?;
        Ok((told["nodes"].as_array().map(Vec::len) == Some(2)).then_some(told))
    });
    let told = told.await?;
    let counts = |this: bool| {
        let mut nodes = told["nodes"].as_array().into_iter().flatten();
        nodes.find(|node| node["this"] == this).and_then(|node| node["connections"].as_u64())
    };
    let [asked, other] = [counts(true), counts(false)].map(Option::unwrap_or_default);
    ensure!(asked > 0 && other > 0 && asked + other == 16, "{told}");
    // Nothing is served where it does not belong, and either gateway may go.
    let asked = reqwest::get(format!("{}/nodes", cluster.control.private_url)).await?;
    ensure!(asked.status() == 503, "{}", asked.text().await?);
    let [one, _two] = cluster.gateways;
    tokio::task::spawn_blocking(|| one.stop()).await??;
    owner.publisher().publish("room:9", "to those who are left").await?;
    let mut heard = 0_u64;
    for client in &mut clients {
        heard += u64::from(client.message("room:9").await.is_ok_and(|told| told["data"] == "to those who are left"));
    }
    ensure!(heard == other, "{heard} of {other}");
    Ok(())
}
