//! The embedded defaults: a server that runs its own Postgres, and never leaves it alone.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ::harness::answer::{Answer, http};
use ::harness::command::fanfare;
use ::harness::server::{Home, Options, PASSWORD, Server};
use ::harness::{TIMEOUT, eventually};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::time::{Instant, interval, timeout};

async fn embedded() -> Result<Server> {
    Server::start_with(Options::at(Home::Embedded)).await
}

/// What the start printed: `FANFARE_URL`, `FANFARE_KEY`, and the code of the welcome link.
fn printed(server: &Server) -> Result<(String, String, String)> {
    let platform = server.platform();
    let link = platform.welcome_url.as_deref().context("no welcome link")?;
    let code = link.strip_prefix(&format!("{}/welcome#", platform.control_url)).context("a link to the dashboard")?;
    let url = platform.app_url.clone().context("no FANFARE_URL")?;
    Ok((url, platform.key.clone().context("no FANFARE_KEY")?, code.to_owned()))
}

/// Every process that works in the cluster of this data directory.
fn postgres_of(data: &Path) -> Result<Vec<u32>> {
    let cluster = data.join("postgres/cluster").canonicalize()?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        // Processes end while one looks.
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == cluster) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The postmaster, by its own file.
fn postmaster(data: &Path) -> Result<u32> {
    let text = fs::read_to_string(data.join("postgres/cluster/postmaster.pid"))?;
    text.lines().next().and_then(|pid| pid.parse().ok()).context("postmaster.pid begins with a number")
}

async fn no_postgres(data: &Path) -> Result<()> {
    eventually("Postgres ends with its server", async || Ok(postgres_of(data)?.is_empty().then_some(()))).await
}

#[tokio::test]
async fn the_first_start_gives_a_way_in_that_works_once_and_later_starts_keep_everything() -> Result<()> {
    let mut server = embedded().await?;
    let (url, key, first_code) = printed(&server)?;
    let platform = server.platform();
    for address in [
        format!("{}/v1/time", platform.gateway_url),
        format!("{}/openapi.json", platform.control_url),
        format!("{}/health", platform.private_url),
    ] {
        Answer::to(http()?.get(address)).await?.ok()?;
    }
    let exported = [("FANFARE_URL", url.as_str()), ("FANFARE_KEY", key.as_str())];
    fanfare(&["publish", "demo:hello", r#"{"n":1}"#], &exported)?.ok()?;
    let heard = fanfare(&["subscribe", "demo:hello", "--rewind", "1", "--count", "1", "--json"], &exported)?.json()?;
    assert_eq!(heard["data"], json!({ "n": 1 }));

    // Nobody has claimed it: the next start has another link to the same tenant, and the old link is void.
    server.stop().await?;
    assert_eq!(postgres_of(server.data())?, [0; 0], "Postgres stops with its server");
    server.launch().await?;
    let (same_url, same_key, code) = printed(&server)?;
    assert_eq!((&same_url, &same_key), (&url, &key));
    let claim = async |code: &str| {
        let body = json!({ "code": code, "email": "late@example.com", "password": PASSWORD });
        let request = http()?.post(format!("{}/api/v1/welcome", server.control_url()));
        Answer::to(request.header("X-Fanfare-CSRF", "1").json(&body)).await?.refusal()
    };
    assert_eq!(claim(&first_code).await?, "not_found");
    let owner = server.claim(&code, "first@example.com").await?;
    assert_eq!((&owner.app_url(), &owner.key), (&url, &key));
    assert_eq!(claim(&code).await?, "not_found", "the link works once");
    let second_key = owner.create_key("second", &json!({ "**": ["publish"] })).await?;

    server.stop().await?;
    let begun = Instant::now();
    server.launch().await?;
    println!("a later start on the embedded defaults took {} ms", begun.elapsed().as_millis());
    assert_eq!(server.platform().welcome_url, None, "what is claimed is not given away");
    assert_eq!(server.platform().key, None);
    let session = owner.get("/session").await?.ok()?;
    assert_eq!(session["user"]["email"], "first@example.com");
    owner.publisher_with(&second_key).publish("room:9", "still here").await?;
    server.stop().await
}

#[tokio::test]
async fn a_killed_server_leaves_no_postgres_behind_and_comes_back_with_all_data() -> Result<()> {
    let mut server = embedded().await?;
    let owner = server.sign_up().await?;
    let works = async |server: &Server, what: &str| -> Result<()> {
        let session = owner.get("/session").await?.ok().with_context(|| what.to_owned())?;
        ensure!(session["user"]["email"] == owner.email.as_str(), "{what}: {session}");
        server.await_app(&owner).await.with_context(|| what.to_owned())?;
        owner.publisher().publish("room:9", what).await?;
        Ok(())
    };
    assert!(postgres_of(server.data())?.contains(&postmaster(server.data())?));
    server.kill()?;
    no_postgres(server.data()).await?;
    server.launch().await?;
    works(&server, "after a kill").await?;

    // Again, and the next one does not wait for the old Postgres to be gone.
    server.kill()?;
    server.launch().await?;
    works(&server, "at once after a kill").await?;

    // The file names a process that lives and is no Postgres: ourselves.
    server.stop().await?;
    assert_eq!(postgres_of(server.data())?, [0; 0]);
    let stale = format!("{}\n{}\n1700000000\n5432\n/nowhere\n\n  1 2\nready\n", std::process::id(), "/nowhere");
    fs::write(server.data().join("postgres/cluster/postmaster.pid"), stale)?;
    server.launch().await?;
    works(&server, "beside a stale process file").await?;
    server.stop().await
}

#[tokio::test]
async fn a_private_postgres_that_dies_is_started_again_and_messages_flow_meanwhile() -> Result<()> {
    let server = embedded().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    let before = postmaster(server.data())?;
    let killed = std::process::Command::new("kill").args(["-KILL", &before.to_string()]).status()?;
    assert!(killed.success());
    let mut pace = interval(Duration::from_millis(20));
    let another_answers = async {
        for number in 0.. {
            pace.tick().await;
            owner.publisher().publish("room:9", number).await?;
            ensure!(ann.message("room:9").await?["data"] == number);
            let is_another = postmaster(server.data()).is_ok_and(|pid| pid != before);
            if is_another && owner.get("/session").await?.status == 200 {
                break;
            }
        }
        Ok(())
    };
    timeout(TIMEOUT, another_answers).await.context("no other Postgres answers")?
}
