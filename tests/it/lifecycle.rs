//! How the server starts, stops, dies and comes back, through its real binary; and its commands.

mod bench;
mod clock;
mod commands;
mod drain;
mod embedded;
mod refused;
mod stop;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A directory of one test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("fanfare-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn text(&self) -> &str {
        self.0.to_str().expect("we chose the name")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
