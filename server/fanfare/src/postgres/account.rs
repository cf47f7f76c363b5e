//! Whom Postgres runs as: it refuses to run as root, so root lends it an unprivileged account.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// An entry of the machine's user list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Whom Postgres runs as.
#[derive(Debug, Clone)]
pub(super) enum RunAs {
    /// The server's own account, which is not root.
    Myself { uid: u32 },
    /// An unprivileged account, because the server is root.
    Other(Account),
}

impl RunAs {
    /// Looks who we are; as root takes `postgres`, else `fanfare`, which is made when it is missing.
    pub(super) fn find() -> Result<Self> {
        let uid = own_uid()?;
        if uid != 0 {
            return Ok(Self::Myself { uid });
        }
        if let Some(account) = lookup("postgres")?.or(lookup("fanfare")?) {
            return Ok(Self::Other(account));
        }
        let made = Command::new("useradd")
            .args(["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "fanfare"])
            .output();
        match (made, lookup("fanfare")?) {
            (_, Some(account)) => Ok(Self::Other(account)),
            (Ok(output), None) => bail!(
                "Postgres does not run as root, and the user `fanfare` could not be made: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            ),
            (Err(error), None) => {
                bail!("Postgres does not run as root, and there is no `useradd` ({error}): make a user `fanfare`")
            }
        }
    }

    /// The user id that owns the cluster's files.
    pub(super) const fn uid(&self) -> u32 {
        match self {
            Self::Myself { uid } => *uid,
            Self::Other(account) => account.uid,
        }
    }

    /// A command of this account that gets SIGINT when the thread that starts it ends, in whatever way.
    ///
    /// `setpriv` does what would need `unsafe` code here. Postgres takes SIGINT for a fast shutdown, so it goes even
    /// when the server is killed with SIGKILL.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        if let Self::Other(account) = self {
            command.arg(format!("--reuid={}", account.uid));
            command.arg(format!("--regid={}", account.gid));
            command.arg("--init-groups");
        }
        command.args(["--pdeathsig", "INT", "--"]).arg(program).current_dir("/").env("LC_ALL", "C");
        // Variables such as PGDATA and PGOPTIONS speak of somebody else's Postgres.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"PG") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Makes a directory that only this account can enter.
    pub(super) fn make_private_dir(&self, path: &Path) -> Result<()> {
        let what = || format!("cannot make {} for the private Postgres", path.display());
        fs::create_dir_all(path).with_context(what)?;
        if let Self::Other(account) = self {
            std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)).with_context(what)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(what)
    }

    /// Fails with advice when this account cannot pass through one of the directories above `path`.
    pub(super) fn ensure_reachable(&self, path: &Path) -> Result<()> {
        let Self::Other(account) = self else { return Ok(()) };
        for directory in path.ancestors().skip(1) {
            let Ok(metadata) = fs::metadata(directory) else { continue };
            let bit = if metadata.uid() == account.uid {
                0o100
            } else if metadata.gid() == account.gid {
                0o010
            } else {
                0o001
            };
            ensure!(
                metadata.mode() & bit != 0,
                "the user `{}`, as whom Postgres runs, cannot pass through {}: set FANFARE_DATA to another directory",
                account.name,
                directory.display()
            );
        }
        Ok(())
    }
}

/// The user id this process acts as.
///
/// # Errors
/// Where there is no /proc.
pub(crate) fn own_uid() -> Result<u32> {
    Ok(fs::metadata("/proc/self").context("the embedded Postgres needs /proc: set DATABASE_URL instead")?.uid())
}

fn lookup(name: &str) -> Result<Option<Account>> {
    let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
    Ok(users.lines().find_map(|line| parse(line).filter(|account| account.name == name)))
}

fn parse(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let mut numbers = fields.skip(1);
    Some(Account { name, uid: numbers.next()?.parse().ok()?, gid: numbers.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_user_list_is_read_by_its_columns() {
        let account = parse("postgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash");
        assert_eq!(account, Some(Account { name: "postgres".into(), uid: 101, gid: 104 }));
        assert_eq!(parse(""), None);
        assert_eq!(parse("a:x:b:c"), None);
    }

    #[test]
    fn postgres_is_told_to_go_when_its_starter_goes() {
        let account = Account { name: "pg".into(), uid: 7, gid: 8 };
        let command = RunAs::Other(account).command(Path::new("/bin/true"));
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        assert_eq!(arguments, ["--reuid=7", "--regid=8", "--init-groups", "--pdeathsig", "INT", "--", "/bin/true"]);
        let own = RunAs::Myself { uid: 5 }.command(Path::new("/bin/true"));
        assert_eq!(
            own.get_args().next().map(|argument| argument.to_string_lossy().into_owned()),
            Some("--pdeathsig".into())
        );
    }
}
