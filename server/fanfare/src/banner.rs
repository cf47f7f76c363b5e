//! What `serve` prints when it is ready: where to go, and, on the embedded defaults, how to begin.

use std::path::PathBuf;
use std::time::Duration;

use fanfare_store::Welcome;

use crate::config::Role;
use crate::out;

/// What there is to say.
pub(crate) struct Banner {
    pub(crate) role: Role,
    pub(crate) took: Duration,
    pub(crate) gateway_url: String,
    pub(crate) control_url: String,
    pub(crate) private_url: String,
    pub(crate) data: PathBuf,
    /// Whether the control plane answers yet.
    pub(crate) has_postgres: bool,
    /// The tenant that waits for its owner.
    pub(crate) welcome: Option<Welcome>,
}

impl Banner {
    /// Prints it.
    pub(crate) fn print(&self) {
        out::line(self.text());
    }

    fn text(&self) -> String {
        let mut text =
            format!("\nFanfare {} is ready after {:.1} s.\n\n", env!("CARGO_PKG_VERSION"), self.took.as_secs_f64());
        let mut row = |label: &str, value: &str| text.push_str(&format!("  {label:<10} {value}\n"));
        if self.role.has_control() {
            let away = if self.has_postgres { "" } else { "  (waiting for Postgres)" };
            row("Dashboard", &format!("{}{away}", self.control_url));
        }
        if self.role.has_gateway() {
            row("Gateway", &self.gateway_url);
        }
        row("Private", &format!("{}  (/health, /ready, /metrics)", self.private_url));
        row("Data", &self.data.display().to_string());
        if let Some(welcome) = &self.welcome {
            text.push_str(&format!(
                "\n  Make the first account with this link. It works once:\n  {}/welcome#{}\n\n  \
                 For the command line and curl; keep them, they are printed until the link is used:\n  export FANFARE_URL={}/v1/apps/{}\n  export FANFARE_KEY={}\n",
                self.control_url,
                welcome.code.expose(),
                self.gateway_url,
                welcome.app,
                welcome.key.expose()
            ));
        }
        // The last line: programs that start a server read up to here.
        text.push_str("\n  Ctrl-C stops it.");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(role: Role, has_postgres: bool) -> Banner {
        Banner {
            role,
            took: Duration::from_millis(1_840),
            gateway_url: "http://localhost:8000".into(),
            control_url: "http://localhost:8001".into(),
            private_url: "http://127.0.0.1:8002".into(),
            data: PathBuf::from("/var/lib/fanfare"),
            has_postgres,
            welcome: None,
        }
    }

    #[test]
    fn only_what_this_process_serves_is_printed() {
        let gateway = banner(Role::Gateway, true).text();
        assert!(gateway.contains("Gateway    http://localhost:8000\n") && !gateway.contains("Dashboard"), "{gateway}");
        let control = banner(Role::Control, false).text();
        assert!(control.contains("http://localhost:8001  (waiting for Postgres)\n"), "{control}");
        assert!(control.contains("ready after 1.8 s") && !control.contains("FANFARE_KEY"), "{control}");
    }
}
