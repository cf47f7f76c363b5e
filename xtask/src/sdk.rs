//! The TypeScript SDK: one file for browsers, and its types.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Result;

use crate::command::{logged, npm, root};
use crate::install;
use crate::report::{Done, step};

const PACKAGE: &str = "clients/typescript";

/// The command.
pub(crate) fn run() -> Result<()> {
    step("node", install::node)?;
    step("SDK", build)?;
    Ok(())
}

/// Installs the locked packages if they are not, and builds.
pub(crate) fn build() -> Result<Done> {
    install_packages(PACKAGE)?;
    let output = logged("sdk-build", npm(PACKAGE, &["run", "build"]))?;
    // The build's last line says what the files weigh.
    Ok(Done::Ok(output.lines().last().unwrap_or_default().to_owned()))
}

/// Installs exactly what the lock file says, once for each state of it. No package's scripts run.
pub(crate) fn install_packages(package: &str) -> Result<()> {
    let directory = root().join(package);
    let mut hasher = DefaultHasher::new();
    fs::read(directory.join("package-lock.json"))?.hash(&mut hasher);
    let wanted = format!("{:016x}", hasher.finish());
    let stamp = directory.join("node_modules/.installed-for");
    if fs::read_to_string(&stamp).is_ok_and(|known| known == wanted) {
        return Ok(());
    }
    logged("npm-ci", npm(package, &["ci", "--ignore-scripts"]))?;
    Ok(fs::write(stamp, wanted)?)
}
