//! One instance of a fleet: how it is waited for, watched and ended. Made as soon as EC2 has named
//! the instance, so that any later failure ends it.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Inner;
use super::boot::Secret;
use super::bootstrap::Bootstrap;
use super::dial;
use super::link::{End, Link};
use super::plan::Plan;
use super::value::Reach;
use crate::error::{Error, Result, chain};
use crate::identity::Peer;
use crate::machine::system::{Instance, Launch};
use crate::security::authority::Validity;
use crate::security::credentials::Credentials;
use crate::security::enrolment::Enrolled;

/// The reason for a failed enrolment is known within this: the last output comes first.
const END_GRACE: Duration = Duration::from_secs(2);

/// An instance; dropping it terminates it.
#[derive(Debug)]
pub(super) struct Ec2Machine {
    inner: Arc<Inner>,
    id: String,
    runtime: Handle,
    link: Mutex<Option<Arc<Link>>>,
    killed: AtomicBool,
    terminated: watch::Sender<bool>,
}

impl Ec2Machine {
    /// Takes charge of the instance `id`, in the zone counted by `inner`.
    pub(super) fn new(inner: Arc<Inner>, id: String) -> Self {
        inner.watcher.add(&id);
        Self {
            inner,
            id,
            runtime: Handle::current(),
            link: Mutex::new(None),
            killed: AtomicBool::new(false),
            terminated: watch::Sender::new(false),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Waits for the instance. Returns its own address and the host by which the driver reaches it,
    /// or why there is none.
    async fn address(&self) -> Result<(Ipv4Addr, String), String> {
        let reach = self.inner.spec.reach;
        let found = self.inner.watcher.until(&self.id, |seen| {
            let host = match reach {
                Reach::Private => seen.private.map(|address| address.to_string()),
                Reach::Public => seen.public.clone(),
            };
            let place = seen.running.then_some(seen.private).flatten().zip(host);
            seen.over.clone().map(Err).or(place.map(Ok))
        });
        found.await
    }

    /// Waits for the instance, sends its program and enrols its worker.
    pub(super) async fn enrol(
        &self,
        launch: &Launch,
        secret: &Secret,
        plan: &Plan,
        arch: &'static str,
    ) -> Result<Enrolled> {
        let over = |reason: String| Error::Start { machine: launch.machine.clone(), reason };
        let (private, host) = self.address().await.map_err(over)?;
        let port = self.inner.spec.port;
        let authority = &launch.enroler.authority;
        let validity =
            Validity { until: secret.until, ..Validity::lasting(super::boot::BOOT_TIME) };
        let driver = Peer::driver(authority.session().clone());
        let credentials = Credentials::issue(authority, driver, validity)?;
        let address = format!("{host}:{port}");
        let pinned = secret.pinned();
        let mut stream = tokio::select! {
            stream = dial::dial(&address, &pinned, &credentials) => stream?,
            reason = self.over() => return Err(over(reason)),
        };
        let source = self.inner.peers.source(arch).await;
        let bootstrap = Bootstrap {
            stream: &mut stream,
            address: &address,
            pinned,
            env: &self.inner.spec.env,
            files: &plan.payload,
            program: &plan.boots[arch].program,
        };
        if !bootstrap.give(source.peer(), &credentials).await? {
            source.failed();
        }
        drop(source);
        let rebalance = self.inner.spec.rebalance;
        let (link, mut channel, admitted) = Link::start(stream, &launch.log, rebalance);
        let link = Arc::new(link);
        *self.link.lock() = Some(Arc::clone(&link));
        let bind = SocketAddrV4::new(private, port);
        let enrolling = launch.enroler.enrol_at(&mut channel, &launch.machine, bind).await;
        let mut enrolled = match enrolling {
            // The conversation broke off. The link knows the reason in a moment.
            Err(err @ Error::Enrolment(_)) => {
                return match tokio::time::timeout(END_GRACE, link.ended()).await {
                    Ok(End::Told(reason)) => Err(over(reason)),
                    Ok(End::Broken(reason)) => {
                        Err(over(format!("the connection to it broke: {reason}")))
                    }
                    Err(_) => Err(err),
                };
            }
            enrolling => enrolling?,
        };
        drop(channel);
        // Fails only if the link has ended, which is noticed at once.
        let _ = admitted.send(());
        // It has no process on this host.
        enrolled.pid = None;
        if enrolled.url.set_host(Some(&host)).is_err() {
            return Err(Error::Identity(format!("\"{host}\" is not the address of a machine")));
        }
        self.inner.peers.enter(&self.id, arch, enrolled.url.clone());
        Ok(enrolled)
    }

    async fn over(&self) -> String {
        self.inner.watcher.until(&self.id, |seen| seen.over.clone()).await
    }
}

#[async_trait]
impl Instance for Ec2Machine {
    fn kill(&self) {
        self.link.lock().take();
        self.inner.peers.leave(&self.id);
        if self.killed.swap(true, Ordering::Relaxed) {
            return;
        }
        let (inner, id) = (Arc::clone(&self.inner), self.id.clone());
        let terminated = self.terminated.clone();
        self.inner.background_calls.run(&self.runtime, async move {
            if let Err(err) = inner.terminate(&id).await {
                tracing::error!(instance = id, error = %chain(&err), "could not terminate an instance");
            }
            terminated.send_replace(true);
        });
    }

    async fn ended(&self) -> String {
        let link = self.link.lock().clone();
        let told = async {
            match link {
                Some(link) => match link.ended().await {
                    End::Told(reason) => reason,
                    // The instance or the network may have ended. EC2 reports the first, the lease
                    // the second.
                    End::Broken(reason) => {
                        tracing::info!(instance = self.id, reason, "the connection broke");
                        std::future::pending().await
                    }
                },
                None => std::future::pending().await,
            }
        };
        let mut terminated = self.terminated.subscribe();
        tokio::select! {
            reason = told => reason,
            reason = self.over() => reason,
            _ = terminated.wait_for(|terminated| *terminated) => "terminated".to_owned(),
        }
    }

    async fn leaving(&self) -> String {
        let link = self.link.lock().clone();
        match link {
            Some(link) => link.noticed().await,
            None => std::future::pending().await,
        }
    }

    async fn close(&self) {
        self.kill();
        let mut terminated = self.terminated.subscribe();
        // Never an error: the sender lives in `self`.
        drop(terminated.wait_for(|terminated| *terminated).await);
    }
}

impl Drop for Ec2Machine {
    fn drop(&mut self) {
        self.kill();
        self.inner.watcher.remove(&self.id);
        self.inner.zone.lock().leave();
    }
}
