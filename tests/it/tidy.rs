//! The house's rules that no compiler knows: the crate graph, the size of files, what must not stand in the tree.
//!
//! A function's 70 lines, `unsafe`, `allow` without `expect` and forbidden calls are clippy's (`.clippy.toml`, the
//! workspace's lints); here it is only checked that every crate keeps them switched on. The list of exceptions below
//! may only shrink: an entry that is not needed any more, or allows more than is there, fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package};

/// Lines of a file without its tests: the wall. 400 is normal.
const FILE_LINES_MAX: usize = 600;
/// Lines of a file of the dashboard's pages.
const PAGE_LINES_MAX: usize = 250;

/// Files past the wall: how long they are today.
const LONG_FILES: &[(&str, usize)] = &[];

/// Which crate may use which of ours. What is not listed does not exist.
const EDGES: &[(&str, &[&str])] = &[
    ("fanfare-core", &[]),
    ("fanfare-protocol", &["fanfare-core"]),
    ("fanfare-engine", &["fanfare-core", "fanfare-protocol"]),
    ("fanfare-broker-redis", &["fanfare-core", "fanfare-protocol", "fanfare-engine"]),
    ("fanfare-store", &["fanfare-core"]),
    ("fanfare-api", &["fanfare-core"]),
    ("fanfare-gateway", &["fanfare-core", "fanfare-protocol", "fanfare-engine", "fanfare-api"]),
    ("fanfare-control", &["fanfare-core", "fanfare-store", "fanfare-api"]),
    ("fanfare-dashboard", &["fanfare-core", "fanfare-protocol", "fanfare-api"]),
    (
        "fanfare",
        &[
            "fanfare-core",
            "fanfare-protocol",
            "fanfare-engine",
            "fanfare-broker-redis",
            "fanfare-store",
            "fanfare-api",
            "fanfare-gateway",
            "fanfare-control",
        ],
    ),
];

/// Crates that may use all of ours.
const MAY_ALL: &[&str] = &["fanfare-tests", "fanfare-load", "xtask"];

/// Which crates may use which foreign one; with a question mark, only behind a feature.
const FOREIGN: &[(&str, &[&str])] = &[
    ("sqlx", &["fanfare-store", "fanfare-tests", "xtask"]),
    ("redis", &["fanfare-broker-redis", "fanfare-tests", "xtask"]),
    ("axum", &["fanfare-gateway", "fanfare-control", "fanfare", "fanfare-api?"]),
    ("hyper", &["fanfare-gateway"]),
    (
        "tokio",
        &[
            "fanfare-api?",
            "fanfare-engine",
            "fanfare-broker-redis",
            "fanfare-store",
            "fanfare-gateway",
            "fanfare-control",
            "fanfare",
            "fanfare-tests",
        ],
    ),
    ("anyhow", &["fanfare", "fanfare-tests", "fanfare-load", "xtask"]),
];

#[test]
fn crates_use_only_what_the_map_allows() -> Result<()> {
    let metadata = metadata()?;
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let edges: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if MAY_ALL.contains(&name) {
            continue;
        }
        let allowed = edges.get(name).with_context(|| format!("{name} is not on the map"))?;
        let used = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        wrong.extend(
            used.filter(|used| ours.contains(used) && !allowed.contains(used)).map(|used| format!("{name} → {used}")),
        );
    }
    assert!(wrong.is_empty(), "edges that are not on the map: {wrong:?}");
    Ok(())
}

#[test]
fn foreign_crates_stay_where_they_belong() -> Result<()> {
    let metadata = metadata()?;
    let mut wrong = Vec::new();
    for (foreign, allowed) in FOREIGN {
        for package in metadata.workspace_packages() {
            let name = package.name.as_str();
            // What only a crate's tests use is not in it.
            let used = |dependency: &&cargo_metadata::Dependency| {
                dependency.name == *foreign && dependency.kind == cargo_metadata::DependencyKind::Normal
            };
            let Some(dependency) = package.dependencies.iter().find(used) else { continue };
            let optional = format!("{name}?");
            if !(allowed.contains(&name) || dependency.optional && allowed.contains(&optional.as_str())) {
                wrong.push(format!("{name} → {foreign}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    Ok(())
}

#[test]
fn every_crate_keeps_the_house_lints() -> Result<()> {
    for package in metadata()?.workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path)?;
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} has other lints", package.name);
        assert!(is_documented(package)?, "{} does not say what it is for", package.name);
    }
    Ok(())
}

#[test]
fn no_file_is_past_the_wall() -> Result<()> {
    let mut wrong = Vec::new();
    let exceptions: BTreeMap<&str, usize> = LONG_FILES.iter().copied().collect();
    for path in tracked(&["rs", "ts"])? {
        let name = path.to_string_lossy().into_owned();
        let lines = lines_without_tests(&fs::read_to_string(root().join(&path))?);
        let is_page = name.starts_with("dashboard/src/pages/");
        let wall = if is_page { PAGE_LINES_MAX } else { FILE_LINES_MAX };
        match exceptions.get(name.as_str()) {
            Some(_) if lines <= wall => wrong.push(format!("{name} needs no exception any more: remove it")),
            Some(&known) if lines != known => {
                wrong.push(format!("{name} has {lines} lines, its exception says {known}"))
            }
            None if lines > wall => wrong.push(format!("{name} has {lines} lines, the wall is {wall}")),
            _ => {}
        }
        if path.file_name().is_some_and(|file| file == "mod.rs") {
            wrong.push(format!("{name}: a module is foo.rs with foo/, never mod.rs"));
        }
    }
    let known: BTreeSet<String> =
        tracked(&["rs", "ts"])?.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    wrong.extend(
        exceptions.keys().filter(|name| !known.contains(**name)).map(|name| format!("{name} is gone: remove it")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() -> Result<()> {
    // Put together here, so that this file is clean.
    let needles = ["#[", "#!["].map(|begin| format!("{begin}allow("));
    assert_eq!(lines_with(&["rs"], &needles)?, [""; 0], "use `expect` with a reason");
    Ok(())
}

#[test]
fn the_tree_names_no_machine_and_no_registry_host() -> Result<()> {
    let needles = [
        ["/wo", "rk/"],
        ["/ho", "me/"],
        ["/ro", "ot/"],
        ["registry.npm", "js"],
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["files.python", "hosted"],
        ["pypi.org/", "simple"],
        ["deb.deb", "ian"],
    ]
    .map(|halves| halves.concat());
    assert_eq!(lines_with(&[], &needles)?, [""; 0]);
    Ok(())
}

#[test]
fn tests_are_counted_out_of_a_files_length() {
    let source = "//! Doc.\nfn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
    assert_eq!(lines_without_tests(source), 3);
    assert_eq!(lines_without_tests("fn a() {}\n#[cfg(test)]\nfn helper() {}\nfn c() {}\n"), 4);
}

fn metadata() -> Result<Metadata> {
    Ok(MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec()?)
}

/// Whether the first target of a crate begins with its documentation.
fn is_documented(package: &Package) -> Result<bool> {
    let target = package.targets.first().context("a crate has a target")?;
    let source = fs::read_to_string(&target.src_path)?;
    Ok(target.is_custom_build() || source.starts_with("//! "))
}

/// The lines before a file's own tests, which stand at its end.
fn lines_without_tests(source: &str) -> usize {
    let lines: Vec<&str> = source.lines().collect();
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests"));
    tests.unwrap_or(lines.len())
}

/// Where any of these texts stands in files with these extensions, or in any file.
fn lines_with(extensions: &[&str], needles: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for path in tracked(extensions)? {
        // What is not text has no lines to find.
        let Ok(source) = fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in source.lines().enumerate() {
            if needles.iter().any(|needle| line.contains(needle)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    Ok(found)
}

/// The files that git knows or would take, with one of these extensions; all of them when none is given.
fn tracked(extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let output = git.output().context("start git")?;
    anyhow::ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    let paths = names.split_terminator('\0').map(PathBuf::from).filter(|path| root().join(path).is_file());
    Ok(paths
        .filter(|path| {
            extensions.is_empty()
                || path.extension().is_some_and(|own| extensions.iter().any(|extension| own == *extension))
        })
        .collect())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are one directory below the workspace")
}
