//! The ground the suite stands on.

use ::harness::ledger::Ledger;
use ::harness::postgres;
use ::harness::server::Server;

#[tokio::test]
async fn every_test_has_a_database_of_its_own() -> anyhow::Result<()> {
    let (ours, theirs) = tokio::try_join!(postgres::database(), postgres::database())?;
    assert_ne!(ours.name, theirs.name);
    let pool = ours.pool().await?;
    sqlx::raw_sql("CREATE TABLE mark (id int)").execute(&pool).await?;
    let seen = sqlx::query("SELECT FROM pg_tables WHERE tablename = 'mark'");
    assert!(seen.fetch_optional(&theirs.pool().await?).await?.is_none());
    Ok(())
}

#[tokio::test]
async fn the_login_of_a_database_is_no_superuser() -> anyhow::Result<()> {
    let database = postgres::database().await?;
    let (superuser, bypass): (bool, bool) =
        sqlx::query_as("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
            .fetch_one(&database.pool().await?)
            .await?;
    assert!(!superuser && !bypass);
    let pool = database.pool_as("fanfare_app").await?;
    assert_eq!(sqlx::query_scalar::<_, String>("SELECT current_user::text").fetch_one(&pool).await?, "fanfare_app");
    Ok(())
}

#[tokio::test]
async fn a_database_can_be_made_unreachable_and_come_back() -> anyhow::Result<()> {
    let database = postgres::database().await?;
    database.pool().await?;
    database.set_reachable(false).await?;
    assert!(database.pool().await.is_err());
    database.set_reachable(true).await?;
    database.pool().await?;
    Ok(())
}

#[tokio::test]
async fn a_server_of_ones_own_carries_a_message_from_rest_to_a_socket() -> anyhow::Result<()> {
    let server = Server::start().await?;
    let owner = server.sign_up().await?;
    let mut ann = owner.connect_as("ann", &["room:*"]).await?;
    ann.subscribe("room:9").await?;
    let mut ledger = Ledger::new();
    for number in 0..10 {
        owner.publisher().publish_into(&mut ledger, "room:9", number).await?;
        assert_eq!(ann.message("room:9").await?["data"], number);
    }
    ann.nothing_came().await?;
    let summary = ledger.check_settled(&ann.journals());
    assert_eq!(summary.map(|summary| (summary.acked, summary.delivered)), Ok((10, 10)));
    Ok(())
}

#[tokio::test]
async fn a_server_can_be_killed_and_started_again_in_the_same_place() -> anyhow::Result<()> {
    let mut server = Server::start().await?;
    let owner = server.sign_up().await?;
    let before = server.gateway_url().to_owned();
    server.kill()?;
    server.launch().await?;
    assert_eq!(server.gateway_url(), before);
    server.await_app(&owner).await?;
    let session: serde_json::Value = owner.get("/session").await?.parse()?;
    assert_eq!(session["user"]["email"], owner.email.as_str());
    server.stop().await
}
