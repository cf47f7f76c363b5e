//! What `deploy/` says is what the parts take: a Redis as it starts there, the rights of its users, every variable.

use std::collections::BTreeMap;
use std::process::Command;

use ::harness::postgres::OwnCluster;
use ::harness::redis::Redis;
use ::harness::server::{Options, Server, binary};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
const DOCKERFILE: &str = include_str!("../../deploy/Dockerfile");
const EXAMPLE: &str = include_str!("../../deploy/.env.example");
const OWNER: &str = include_str!("../../deploy/postgres/owner.sql");
const TEMPLATE: &str = include_str!("../../deploy/nginx/nginx.conf.template");
const SCALING: &str = include_str!("../../docs/scaling.md");

/// The file with what the example asks for filled in.
fn compose() -> Result<Value> {
    let mut text = COMPOSE.to_owned();
    for line in EXAMPLE.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.split_once('=') else { continue };
        let value = match (name, value) {
            ("FANFARE_MASTER_KEY", "") => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
            (_, "") => "secret",
            (_, value) => value,
        };
        text = text.replace(&format!("${{{name}:?}}"), value);
    }
    ensure!(!text.contains("${"), "the example leaves something out: {text}");
    let mut compose: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text)?;
    compose.apply_merge()?;
    Ok(serde_json::to_value(compose)?)
}

/// What a service is given.
fn environment(compose: &Value, service: &str) -> Result<BTreeMap<String, String>> {
    let given = compose["services"][service]["environment"].as_object().with_context(|| service.to_owned())?;
    let text = |(name, value): (&String, &Value)| Ok((name.clone(), value.as_str().context("a text")?.to_owned()));
    given.iter().map(text).collect()
}

#[tokio::test]
async fn every_node_of_the_topology_takes_its_configuration_and_finds_its_redis_fit() -> Result<()> {
    let compose = compose()?;
    let command = compose["services"]["redis"]["command"].as_str().context("a command")?;
    for user in SCALING.lines().filter_map(|line| line.strip_prefix("user ")) {
        let user = user.replace(">…", ">secret");
        ensure!(command.contains(&format!("--user {user}")), "not as docs/scaling.md has it: {user}");
    }
    // Compose parts it at its spaces, as nothing in it is quoted.
    let command: Vec<&str> = command.split_whitespace().collect();
    ensure!(command[0] == "redis-server");
    let redis = Redis::start_for("fanfare", "secret", &command[1..]).await?;
    let cluster = OwnCluster::start().await?;
    let mut admin = cluster.admin().await?;
    // As psql does it. The cluster has a database of this name already.
    let owner = OWNER.replace(":'password'", "'secret'").replace("DATABASE fanfare", "DATABASE deployed");
    for statement in owner.lines().filter(|line| !line.starts_with(['-', '\\'])) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await?;
    }
    let login =
        environment(&compose, "control")?["DATABASE_URL"].split(['/', ':']).nth(3).context("a login")?.to_owned();
    let database_url = cluster.url_of(&login, "deployed");
    for (service, role) in [
        ("migrate", None),
        ("gateway-1", Some("gateway")),
        ("gateway-2", Some("gateway")),
        ("control", Some("control")),
    ] {
        let mut variables = environment(&compose, service)?;
        ensure!(variables.get("FANFARE_ROLE").map(String::as_str) == role);
        variables.insert("DATABASE_URL".to_owned(), database_url.clone());
        for (name, value) in &mut variables {
            if name.starts_with("REDIS_") {
                let user = value.split_once("//").and_then(|(_, rest)| rest.split_once(':')).context("a user")?.0;
                *value = format!("{}?user={user}&pass=secret", redis.url());
            }
        }
        let data = std::env::temp_dir().join(format!("fanfare-deploy-{}-{service}", std::process::id()));
        variables.insert("FANFARE_DATA".to_owned(), data.display().to_string());
        for listener in ["GATEWAY", "CONTROL", "PRIVATE"] {
            variables.insert(format!("FANFARE_LISTEN__{listener}"), "127.0.0.1:0".to_owned());
        }
        let command = if role.is_none() { "migrate" } else { "check" };
        let checked = Command::new(binary()?).arg(command).env_clear().envs(&variables).output()?;
        let told = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
        ensure!(checked.status.success(), "{service}: {told}");
    }
    Ok(())
}

/// The image asks so whether its node may be sent work.
#[tokio::test]
async fn the_images_health_check_says_what_readiness_says() -> Result<()> {
    let line = DOCKERFILE.lines().find_map(|line| line.trim().strip_prefix("CMD [\"bash\"")).context("a check")?;
    let words: Vec<String> = serde_json::from_str(&format!("[\"bash\"{line}"))?;
    let server = Server::start().await?;
    ensure!(words.len() == 3 && words[2].contains("/8002 "), "{words:?}");
    let is_well = |server: &Server| -> Result<bool> {
        let port = server.private_url().rsplit(':').next().context("a port")?.to_owned();
        let check = words[2].replace("/8002 ", &format!("/{port} "));
        Ok(Command::new(&words[0]).args([&words[1], &check]).output()?.status.success())
    };
    ensure!(is_well(&server)?, "a node that is ready");
    // One whose Redis does not answer lives, and may not be sent work.
    let redis = Redis::start().await?;
    let options = Options::default().with("REDIS_URL", redis.url());
    let server = Server::start_with(options).await?;
    drop(redis);
    ::harness::eventually("it says that it is not ready", async || Ok((!is_well(&server)?).then_some(()))).await
}

#[test]
fn nginx_is_given_all_that_its_template_asks_for() -> Result<()> {
    let given = environment(&compose()?, "nginx")?;
    let asked = TEMPLATE.split("${").skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name);
    let asked: Vec<&str> = asked.collect();
    ensure!(asked.len() >= 7, "{asked:?}");
    for name in &asked {
        ensure!(given.contains_key(*name), "{name} is not given");
    }
    for name in given.keys().filter(|name| name.starts_with("FANFARE_")) {
        ensure!(asked.contains(&&**name), "{name} is not asked for");
    }
    Ok(())
}
