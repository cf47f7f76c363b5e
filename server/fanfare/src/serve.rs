//! `fanfare serve`: puts the planes together, in the order in which they need each other.
//!
//! ```text
//! listeners bound ─▶ private listener ─▶ Postgres ─▶ store ─┬▶ data plane ─▶ gateway
//!   (a taken port       (health from        │  away? go on   │    (apps from the store, else from the snapshot)
//!    is said at once)    the beginning)     ▼  without       └▶ control plane (503 until there is a store)
//! signal ─▶ not ready ─▶ drain ─▶ listeners stop ─▶ feed and store stop ─▶ Postgres stops
//! ```

mod data_plane;
mod workers;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use fanfare_broker_redis::RedisBroker;
use fanfare_control::{Control, Setup};
use fanfare_core::id::AppId;
use fanfare_engine::{DrainOptions, Node, SystemClock};
use fanfare_store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use self::data_plane::DataPlane;
use self::workers::Workers;
use crate::banner::Banner;
use crate::config::{Options, Stop};
use crate::control_plane::{self, Plane};
use crate::database::{self, Database, reached};
use crate::feed::FeedStatus;
use crate::figures::FiguresStatus;
use crate::files;
use crate::jwks::JwksStatus;
use crate::lifecycle::{Lifecycle, Signals};
use crate::master_key::{self, MasterKeys};
use crate::private::{self, Health};

/// How long a start waits for a Postgres that is not ours before it goes on from the snapshot.
const FIRST_CONNECT: Duration = Duration::from_secs(1);
/// How long tasks may take to end after connections are drained.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often a start looks whether the feed has brought the first app.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The name of the tenant that the welcome link gives away.
const FIRST_TENANT: &str = "My tenant";

/// Runs until a signal says to stop.
///
/// # Errors
/// When it cannot start; what was started until then is stopped.
pub(crate) async fn run(options: Options) -> Result<()> {
    let mut signals = Signals::new()?;
    let mut server = Server::new(options)?;
    let started = tokio::select! {
        biased;
        () = signals.next() => {
            info!("stopping before everything was started");
            Ok(())
        }
        started = server.start() => match started {
            Ok(()) => {
                signals.next().await;
                info!("stopping; a second signal ends at once");
                Ok(())
            }
            failed => failed,
        },
    };
    tokio::select! {
        biased;
        () = signals.next() => warn!("second signal: ending at once"),
        () = server.stop() => {}
    }
    started
}

/// Everything that runs, from its start to its stop.
struct Server {
    options: Options,
    data: PathBuf,
    keys: MasterKeys,
    /// Nobody replaces the key in its file while a server works with it.
    _key_lock: Option<File>,
    listeners: Option<Listeners>,
    urls: Urls,
    clock: Arc<SystemClock>,
    lifecycle: Lifecycle,
    node: Arc<OnceLock<Arc<Node>>>,
    feed: Arc<FeedStatus>,
    figures: Arc<FiguresStatus>,
    jwks: Arc<JwksStatus>,
    redis: Arc<OnceLock<Arc<RedisBroker>>>,
    store: watch::Sender<Option<Store>>,
    control: Arc<OnceLock<Control>>,
    database: Option<Database>,
    /// Ends last: connections to Postgres may have been opened by its threads.
    workers: Option<Workers>,
    begun: Instant,
}

/// The sockets, bound before anything else is begun.
struct Listeners {
    gateway: Option<TcpListener>,
    control: Option<TcpListener>,
    private: TcpListener,
}

/// Where others find us.
struct Urls {
    gateway: String,
    control: String,
    private: String,
}

impl Server {
    fn new(options: Options) -> Result<Self> {
        let begun = Instant::now();
        let data = options.data_dir()?;
        master_key::make_data_dir(&data)?;
        let key_lock = options.master_key.is_none().then(|| master_key::hold(&data)).transpose()?;
        let keys = MasterKeys::load(&options, &data)?;
        let listeners = Listeners::bind(&options)?;
        let urls = Urls::new(&options, &listeners)?;
        if options.role.has_gateway() {
            files::raise(options.node.connections_max);
        }
        let clock = Arc::new(SystemClock::new());
        let feed = Arc::new(FeedStatus::new(Arc::clone(&clock)));
        Ok(Self {
            data,
            keys,
            _key_lock: key_lock,
            listeners: Some(listeners),
            urls,
            clock,
            lifecycle: Lifecycle::default(),
            node: Arc::default(),
            feed,
            figures: Arc::default(),
            jwks: Arc::default(),
            redis: Arc::default(),
            store: watch::Sender::new(None),
            control: Arc::default(),
            database: None,
            workers: None,
            begun,
            options,
        })
    }

    async fn start(&mut self) -> Result<()> {
        let listeners = self.listeners.take().expect("a server is started once");
        self.serve_private(listeners.private);
        let plane = Plane::default();
        if let Some(listener) = listeners.control {
            let (plane, site) = (plane.clone(), self.urls.control.clone());
            self.lifecycle.tasks.spawn(control_plane::serve(listener, plane, site, self.lifecycle.soft.clone()));
        }
        let database = Database::open(&self.options, &self.data).await?;
        let connecting = self.connect(&database);
        self.database = Some(database);
        let connecting = self.await_store(connecting).await?;
        let role = self.options.role;
        if role.has_gateway() {
            let dashboard = self.urls.control.parse().context("public.control_url is not a URL")?;
            let workers = self.workers.insert(Workers::start(self.options.node.threads)?);
            let plane = DataPlane {
                workers: workers.handle(),
                options: &self.options,
                data: &self.data,
                keys: &self.keys,
                docs_url: &self.urls.control,
                dashboard_origins: &fanfare_control::dashboard_origins(&dashboard),
                clock: &self.clock,
                lifecycle: &self.lifecycle,
                feed: &self.feed,
                figures: &self.figures,
                jwks: &self.jwks,
                redis: &self.redis,
                store: self.store.subscribe(),
            };
            let node = plane.start(listeners.gateway.expect("bound for this role")).await?;
            self.node.set(node).map_err(|_| anyhow!("the data plane was started twice"))?;
        }
        if role.has_control() {
            self.open_control(plane).await?;
        }
        if let Some(connecting) = connecting {
            self.lifecycle.tasks.spawn(report(connecting));
        }
        let welcome = self.welcome().await?;
        if let Some(welcome) = &welcome {
            self.await_app(welcome.app).await;
        }
        let has_postgres = self.store.borrow().is_some();
        let Urls { gateway, control, private } = &self.urls;
        let (gateway_url, control_url, private_url) = (gateway.clone(), control.clone(), private.clone());
        let (took, data) = (self.begun.elapsed(), self.data.clone());
        Banner { role, took, gateway_url, control_url, private_url, data, has_postgres, welcome }.print();
        Ok(())
    }

    /// Waits until the gateway has heard of an app, so that what is printed works when it is read.
    async fn await_app(&self, app: AppId) {
        let Some(node) = self.node.get() else { return };
        let known = async {
            let mut look = tokio::time::interval(LOOK_EVERY);
            while node.directory().get(app).is_none() {
                look.tick().await;
            }
        };
        if timeout(END_WITHIN, known).await.is_err() {
            warn!("the gateway has not heard of the first app yet");
        }
    }

    fn serve_private(&self, listener: TcpListener) {
        let health = Health {
            role: self.options.role,
            node: Arc::clone(&self.node),
            feed: Arc::clone(&self.feed),
            figures: Arc::clone(&self.figures),
            jwks: Arc::clone(&self.jwks),
            redis: Arc::clone(&self.redis),
            store: self.store.subscribe(),
            stopping: self.lifecycle.stopping.clone(),
        };
        self.lifecycle.tasks.spawn(private::serve(listener, health, self.lifecycle.soft.clone()));
    }

    /// Begins to connect to Postgres; the store is sent to whoever waits for it.
    fn connect(&self, database: &Database) -> JoinHandle<Result<(), StoreError>> {
        let options = database.store_options(&self.options.store, &self.keys, Arc::clone(&self.clock));
        let (migrate, sender, stop) = (database.is_private(), self.store.clone(), self.lifecycle.soft.clone());
        self.lifecycle.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => Ok(()),
                connected = database::connect(options, migrate) => {
                    sender.send_replace(Some(connected?));
                    Ok(())
                }
            }
        })
    }

    /// Waits for the store, without end where the Postgres is ours, else for a moment. What goes on is handed back.
    async fn await_store(
        &self,
        mut connecting: JoinHandle<Result<(), StoreError>>,
    ) -> Result<Option<JoinHandle<Result<(), StoreError>>>> {
        let is_ours = self.database.as_ref().is_some_and(Database::is_private);
        let limit = if is_ours { Duration::MAX } else { FIRST_CONNECT };
        match timeout(limit, &mut connecting).await {
            Ok(done) => done.context("connecting to Postgres panicked")?.context("the database cannot be used")?,
            Err(_) => return Ok(Some(connecting)),
        }
        Ok(None)
    }

    /// Puts the control plane behind its listener as soon as there is a store.
    async fn open_control(&self, plane: Plane) -> Result<()> {
        let setup = ControlSetup {
            options: self.options.control.clone(),
            clock: Arc::clone(&self.clock),
            public_url: self.urls.control.parse().context("public.control_url is not a URL")?,
            gateway_url: self.urls.gateway.parse().context("public.gateway_url is not a URL")?,
            control: Arc::clone(&self.control),
        };
        let mut store = self.store.subscribe();
        let now = store.borrow().clone();
        if let Some(store) = now {
            return setup.open(store, &plane).await;
        }
        let stop = self.lifecycle.soft.clone();
        self.lifecycle.tasks.spawn(async move {
            let open = async {
                let Some(store) = reached(&mut store).await else { return };
                if let Err(failure) = setup.open(store, &plane).await {
                    error!(error = format!("{failure:#}"), "the control plane does not open: start the server again");
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = open => {}
            }
        });
        Ok(())
    }

    /// On the embedded defaults: the tenant that waits for its owner, made at the first start.
    async fn welcome(&self) -> Result<Option<fanfare_store::Welcome>> {
        let store = self.store.borrow().clone();
        let is_ours = self.database.as_ref().is_some_and(Database::is_private);
        match store {
            Some(store) if is_ours && self.options.role.has_control() => {
                store.auth().welcome(FIRST_TENANT).await.context("the first tenant was not made")
            }
            _ => Ok(None),
        }
    }

    /// Stops everything, in the opposite order.
    async fn stop(mut self) {
        self.lifecycle.stopping.cancel();
        if let Some(node) = self.node.get() {
            let Stop { drain_ms, reconnect_window_ms } = self.options.stop;
            let (within, window) = (Duration::from_millis(drain_ms), Duration::from_millis(reconnect_window_ms));
            node.drain(DrainOptions { within, window }).await;
        }
        self.lifecycle.soft.cancel();
        if let Some(control) = self.control.get()
            && timeout(END_WITHIN, control.finish()).await.is_err()
        {
            warn!("work of the control plane is left unfinished");
        }
        self.lifecycle.wind_down(END_WITHIN).await;
        let store = self.store.send_replace(None);
        if let Some(store) = store
            && timeout(END_WITHIN, store.close()).await.is_err()
        {
            warn!("connections to Postgres did not close");
        }
        if let Some(database) = self.database.take() {
            database.close().await;
        }
        info!("stopped");
    }
}

/// What the control plane is made of, beside the store.
struct ControlSetup {
    options: fanfare_control::Options,
    clock: Arc<SystemClock>,
    public_url: axum::http::Uri,
    gateway_url: axum::http::Uri,
    control: Arc<OnceLock<Control>>,
}

impl ControlSetup {
    async fn open(self, store: Store, plane: &Plane) -> Result<()> {
        let pepper = store.password_pepper().await.context("the password pepper cannot be read")?;
        let Self { options, clock, public_url, gateway_url, control } = self;
        let made = Control::new(Setup { options, store, clock, pepper, public_url, gateway_url });
        plane.open(fanfare_control::router(made.clone()));
        control.set(made).map_err(|_| anyhow!("the control plane was opened twice"))
    }
}

/// Says how connecting ended that went on after the start.
async fn report(connecting: JoinHandle<Result<(), StoreError>>) {
    match connecting.await {
        Ok(Ok(())) => {}
        Ok(Err(failure)) => error!(error = %failure, "Postgres is back, but cannot be used: start the server again"),
        Err(_) => error!("connecting to Postgres panicked"),
    }
}

impl Listeners {
    fn bind(options: &Options) -> Result<Self> {
        let bind = |what: &str, address: SocketAddr| {
            fanfare_gateway::bind(address).with_context(|| {
                format!("cannot listen on {address} for the {what}: is it taken? listen.{what} chooses another")
            })
        };
        let gateway = options.role.has_gateway().then(|| bind("gateway", options.listen.gateway)).transpose()?;
        let control = options.role.has_control().then(|| bind("control", options.listen.control)).transpose()?;
        Ok(Self { gateway, control, private: bind("private", options.listen.private)? })
    }
}

impl Urls {
    fn new(options: &Options, listeners: &Listeners) -> Result<Self> {
        let port = |listener: &Option<TcpListener>, configured: SocketAddr| match listener {
            Some(listener) => listener.local_addr().map(|address| address.port()).context("a listener has no address"),
            None => Ok(configured.port()),
        };
        let scheme = if options.gateway.tls_certificate.is_some() { "https" } else { "http" };
        let local = |scheme: &str, port: u16| format!("{scheme}://localhost:{port}");
        let bare = |url: &String| url.trim_end_matches('/').to_owned();
        let gateway_port = port(&listeners.gateway, options.listen.gateway)?;
        let control_port = port(&listeners.control, options.listen.control)?;
        let private = listeners.private.local_addr().context("a listener has no address")?;
        Ok(Self {
            gateway: options.public.gateway_url.as_ref().map_or_else(|| local(scheme, gateway_port), bare),
            control: options.public.control_url.as_ref().map_or_else(|| local("http", control_port), bare),
            private: format!("http://{private}"),
        })
    }
}
