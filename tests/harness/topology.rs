//! What `deploy/compose.yaml` starts, as processes of this machine.

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fanfare_load::platform::{Options, Platform};
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::command::fanfare;
use crate::free_port;
use crate::nginx::{Nginx, free_address};
use crate::postgres::OwnCluster;
use crate::redis::Redis;
use crate::server::binary;

/// Postgres, Redis, two gateways, a control plane, and nginx before them, all with directories of their own. They end in
/// this order, and their files go, when this is dropped.
#[derive(Debug)]
pub struct Topology {
    /// What stands before the others.
    pub nginx: Nginx,
    /// What serves clients and backends.
    pub gateways: [Platform; 2],
    /// What serves the dashboard.
    pub control: Platform,
    /// What keeps messages.
    pub redis: Redis,
    _postgres: OwnCluster,
}

impl Topology {
    /// Starts all of it; nginx at these ports for gateways and the control plane, or at free ones.
    ///
    /// # Errors
    /// When something is not installed, or does not start.
    pub async fn start(ports: Option<[u16; 2]>) -> Result<Self> {
        let [gateways, control] = match ports {
            Some(ports) => ports.map(|port| format!("127.0.0.1:{port}")),
            None => [free_address()?, free_address()?],
        };
        let postgres = OwnCluster::start().await?;
        let redis = Redis::start_with(&["--appendonly", "yes"]).await?;
        let mut key = [0; 32];
        SysRng.try_fill_bytes(&mut key)?;
        let key = STANDARD.encode(key);
        let public = |address: &str| format!("http://{}", address.replace("127.0.0.1", "localhost"));
        let shared = [
            ("FANFARE_MASTER_KEY", &*key),
            ("FANFARE_PUBLIC__GATEWAY_URL", &public(&gateways)),
            ("FANFARE_PUBLIC__CONTROL_URL", &public(&control)),
        ];
        let url = postgres.url();
        let migrating = [&shared[..], &[("DATABASE_URL", &*url)]].concat();
        tokio::task::block_in_place(|| fanfare(&["migrate"], &migrating))?.ok()?;
        let start = async |name: &str, role: &[(&str, &str)]| -> Result<(Platform, [u16; 2])> {
            let listen = [free_port()?, free_port()?];
            let [gateway, control] = listen;
            let variables = shared.iter().chain(role).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let options = Options {
                database_url: Some(url.clone()),
                variables: variables.collect(),
                ports: [gateway, control, 0],
                ..Options::new(binary()?, name)
            };
            let started = tokio::task::spawn_blocking(move || Platform::start(&options)).await?;
            Ok((started.with_context(|| name.to_owned())?, listen))
        };
        let redis_url = redis.url();
        let as_gateway = [("FANFARE_ROLE", "gateway"), ("REDIS_URL", &*redis_url)];
        let (one, [first, _]) = start("gateway-1", &as_gateway).await?;
        let (two, [second, _]) = start("gateway-2", &as_gateway).await?;
        let as_control = [
            ("FANFARE_ROLE", "control"),
            ("FANFARE_CONTROL__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
            // Whoever reaches it is at this machine.
            ("FANFARE_CONTROL__HOLD_SIGN_UPS", "false"),
        ];
        let (controlling, [_, third]) = start("control", &as_control).await?;
        let behind = [first, second, third].map(|port| format!("127.0.0.1:{port}"));
        let nginx = Nginx::before(&behind, [gateways, control]).await?;
        Ok(Self { nginx, gateways: [one, two], control: controlling, redis, _postgres: postgres })
    }
}
