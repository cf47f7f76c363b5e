//! The API documents in `openapi/`, which the server writes from its routes.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::command::{failure, log_path, program, root};
use crate::report::{Done, line, step};
use crate::server;

const PLANES: &[&str] = &["control-plane", "data-plane"];

/// The command: writes the documents.
pub(crate) fn run() -> Result<()> {
    step("server", server::build)?;
    for plane in PLANES {
        let path = root().join(format!("openapi/{plane}.json"));
        fs::write(&path, generate(plane)?)?;
        line(&format!("  wrote openapi/{plane}.json"));
    }
    Ok(())
}

/// Whether the documents in the work tree are what the server would write.
pub(crate) fn compare() -> Result<Done> {
    for plane in PLANES {
        let name = format!("openapi/{plane}.json");
        let kept = fs::read_to_string(root().join(&name))
            .with_context(|| format!("read {name}, which `cargo xtask openapi` writes"))?;
        let generated = generate(plane)?;
        if kept == generated {
            continue;
        }
        let at = kept.lines().zip(generated.lines()).position(|(kept, generated)| kept != generated);
        let at = at.unwrap_or_else(|| kept.lines().count().min(generated.lines().count()));
        bail!(
            "{name} is out of date at line {}:\n- {}\n+ {}\nrun `cargo xtask openapi`",
            at + 1,
            kept.lines().nth(at).unwrap_or_default(),
            generated.lines().nth(at).unwrap_or_default()
        );
    }
    Done::ok()
}

fn generate(plane: &str) -> Result<String> {
    let output = program(server::binary(), &["openapi", plane]).output().context("start the server's binary")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        fs::write(log_path("openapi")?, said.as_bytes())?;
        bail!("{}", failure("openapi", &said));
    }
    Ok(String::from_utf8(output.stdout)?)
}
