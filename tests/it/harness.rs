//! The ground the suite stands on.

use ::harness::postgres;

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
