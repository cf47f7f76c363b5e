//! The nginx of `deploy/nginx`, before two nodes.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::answer::http;
use crate::server::Server;
use crate::{eventually, free_port};

const TEMPLATE: &str = include_str!("../../deploy/nginx/nginx.conf.template");
/// How long old workers may take after a reload, as nginx says it.
const SHUTDOWN: &str = "2s";
/// Another program may take a port between its choice and its use.
const TRIES: u32 = 5;

/// A real nginx on ports of its own. It ends, and its files go, when this is dropped.
#[derive(Debug)]
pub struct Nginx {
    root: PathBuf,
    process: Child,
    gateway_url: String,
    control_url: String,
}

impl Nginx {
    /// One before these nodes; the first is the control plane too.
    ///
    /// # Errors
    /// When nginx is not installed, does not take its configuration, or does not start.
    pub async fn start(nodes: [&Server; 2]) -> Result<Self> {
        let host = |url: &str| url.trim_start_matches("http://").to_owned();
        let control = host(nodes[0].control_url());
        let behind = [host(nodes[0].gateway_url()), host(nodes[1].gateway_url()), control];
        let mut failed = anyhow::anyhow!("it was not tried");
        for _ in 0..TRIES {
            match Self::before(&behind, [free_address()?, free_address()?]).await {
                Ok(nginx) => return Ok(nginx),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// One that listens at these addresses for gateways and for the control plane, before two gateways and one.
    ///
    /// # Errors
    /// When nginx is not installed, does not take its configuration, or does not start.
    pub async fn before(behind: &[String; 3], [gateway, control]: [String; 2]) -> Result<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("fanfare-nginx-{}-{number}", std::process::id()));
        fs::create_dir_all(&root)?;
        let filled = [
            ("SHUTDOWN", SHUTDOWN.to_owned()),
            ("TEMP", root.display().to_string()),
            ("GATEWAY_1", behind[0].clone()),
            ("GATEWAY_2", behind[1].clone()),
            ("CONTROL", behind[2].clone()),
            ("LISTEN_GATEWAY", gateway.clone()),
            ("LISTEN_CONTROL", control.clone()),
        ];
        let mut configuration = TEMPLATE.to_owned();
        for (name, value) in filled {
            configuration = configuration.replace(&format!("${{FANFARE_NGINX_{name}}}"), &value);
        }
        ensure!(!configuration.contains("${"), "the template asks for what is not filled in");
        fs::write(root.join("nginx.conf"), configuration)?;
        let log = File::options().create(true).append(true).open(root.join("log"))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&root).arg("-c").arg(root.join("nginx.conf")).arg("-e").arg("stderr");
        command.arg("-g").arg(format!("daemon off; pid {};", root.join("pid").display()));
        let process = command.stdout(log.try_clone()?).stderr(log).spawn().context("start nginx")?;
        // By the name that the control plane has, so that its cookies hold.
        let control_url = format!("http://{}", control.replace("127.0.0.1", "localhost"));
        let nginx = Self { root, process, gateway_url: format!("http://{gateway}"), control_url };
        let answers = eventually("nginx answers", async || {
            let asked = http()?.get(format!("{}/nothing", nginx.gateway_url)).timeout(Duration::from_secs(1));
            Ok(asked.send().await.ok().map(drop))
        });
        answers.await.with_context(|| nginx.log())?;
        Ok(nginx)
    }

    /// Where clients and backends find the gateways.
    #[must_use]
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Where the dashboard is.
    #[must_use]
    pub fn control_url(&self) -> &str {
        &self.control_url
    }

    /// Has new workers take over from the old ones.
    ///
    /// # Errors
    /// When it does not run.
    pub fn reload(&self) -> Result<()> {
        let status = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { bail!("nginx does not run: {}", self.log()) }
    }

    /// What it had to say.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("log")).unwrap_or_default()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // In good order, so that its workers go with it.
        let _ = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

pub(crate) fn free_address() -> Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}
