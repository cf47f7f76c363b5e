//! What a fresh machine lacks: found, else installed, with a word on which.

mod postgres;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Once;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{answer, logged, program};
use crate::report::Done;

pub(crate) use postgres::{find as find_postgres, postgres};

const NODE_MAJOR_MIN: u32 = 20;

/// The standard library for wasm, through rustup.
pub(crate) fn wasm_target() -> Result<Done> {
    let target = "wasm32-unknown-unknown";
    let sysroot = answer("rustc", &["--print", "sysroot"]).context("rustc does not answer")?;
    if Path::new(&sysroot).join("lib/rustlib").join(target).join("lib").exists() {
        return Done::ok();
    }
    logged("rustup", program("rustup", &["target", "add", target])).with_context(|| {
        format!("the dashboard needs the target {target}, and this toolchain is not one that rustup can add it to")
    })?;
    Ok(Done::Ok(format!("installed {target}")))
}

/// Node and npm, which nothing here can install.
pub(crate) fn node() -> Result<Done> {
    let version = answer("node", &["--version"]).context("the SDK needs Node 20 or newer with npm: install it")?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(major.is_some_and(|major| major >= NODE_MAJOR_MIN), "the SDK needs Node 20 or newer; here is {version}");
    ensure!(answer("npm", &["--version"]).is_some(), "the SDK needs npm: install it");
    Ok(Done::Ok(version))
}

/// Chromium, for the browser tests.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(found) = on_path(&["chromium", "chromium-browser", "google-chrome"]) {
        return Ok(found);
    }
    ensure!(has_apt(), "the browser tests need Chromium on the path, and only root can install it");
    apt(&["chromium"])?;
    on_path(&["chromium"]).context("apt installed chromium, which is not on the path")
}

/// Redis, for the tests of several nodes.
pub(crate) fn redis() -> Result<Done> {
    let found = || answer("redis-server", &["--version"]);
    if found().is_none() {
        ensure!(has_apt(), "the tests need redis-server 7.0 or newer on the path, and only root can install it");
        apt(&["redis-server"])?;
    }
    Ok(Done::Ok(found().context("apt installed redis-server, which is not on the path")?))
}

/// nginx, for the tests of what stands before nodes.
pub(crate) fn nginx() -> Result<Done> {
    if on_path(&["nginx"]).is_none() {
        ensure!(has_apt(), "the tests need nginx on the path, and only root can install it");
        apt(&["nginx-light"])?;
    }
    let found = on_path(&["nginx"]).context("apt installed nginx-light, and nginx is not on the path")?;
    Ok(Done::Ok(found.display().to_string()))
}

/// The first of these programs that is on the path.
pub(crate) fn on_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names
        .iter()
        .flat_map(|name| std::env::split_paths(&path).map(move |place| place.join(name)))
        .find(|at| at.is_file())
}

/// Whether we may install Debian's packages.
fn has_apt() -> bool {
    is_root() && on_path(&["apt-get"]).is_some()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Installs Debian's packages, after the lists were renewed once.
fn apt(packages: &[&str]) -> Result<()> {
    static RENEW: Once = Once::new();
    let run = |arguments: &[&str]| {
        let mut command = program("apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        logged("apt", command)
    };
    let mut renewed = Ok(String::new());
    RENEW.call_once(|| renewed = run(&["update"]));
    renewed?;
    let Err(error) = run(&[&["install", "--yes", "--no-install-recommends"], packages].concat()) else { return Ok(()) };
    bail!("apt-get cannot install {}: {error}", packages.join(", "))
}
