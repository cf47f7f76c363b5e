//! The cluster that all tests running at the same time share.
//!
//! nextest runs a process per test, so no test can own the cluster, and none knows that it is the last. The first one to
//! come starts a supervisor, a small shell script that outlives it; each test process holds a shared lock on a file, and
//! the supervisor ends the cluster when it finds nobody holding that lock for half a minute. There is nothing to count
//! and nothing to clean up: locks go with their process, however it ends, and Postgres goes with its supervisor. It is the
//! same under nextest, `cargo test` and `cargo xtask test`, which have nothing to configure.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// The login of every test database's URL: it may make roles and migrate, and is no superuser.
pub const LOGIN: &str = "fanfare_login";

const START_TIMEOUT: Duration = Duration::from_secs(60);
const SUPERVISOR: &str = include_str!("supervise.sh");

/// Where the cluster lives: outside the work tree, because its user must be able to walk there.
static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let tree = Sha256::digest(workspace().as_os_str().as_encoded_bytes());
    let user = fs::metadata("/proc/self").map_or(0, |process| process.uid());
    std::env::temp_dir().join(format!("fanfare-tests-{user}-{:02x}{:02x}{:02x}", tree[0], tree[1], tree[2]))
});

/// A running cluster, for as long as this process lives.
#[derive(Debug)]
pub(super) struct Cluster {
    /// The migrated database that tests copy.
    pub(super) template: String,
    /// Tells the supervisor that somebody is here.
    _users: File,
}

/// The cluster, started if nobody else has.
pub(super) async fn shared() -> Result<&'static Cluster> {
    static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
    CLUSTER.get_or_try_init(join).await
}

/// How to connect as a role to a database.
pub(super) fn options(role: &str, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .host(&RUN.to_string_lossy())
        .port(5432)
        .username(role)
        .database(database)
        .disable_statement_logging()
}

/// The socket the cluster listens on.
pub(super) fn socket() -> PathBuf {
    RUN.join(".s.PGSQL.5432")
}

/// How to connect as the superuser.
pub(super) fn admin() -> PgConnectOptions {
    options("postgres", "postgres")
}

/// The same for programs.
pub(super) fn url(role: &str, database: &str) -> String {
    format!("postgres://{role}@localhost:5432/{database}?host={}", RUN.display())
}

async fn join() -> Result<Cluster> {
    fs::create_dir_all(&*RUN)?;
    // Blocking is right here: nothing else of this process can go on before the cluster is there.
    let door = File::create(RUN.join("door"))?;
    door.lock()?;
    let users = File::create(RUN.join("users"))?;
    users.lock_shared()?;
    let mut connection = match admin().connect().await {
        Ok(connection) => connection,
        Err(_) => start().await?,
    };
    let template = template(&mut connection).await?;
    door.unlock()?;
    Ok(Cluster { template, _users: users })
}

async fn start() -> Result<PgConnection> {
    let binaries = binaries()?;
    let data = RUN.join("data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let log = RUN.join("log");
    let script = RUN.join("supervise.sh");
    fs::write(&script, SUPERVISOR)?;
    let mut supervisor = Command::new("setsid");
    supervisor.arg("sh").arg(&script).arg(&binaries).arg(&*RUN).args(as_unprivileged_user(&RUN)?);
    supervisor.stdin(Stdio::null()).stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
    supervisor.current_dir(&*RUN).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut supervisor = supervisor.spawn().context("start the supervisor of the test cluster")?;
    let mut connection = wait_until_ready(&mut supervisor, &log).await?;
    let statement = format!("CREATE ROLE {LOGIN} LOGIN CREATEROLE");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await?;
    Ok(connection)
}

#[expect(clippy::disallowed_methods, reason = "polls another process, which has no event to wait for")]
async fn wait_until_ready(supervisor: &mut Child, log: &Path) -> Result<PgConnection> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        let failure = match admin().connect().await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        if supervisor.try_wait()?.is_some() || Instant::now() > deadline {
            bail!("the test cluster did not start: {failure}\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The name of the template for the migrations as they are now, which is made if it is missing.
async fn template(connection: &mut PgConnection) -> Result<String> {
    let name = format!("template_{}", fingerprint(&workspace().join("migrations"))?);
    let known = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(&name);
    if known.fetch_optional(&mut *connection).await?.is_some() {
        return Ok(name);
    }
    // Under another name until it is whole: a migration that fails leaves nothing that looks ready.
    let unfinished = format!("{name}_unfinished");
    for statement in [
        format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)"),
        format!("CREATE DATABASE {unfinished} TEMPLATE template0 OWNER {LOGIN}"),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    super::migrate(&url(LOGIN, &unfinished)).await.context("migrate the template database")?;
    let statement = format!("ALTER DATABASE {unfinished} RENAME TO {name}");
    sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    Ok(name)
}

/// What tells one state of a directory from another: the names and contents of its files.
fn fingerprint(directory: &Path) -> Result<String> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .with_context(|| format!("read {}", directory.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    files.sort();
    let mut digest = Sha256::new();
    for file in files.iter().filter(|file| file.is_file()) {
        digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(fs::read(file)?);
    }
    Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// The words that run a command as somebody Postgres agrees to run as, who is given the directory: it refuses root.
pub(super) fn as_unprivileged_user(directory: &Path) -> Result<Vec<String>> {
    let root = fs::metadata("/proc/self")?.uid() == 0;
    if !root {
        return Ok(Vec::new());
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let of = |wanted: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (user, group) =
        of("postgres").or_else(|| of("nobody")).context("neither a user postgres nor nobody to run Postgres as")?;
    std::os::unix::fs::chown(directory, Some(user), Some(group))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    Ok(["setpriv", &format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups", "--"]
        .map(String::from)
        .into())
}

/// Where `initdb` and `postgres` are: told, the distribution's newest, on the path, or what `cargo xtask` unpacked.
pub(super) fn binaries() -> Result<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("FANFARE_PG_BIN").map(PathBuf::from).into_iter().collect();
    let mut distribution: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    distribution.sort();
    places.extend(distribution.into_iter().rev().map(|(_, path)| path));
    places.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    places.push(workspace().join(".fanfare/pg/bin"));
    places
        .into_iter()
        .find(|place| place.join("initdb").exists() && place.join("postgres").exists())
        .context("no Postgres here: run `cargo xtask test`, which installs it, or set FANFARE_PG_BIN")
}

/// The root of the work tree.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are one directory below the workspace")
}
