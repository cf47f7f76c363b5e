//! What the server refuses to start on, and how it says so.

use std::fs;
use std::net::TcpListener;

use ::harness::command::fanfare;
use ::harness::postgres::{OwnCluster, URL_PASSWORD};
use anyhow::{Context, Result};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::Directory;

/// Free ports for a server that would start if it could.
const FREE: [(&str, &str); 3] = [
    ("FANFARE_LISTEN__GATEWAY", "127.0.0.1:0"),
    ("FANFARE_LISTEN__CONTROL", "127.0.0.1:0"),
    ("FANFARE_LISTEN__PRIVATE", "127.0.0.1:0"),
];

/// What `serve` says when it refuses to start here.
fn serve(data: &Directory, variables: &[(&str, &str)]) -> Result<String> {
    let variables = [&FREE, variables].concat();
    fanfare(&["serve", "--data", data.text()], &variables)?.refusal()
}

/// What `check` says of one thing: its verdict and why.
fn check(data: &Directory, variables: &[(&str, &str)], what: &str) -> Result<(String, String)> {
    let variables = [&FREE, variables].concat();
    let ran = fanfare(&["check", "--json", "--data", data.text()], &variables)?;
    let found: Value = serde_json::from_str(&ran.out).with_context(|| format!("{}{}", ran.out, ran.err))?;
    assert_eq!(found["fine"], ran.code == 0, "{found}");
    let findings = found["findings"].as_array().context("findings")?;
    let one = findings.iter().find(|one| one["what"] == what).with_context(|| format!("no {what} in {found}"))?;
    let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
    Ok((text("verdict"), text("text")))
}

#[test]
fn a_cluster_of_another_major_version_is_refused_with_what_to_do() -> Result<()> {
    let data = Directory::new("version")?;
    fs::create_dir_all(data.path().join("postgres/cluster"))?;
    fs::write(data.path().join("postgres/cluster/PG_VERSION"), "9\n")?;
    let said = serve(&data, &[])?;
    for part in ["made by PostgreSQL 9", "Install PostgreSQL 9", "pg_dump", data.text()] {
        assert!(said.contains(part), "{said}");
    }
    let (verdict, why) = check(&data, &[], "postgres")?;
    assert!(verdict == "wrong" && why.contains("made by PostgreSQL 9"), "{why}");
    assert_eq!(fs::read_to_string(data.path().join("postgres/cluster/PG_VERSION"))?, "9\n", "nothing was touched");
    Ok(())
}

#[test]
fn an_unknown_key_is_refused_by_its_name_wherever_it_stands() -> Result<()> {
    let data = Directory::new("unknown-key")?;
    let file = data.path().join("fanfare.toml");
    fs::write(&file, "[listen]\ngatway = \"127.0.0.1:0\"\n")?;
    let in_file = [("FANFARE_CONFIG", file.to_str().context("a path of ours")?)];
    for (variables, name) in [
        (&[("FANFARE_DATTA", "/nowhere")][..], "datta"),
        (&[("FANFARE_STOP__DRAIN", "1")], "drain"),
        (&[("FANFARE_NODE__CONNECTIONS_MAX", "many")], "connections_max"),
        (&in_file, "gatway"),
    ] {
        let said = serve(&data, variables)?.to_lowercase();
        assert!(said.contains(name) && said.contains("fanfare config"), "{said}");
        let (verdict, why) = check(&data, variables, "configuration")?;
        assert!(verdict == "wrong" && why.to_lowercase().contains(name), "{why}");
    }
    assert!(!data.path().join("master.key").exists(), "nothing was begun");
    Ok(())
}

/// Who asks for TLS and names a Redis without it would have none.
#[test]
fn files_of_tls_that_are_of_no_use_are_refused() -> Result<()> {
    let data = Directory::new("redis-tls")?;
    for (url, file, word) in [
        ("redis://127.0.0.1:1", "FANFARE_REDIS_TLS_CA", "rediss"),
        ("rediss://127.0.0.1:1", "FANFARE_REDIS_TLS_KEY", "redis_tls_certificate"),
    ] {
        let (verdict, why) = check(&data, &[("REDIS_URL", url), (file, "/nowhere.pem")], "redis")?;
        assert!(verdict == "wrong" && why.contains(word), "{why}");
    }
    Ok(())
}

#[test]
fn a_taken_port_is_said_before_anything_is_begun() -> Result<()> {
    let data = Directory::new("port")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let said = serve(&data, &[("FANFARE_LISTEN__GATEWAY", &address)])?;
    assert!(said.contains(&address) && said.contains("listen.gateway"), "{said}");
    assert!(!data.path().join("postgres").exists());
    let (verdict, why) = check(&data, &[("FANFARE_LISTEN__GATEWAY", &address)], "gateway port")?;
    assert!(verdict == "wrong" && why.contains(&address), "{why}");
    Ok(())
}

#[test]
fn a_master_key_that_is_none_is_said_to_be_and_never_shown() -> Result<()> {
    let data = Directory::new("master-key")?;
    let given = [("FANFARE_MASTER_KEY", "c2hvcnQtY2FuYXJ5")];
    for said in [serve(&data, &given)?, check(&data, &given, "master key")?.1] {
        assert!(said.contains("FANFARE_MASTER_KEY") && said.contains("12 bytes"), "{said}");
        assert!(!said.contains("c2hvcnQ") && !said.contains("short-canary"), "{said}");
    }
    Ok(())
}

#[test]
fn the_password_of_a_database_is_not_repeated_when_its_url_is_refused() -> Result<()> {
    let data = Directory::new("url")?;
    for (url, why) in [
        ("postgres://fanfare:…@127.0.0.1:1/fanfare", "Connection refused"),
        ("postgres://fanfare:…@127.0.0.1:many/fanfare", "URL is not valid: invalid port"),
        ("postgres://fanfare:…@127.0.0.1/fanfare?sslmode=perhaps", "URL is not valid: unknown value \"perhaps\""),
        ("mysql://fanfare:…@127.0.0.1/fanfare", "URL is not valid: it must begin with postgres://"),
    ] {
        let url = url.replace('…', URL_PASSWORD);
        let database = [("DATABASE_URL", url.as_str())];
        let migrated = fanfare(&["migrate", "--data", data.text()], &database)?.refusal()?;
        let (verdict, checked) = check(&data, &database, "postgres")?;
        assert_eq!(verdict, "wrong");
        for said in [migrated, checked] {
            assert!(said.contains(why) && !said.contains(URL_PASSWORD), "{url}: {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_database_role_that_may_more_than_it_should_stops_the_start() -> Result<()> {
    let cluster = OwnCluster::start().await?;
    let (data, url) = (Directory::new("roles")?, cluster.url());
    let database = [("DATABASE_URL", url.as_str())];
    let refused = serve(&data, &database)?;
    assert!(refused.contains("fanfare migrate"), "a database that was not migrated is refused: {refused}");
    fanfare(&["migrate", "--data", data.text()], &database)?.ok()?;
    assert_eq!(check(&data, &database, "postgres")?.0, "ok");
    let mut admin = cluster.admin().await?;
    for (role, attribute, word) in [
        ("fanfare_app", "BYPASSRLS", "BYPASSRLS"),
        ("fanfare_feed", "SUPERUSER", "superuser"),
        ("fanfare_owner", "BYPASSRLS", "BYPASSRLS"),
    ] {
        let alter = |attribute: &str| AssertSqlSafe(format!("ALTER ROLE {role} {attribute}"));
        sqlx::raw_sql(alter(attribute)).execute(&mut admin).await?;
        let said = serve(&data, &database)?;
        assert!(said.contains(role) && said.contains(word), "{said}");
        let (verdict, why) = check(&data, &database, "postgres")?;
        assert!(verdict == "wrong" && why.contains(role) && !why.contains(URL_PASSWORD), "{why}");
        sqlx::raw_sql(alter(&format!("NO{attribute}"))).execute(&mut admin).await?;
    }
    assert_eq!(check(&data, &database, "postgres")?.0, "ok");
    Ok(())
}
