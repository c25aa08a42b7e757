//! The life of a worker, the same for a process of its own and for tasks of the driver's process:
//! join the session, serve until asked to stop. [`run_worker`](crate::run_worker) or
//! [`InProcess`](crate::InProcess) watch for any other end: a lapsed lease, a driver that is gone,
//! a kill.

pub(crate) mod codec;
pub(crate) mod control;
mod lease;
mod server;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use tonic::service::Routes;

use crate::error::{BoxError, Error, Result, chain};
use crate::faults::Faults;
use crate::identity::Peer;
use crate::observe::metrics::Metrics;
use crate::requirements::Requirements;
use crate::security::connector::Connector;
use crate::security::credentials::{self, Credentials};
use crate::security::enrolment::{self, Admission, Application};
use crate::service::worker_context::WorkerContext;
use crate::service::{Cpu, Host};
use crate::worker::control::{ControlService, ProfilingHere};
use crate::worker::lease::Lease;
use crate::worker::server::Server;

/// Makes the services of a worker. Called once on each worker, after it knows its identity and
/// before it can be called. They run on the I/O runtime: computations belong on threads of their
/// own.
pub type ServiceFactory =
    Arc<dyn Fn(WorkerContext) -> BoxFuture<'static, Result<Routes, BoxError>> + Send + Sync>;

/// Makes no services: those of [`FleetConfig::services`](crate::FleetConfig::services) are enough.
pub(crate) fn nothing() -> ServiceFactory {
    Arc::new(|_| Box::pin(async { Ok(Routes::default()) }))
}

/// Adds services to a worker's own.
pub(crate) type MoreRoutes = fn(Routes, &Credentials) -> Routes;

/// A worker that has joined a session but has no services yet.
pub(crate) struct Entrant {
    server: Server,
    credentials: Credentials,
    context: WorkerContext,
    requirements: Requirements,
    lease: Duration,
    metrics: Metrics,
    within_driver: bool,
    /// Adds services that only some systems' machines have.
    more: Option<MoreRoutes>,
}

impl Entrant {
    /// Joins the session of the driver at the other end of `stream`.
    pub(crate) async fn enrol<S>(stream: &mut S, scratch: PathBuf) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let offer = enrolment::receive_offer(stream).await?;
        let key = credentials::Application::new()?;
        let server = Server::bind(offer.bind).await?;
        let application = Application {
            address: server.address(),
            pid: std::process::id(),
            request: key.request().to_vec(),
        };
        enrolment::send(stream, &application).await?;
        let admission: Admission = enrolment::receive(stream).await?;
        let credentials = Credentials::new(
            Peer::worker(offer.session.clone(), offer.machine.clone()),
            CertificateDer::from(offer.root),
            &key,
            CertificateDer::from(admission.certificate),
        )?;
        let metrics = Metrics::new().map_err(|err| Error::Metrics(err.to_string()))?;
        let context = WorkerContext {
            session: offer.session,
            url: enrolment::machine_url(server.address(), &offer.machine)?,
            machine: offer.machine,
            settings: Bytes::from(offer.settings),
            scratch,
            connector: Connector::new(credentials.clone(), Handle::current())?,
            metrics: metrics.registry.clone(),
        };
        Ok(Self {
            server,
            credentials,
            context,
            requirements: offer.requirements,
            lease: offer.lease,
            metrics,
            within_driver: false,
            more: None,
        })
    }

    /// The same, for a worker that is tasks of its driver's process.
    pub(crate) fn within_driver(self) -> Self {
        Self { within_driver: true, ..self }
    }

    /// The same, with services in addition to the user's.
    #[cfg(feature = "ec2")]
    pub(crate) fn with_routes(self, more: MoreRoutes) -> Self {
        Self { more: Some(more), ..self }
    }

    /// The same, with faults below its own connections.
    pub(crate) fn with_faults(mut self, faults: Option<Faults>) -> Self {
        self.context.connector = self.context.connector.with_faults(faults);
        self
    }

    /// Makes its services. The result must be reported to the driver as an [`Outcome`]. They are
    /// made in a task of their own, so that a factory that blocks or panics is only a machine that
    /// does not start.
    ///
    /// [`Outcome`]: crate::security::enrolment::Outcome
    pub(crate) async fn furnish(self, services: &ServiceFactory, cpu: &Cpu) -> Result<Worker> {
        let machine = self.context.machine.clone();
        let scratch = self.context.scratch.clone();
        let failed = |reason: String| Error::Start { machine, reason };
        let hosted =
            Host::set_up(&self.requirements, self.context.clone(), &self.metrics, cpu).await;
        let (host, calls) = match hosted {
            Ok(hosted) => hosted.unzip(),
            Err(reason) => return Err(failed(reason)),
        };
        let making = Handle::current().spawn(services(self.context));
        let routes = match AbortOnDropHandle::new(making).await {
            Ok(Ok(routes)) => routes,
            Ok(Err(err)) => return Err(failed(chain(&*err))),
            Err(err) => return Err(failed(format!("its services could not be made: {err}"))),
        };
        let lease = Lease::new(self.lease);
        let stop = CancellationToken::new();
        let control = ControlService {
            lease: lease.clone(),
            credentials: self.credentials.clone(),
            scratch,
            within_driver: self.within_driver,
            metrics: self.metrics.clone(),
            profiling: ProfilingHere::default(),
            stop: stop.clone(),
        };
        let mut routes = routes.add_service(control);
        if let Some(more) = self.more {
            routes = more(routes, &self.credentials);
        }
        if let Some(host) = host {
            routes = routes.add_service(host);
        }
        let Self { server, credentials, metrics, .. } = self;
        Ok(Worker { server, routes, credentials, lease, metrics, stop, _calls: calls })
    }
}

/// A worker that is ready to serve.
pub(crate) struct Worker {
    server: Server,
    routes: Routes,
    credentials: Credentials,
    pub(crate) lease: Lease,
    metrics: Metrics,
    stop: CancellationToken,
    /// Ends the calls of its services when it is dropped.
    _calls: Option<DropGuard>,
}

impl Worker {
    /// Serves until the driver asks the worker to stop.
    pub(crate) async fn serve(self) -> Result<()> {
        self.server.run(&self.credentials, self.routes, &self.metrics, self.stop).await
    }
}
