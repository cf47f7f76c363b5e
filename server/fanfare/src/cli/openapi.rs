//! `fanfare openapi`: prints a generated OpenAPI document.

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::out;

/// Which API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Plane {
    /// What backends call with a key, on the gateway.
    DataPlane,
    /// What the dashboard calls.
    ControlPlane,
}

pub(super) fn run(plane: Plane) -> Result<()> {
    let document = match plane {
        Plane::DataPlane => fanfare_gateway::openapi(),
        Plane::ControlPlane => fanfare_control::openapi(),
    };
    out::line(document.to_pretty_json().context("the document does not serialise")?);
    Ok(())
}
