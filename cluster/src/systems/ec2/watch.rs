//! Watches all instances of a session with one call every few seconds: their addresses and states.
//! The lease reports the loss of a machine after its length; this reports it sooner, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance, InstanceStateName};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::api::failed;
use crate::error::{Result, chain};

/// The pause between two calls: a tenth of a percent of an account's request limit.
const PERIOD: Duration = Duration::from_secs(3);
/// The most values that EC2 takes in a filter.
const IDS_MAX: usize = 200;
/// A known instance that is missing this many times in a row is gone.
const MISSES_MAX: u32 = 3;

/// EC2's description of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) running: bool,
    /// Why it ended, if it did.
    pub(super) over: Option<String>,
    pub(super) private: Option<Ipv4Addr>,
    pub(super) public: Option<String>,
    misses: u32,
}

impl Seen {
    fn of(instance: &Instance) -> Self {
        let state = instance.state().and_then(|state| state.name());
        let over = match state {
            None | Some(InstanceStateName::Pending | InstanceStateName::Running) => None,
            Some(state) => {
                let reason = instance.state_reason().and_then(|reason| reason.message());
                let reason = reason.map(|r| format!(" ({r})")).unwrap_or_default();
                Some(format!("the instance is {}{reason}", state.as_str()))
            }
        };
        Self {
            running: state == Some(&InstanceStateName::Running),
            over,
            private: instance.private_ip_address().and_then(|a| a.parse().ok()),
            public: instance.public_dns_name().filter(|n| !n.is_empty()).map(str::to_owned),
            misses: 0,
        }
    }
}

/// Watches instances. Callers that wait for one keep the watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    shared: Arc<Shared>,
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    ec2: Client,
    wanted: Mutex<BTreeSet<String>>,
    seen: watch::Sender<BTreeMap<String, Seen>>,
}

impl Watcher {
    pub(super) fn new(ec2: Client) -> Self {
        let shared =
            Shared { ec2, wanted: Mutex::default(), seen: watch::Sender::new(BTreeMap::new()) };
        Self { shared: Arc::new(shared), task: Mutex::new(None) }
    }

    /// Starts to watch an instance.
    pub(super) fn add(&self, id: &str) {
        self.shared.wanted.lock().insert(id.to_owned());
        let mut task = self.task.lock();
        // The runtime of its task may have ended with an earlier fleet.
        if task.as_ref().is_none_or(|task| task.is_finished()) {
            let shared = Arc::clone(&self.shared);
            let running = Handle::current().spawn(async move { shared.look().await });
            *task = Some(AbortOnDropHandle::new(running));
        }
    }

    /// Stops watching it.
    pub(super) fn remove(&self, id: &str) {
        self.shared.wanted.lock().remove(id);
        self.shared.seen.send_modify(|seen| drop(seen.remove(id)));
    }

    /// Waits until `found` returns a value for the state of the instance.
    pub(super) async fn until<T>(&self, id: &str, found: impl Fn(&Seen) -> Option<T>) -> T {
        let mut all = self.shared.seen.subscribe();
        loop {
            if let Some(value) = all.borrow_and_update().get(id).and_then(&found) {
                return value;
            }
            // Never an error: the sender lives in `self`.
            drop(all.changed().await);
        }
    }
}

impl Shared {
    async fn look(&self) {
        loop {
            let wanted: Vec<String> = self.wanted.lock().iter().cloned().collect();
            for ids in wanted.chunks(IDS_MAX) {
                match self.describe(ids).await {
                    Ok(found) => self.enter(ids, &found),
                    Err(err) => {
                        tracing::warn!(error = %chain(&err), "could not describe the instances");
                    }
                }
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// By filter: unlike a list of ids, it does not fail when one of them is not known yet.
    async fn describe(&self, ids: &[String]) -> Result<BTreeMap<String, Seen>> {
        let filter = Filter::builder().name("instance-id").set_values(Some(ids.to_vec())).build();
        let mut pages = self.ec2.describe_instances().filters(filter).into_paginator().send();
        let mut found = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(failed("describe the instances"))?;
            for instance in page.reservations().iter().flat_map(|r| r.instances()) {
                if let Some(id) = instance.instance_id() {
                    found.insert(id.to_owned(), Seen::of(instance));
                }
            }
        }
        Ok(found)
    }

    fn enter(&self, ids: &[String], found: &BTreeMap<String, Seen>) {
        self.seen.send_modify(|seen| {
            for id in ids {
                match (found.get(id), seen.get_mut(id)) {
                    (Some(now), _) => drop(seen.insert(id.clone(), now.clone())),
                    (None, Some(before)) => {
                        before.misses += 1;
                        if before.misses >= MISSES_MAX && before.over.is_none() {
                            before.over =
                                Some("EC2 does not know the instance any more".to_owned());
                        }
                    }
                    (None, None) => {}
                }
            }
        });
    }
}
