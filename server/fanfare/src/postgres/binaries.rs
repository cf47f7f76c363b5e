//! Finds the machine's Postgres binaries.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// The oldest major version that Fanfare's SQL runs on.
const MAJOR_MIN: u32 = 15;

/// A directory with `postgres`, `initdb` and `pg_ctl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
    pub(super) version: String,
}

/// Takes `FANFARE_PG_BIN` if it is given, else the first usable of: the distribution's (newest first), those on the
/// PATH, and those unpacked into `.fanfare/pg/bin` of this directory or `pg/bin` of the data directory.
///
/// `wanted` is the major version an existing cluster needs.
pub(super) fn find(given: Option<&Path>, data: &Path, wanted: Option<u32>) -> Result<Binaries> {
    if let Some(dir) = given {
        let Some(found) = probe(dir) else {
            bail!("FANFARE_PG_BIN is {}, which lacks a working postgres, initdb or pg_ctl", dir.display());
        };
        return choose(vec![found], wanted, data);
    }
    let mut places = distribution(Path::new("/usr/lib/postgresql"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A link such as /usr/local/bin/initdb leads to the directory that has everything.
    let linked = std::env::split_paths(&path).filter_map(|dir| dir.join("initdb").canonicalize().ok());
    places.extend(linked.filter_map(|initdb| initdb.parent().map(Path::to_path_buf)));
    places.extend(std::path::absolute(".fanfare/pg/bin"));
    places.push(data.join("pg/bin"));
    let mut seen = HashSet::new();
    places.retain(|dir| dir.canonicalize().is_ok_and(|real| seen.insert(real)));
    choose(places.iter().filter_map(|dir| probe(dir)).collect(), wanted, data)
}

/// `<root>/<major>/bin` of every installed major version, newest first.
fn distribution(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    let mut majors: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    majors.sort_unstable_by(|left, right| right.cmp(left));
    majors.iter().map(|major| root.join(major.to_string()).join("bin")).collect()
}

fn choose(found: Vec<Binaries>, wanted: Option<u32>, data: &Path) -> Result<Binaries> {
    let versions = || found.iter().map(|one| one.version.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(major) = wanted {
        if let Some(same) = found.iter().find(|one| one.major == major) {
            return Ok(same.clone());
        }
        bail!(
            "the database in {} was made by PostgreSQL {major}, but found here is: {}. Install PostgreSQL {major} and \
             start again; to move to another version, dump with {major}'s pg_dump, move the directory away, and restore",
            data.join("postgres").display(),
            if found.is_empty() { "none".to_owned() } else { versions() }
        );
    }
    if let Some(usable) = found.iter().find(|one| one.major >= MAJOR_MIN) {
        return Ok(usable.clone());
    }
    let seen = if found.is_empty() { String::new() } else { format!(" (found only {})", versions()) };
    bail!(
        "no PostgreSQL {MAJOR_MIN} or newer was found on this machine{seen}. Install it (Debian: apt-get install postgresql), \
         or point FANFARE_PG_BIN at a directory with initdb and postgres, or set DATABASE_URL to a server of yours"
    );
}

fn probe(dir: &Path) -> Option<Binaries> {
    if !["postgres", "initdb", "pg_ctl"].iter().all(|name| dir.join(name).is_file()) {
        return None;
    }
    let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
    let (version, major) = parse_version(&String::from_utf8_lossy(&output.stdout))?;
    Some(Binaries { dir: dir.to_path_buf(), major, version })
}

/// Reads `postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let version = text.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((version.to_owned(), digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(major: u32) -> Binaries {
        Binaries { dir: PathBuf::from(format!("/pg/{major}")), major, version: format!("{major}.1") }
    }

    #[test]
    fn versions_are_read_as_distributions_print_them() {
        let debian = "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n";
        assert_eq!(parse_version(debian), Some(("15.20".into(), 15)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18beta1\n"), Some(("18beta1".into(), 18)));
        assert_eq!(parse_version("initdb (PostgreSQL) 15.20"), None);
    }

    #[test]
    fn a_new_cluster_takes_the_first_usable_and_an_old_one_its_own_version() {
        let data = Path::new("/data");
        let pick = |found: &[u32], wanted| choose(found.iter().copied().map(some).collect(), wanted, data);
        assert_eq!(pick(&[18, 15], None).expect("usable").major, 18);
        assert_eq!(pick(&[18, 15], Some(15)).expect("usable").major, 15);
        let other = pick(&[18], Some(15)).expect_err("another major version").to_string();
        assert!(
            other.contains("made by PostgreSQL 15") && other.contains("18.1") && other.contains("/data/postgres"),
            "{other}"
        );
        let old = pick(&[13], None).expect_err("too old").to_string();
        assert!(old.contains("found only 13.1") && old.contains("DATABASE_URL"), "{old}");
    }
}
