//! The dashboard: cargo builds the wasm, wasm-bindgen (as a library, so that nothing is installed and no version can
//! differ) makes its JavaScript, and everything gets a name that changes with its content, for caches.
//!
//! ```text
//! dashboard/dist/index.html                 the template with the names filled in
//! dashboard/dist/assets/dash-<hash>.wasm    and .js, .css: may be cached for ever
//! dashboard/dist/…                          dashboard/static as it is
//! ```
//! On release each file has a brotli twin beside it, named with `.br` at the end.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use wasm_bindgen_cli_support::Bindgen;

use crate::command::{cargo, logged, root, target};
use crate::install;
use crate::report::{Done, step};

/// In the order in which they must apply.
const STYLES: &[&str] = &["tokens.css", "base.css", "components.css"];

/// How to build the dashboard.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Small and compressed instead of quick to build.
    #[arg(long)]
    pub(crate) release: bool,
}

/// The command.
pub(crate) fn run(options: &Options) -> Result<()> {
    step("wasm target", install::wasm_target)?;
    step("dashboard", || build(options.release))?;
    Ok(())
}

/// Builds what is not up to date.
pub(crate) fn build(release: bool) -> Result<Done> {
    let profile = if release { "wasm" } else { "dev" };
    let mut compile = cargo(&["build", "--package", "fanfare-dashboard", "--target", "wasm32-unknown-unknown"]);
    compile.args(["--profile", profile]);
    // A target directory of its own: features differ from the server's, and neither build waits for the other.
    let built = target().join("dash");
    compile.env("CARGO_TARGET_DIR", &built);
    logged("dashboard", compile)?;

    let profile = if release { "wasm" } else { "debug" };
    let wasm = built.join("wasm32-unknown-unknown").join(profile).join("fanfare-dashboard.wasm");
    let source = Source::read(wasm, release)?;
    let dist = root().join("dashboard/dist");
    let stamp = built.join("stamp");
    let fingerprint = source.fingerprint();
    if dist.join("index.html").exists() && fs::read_to_string(&stamp).is_ok_and(|known| known == fingerprint) {
        return Ok(Done::Ok("unchanged".into()));
    }
    // Whole or not at all: a server may be serving the old one.
    let fresh = built.join("dist");
    empty(&fresh)?;
    let weight = source.write(&fresh)?;
    replace(&fresh, &dist)?;
    fs::write(stamp, fingerprint)?;
    Ok(Done::Ok(weight))
}

/// Everything the pages are made of.
#[derive(Debug)]
struct Source {
    release: bool,
    wasm_path: PathBuf,
    wasm: Vec<u8>,
    template: String,
    css: String,
    /// Names and contents of the files that are copied.
    statics: Vec<(PathBuf, Vec<u8>)>,
}

impl Source {
    fn read(wasm_path: PathBuf, release: bool) -> Result<Self> {
        let dashboard = root().join("dashboard");
        let styles = dashboard.join("styles");
        let mut css = String::new();
        for name in STYLES {
            css += &fs::read_to_string(styles.join(name)).with_context(|| format!("read dashboard/styles/{name}"))?;
        }
        for entry in fs::read_dir(&styles)? {
            let name = entry?.file_name();
            ensure!(
                STYLES.iter().any(|known| name == *known),
                "dashboard/styles/{} is not in the list",
                name.display()
            );
        }
        let wasm = fs::read(&wasm_path).with_context(|| format!("read {}", wasm_path.display()))?;
        let template = fs::read_to_string(dashboard.join("index.html"))?;
        let mut statics = Vec::new();
        collect(&dashboard.join("static"), Path::new(""), &mut statics)?;
        Ok(Self { release, wasm_path, wasm, template, css, statics })
    }

    fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (self.release, &self.wasm, &self.template, &self.css, &self.statics).hash(&mut hasher);
        // A change to how pages are made is one to the pages.
        include_str!("dash.rs").hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Writes the pages and says what they weigh.
    fn write(&self, to: &Path) -> Result<String> {
        let bound = to.with_extension("bindgen");
        empty(&bound)?;
        Bindgen::new()
            .input_path(&self.wasm_path)
            .out_name("dash")
            .web(true)?
            .typescript(false)
            .omit_default_module_path(true)
            // Names are two thirds of an unoptimised build, and panics say their place in the source without them.
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(&bound)
            .context("wasm-bindgen")?;
        let assets = to.join("assets");
        fs::create_dir_all(&assets)?;
        let wasm = fs::read(bound.join("dash_bg.wasm"))?;
        let javascript = fs::read(bound.join("dash.js"))?;
        // JavaScript that crates bring along is imported by relative names.
        if bound.join("snippets").exists() {
            copy(&bound.join("snippets"), &assets.join("snippets"))?;
        }
        let page = fill(
            &self.template,
            &[
                ("css", &place(&assets, "css", self.css.as_bytes())?),
                ("js", &place(&assets, "js", &javascript)?),
                ("wasm", &place(&assets, "wasm", &wasm)?),
            ],
        )?;
        fs::write(to.join("index.html"), page)?;
        for (name, content) in &self.statics {
            let path = to.join(name);
            fs::create_dir_all(path.parent().unwrap_or(to))?;
            fs::write(path, content)?;
        }
        let mut weight = format!("wasm {} KiB", wasm.len() / 1024);
        if self.release {
            weight += &format!(", compressed {} KiB in all", compress(to)? / 1024);
        }
        Ok(weight)
    }
}

/// Writes an asset under a name made of its content, and returns its path as pages say it.
fn place(assets: &Path, extension: &str, content: &[u8]) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let name = format!("dash-{:016x}.{extension}", hasher.finish());
    fs::write(assets.join(&name), content)?;
    Ok(format!("/assets/{name}"))
}

/// Puts the values into the template's double braces.
fn fill(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut page = template.to_owned();
    for (name, value) in values {
        let hole = format!("{{{{{name}}}}}");
        ensure!(page.contains(&hole), "dashboard/index.html has no {hole}");
        page = page.replace(&hole, value);
    }
    if let Some(at) = page.find("{{") {
        bail!("dashboard/index.html wants something unknown: {}", page[at..].chars().take(40).collect::<String>());
    }
    Ok(page)
}

/// Gives each file its brotli twin, and returns what the twins weigh together.
fn compress(directory: &Path) -> Result<usize> {
    let mut files = Vec::new();
    collect(directory, Path::new(""), &mut files)?;
    let mut weight = 0;
    for (name, content) in files {
        let mut small = Vec::new();
        let options = brotli::enc::BrotliEncoderParams { quality: 11, size_hint: content.len(), ..Default::default() };
        brotli::BrotliCompress(&mut content.as_slice(), &mut small, &options)?;
        weight += small.len();
        let mut path = directory.join(name).into_os_string();
        path.push(".br");
        fs::write(path, small)?;
    }
    Ok(weight)
}

/// Every file below, in a steady order.
fn collect(directory: &Path, name: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) -> Result<()> {
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = name.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &name, into)?;
        } else {
            into.push((name, fs::read(entry.path())?));
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(from, Path::new(""), &mut files)?;
    for (name, content) in files {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap_or(to))?;
        fs::write(path, content)?;
    }
    Ok(())
}

fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(fs::create_dir_all(directory)?)
}

/// Puts a new directory in the place of an old one, which may be on another file system.
fn replace(fresh: &Path, old: &Path) -> Result<()> {
    empty(old)?;
    copy(fresh, old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_gets_every_name_it_asks_for_and_no_other() {
        let filled = fill("<a {{js}}> <b {{js}}{{css}}>", &[("js", "/a.js"), ("css", "/a.css")]);
        assert_eq!(filled.unwrap(), "<a /a.js> <b /a.js/a.css>");
        assert!(fill("{{js}}", &[("js", "/a.js"), ("css", "/a.css")]).is_err());
        assert!(fill("{{js}} {{png}}", &[("js", "/a.js")]).is_err());
    }
}
