//! The browser tests: Chromium against a server with embedded defaults and the dashboard as it was just built.

use anyhow::Result;

use super::counts::Counts;
use super::node_tests;
use crate::command::npm;
use crate::report::Done;
use crate::{install, sdk, server};

const PACKAGE: &str = "tests/browser";

/// The stage.
pub(super) fn run(counts: &mut Counts) -> Result<Done> {
    let chromium = install::chromium()?;
    sdk::install_packages(PACKAGE)?;
    let server = server::start("browser-server")?;
    let mut command = npm(PACKAGE, &["test"]);
    command.env("CHROMIUM", chromium).env("CONTROL_URL", &server.control_url);
    command.env("WELCOME_URL", server.welcome_url.as_deref().unwrap_or_default());
    command.envs(server::access(&server)?);
    node_tests("browser-tests", command, counts)
}
