//! Decides which machine sends the program to a new one: the driver sends it to the first ones, and
//! machines that have it send it on, one at a time each, so that the driver's uplink carries it a
//! few times for any number of machines. Plain state behind one lock;
//! [`peer_transfer`](super::peer_transfer) does the work.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use url::Url;

/// The most programs that the driver sends at a time: more would only slow down each, and the
/// sooner one has arrived, the sooner it is sent on.
const DRIVER_SENDS_MAX: usize = 2;

/// A machine that has the program of its architecture.
#[derive(Debug)]
struct Peer {
    arch: &'static str,
    url: Url,
    busy: bool,
}

#[derive(Debug, Default)]
struct State {
    /// By instance.
    peers: BTreeMap<String, Peer>,
    /// The number of programs that the driver sends now.
    driver: usize,
}

/// The machines that have the program, and those that are sending it.
#[derive(Debug, Default)]
pub(super) struct Peers {
    state: Mutex<State>,
    freed: Notify,
}

impl Peers {
    /// Adds a running machine, which has the program of its architecture.
    pub(super) fn enter(&self, id: &str, arch: &'static str, url: Url) {
        self.state.lock().peers.insert(id.to_owned(), Peer { arch, url, busy: false });
        self.freed.notify_waiters();
    }

    /// Removes a machine.
    pub(super) fn leave(&self, id: &str) {
        self.state.lock().peers.remove(id);
    }

    /// Waits for a sender of the program for `arch`: a machine rather than the driver.
    pub(super) async fn source(self: &Arc<Self>, arch: &str) -> Source {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // From here on no change is missed.
            freed.as_mut().enable();
            if let Some(source) = self.take(arch) {
                return source;
            }
            freed.await;
        }
    }

    fn take(self: &Arc<Self>, arch: &str) -> Option<Source> {
        let mut state = self.state.lock();
        let State { peers, driver } = &mut *state;
        let free = peers.iter_mut().find(|(_, peer)| peer.arch == arch && !peer.busy);
        let peer = match free {
            Some((id, peer)) => {
                peer.busy = true;
                Some((id.clone(), peer.url.clone()))
            }
            None if *driver < DRIVER_SENDS_MAX => {
                *driver += 1;
                None
            }
            None => return None,
        };
        Some(Source { peers: Arc::clone(self), peer })
    }
}

/// A sender of the program to one machine, until this is dropped.
#[derive(Debug)]
pub(super) struct Source {
    peers: Arc<Peers>,
    /// The machine by instance and address; `None` is the driver.
    peer: Option<(String, Url)>,
}

impl Source {
    /// The URL of the sending machine.
    pub(super) fn peer(&self) -> Option<&Url> {
        self.peer.as_ref().map(|(_, url)| url)
    }

    /// It failed, and is not asked again.
    pub(super) fn failed(&self) {
        if let Some((id, _)) = &self.peer {
            self.peers.leave(id);
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        {
            let mut state = self.peers.state.lock();
            match &self.peer {
                Some((id, _)) => {
                    if let Some(peer) = state.peers.get_mut(id) {
                        peer.busy = false;
                    }
                }
                None => state.driver -= 1,
            }
        }
        self.peers.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(machine: &str) -> Url {
        Url::parse(&format!("https://127.0.0.1:9470/{machine}")).unwrap()
    }

    #[tokio::test]
    async fn machines_go_before_the_driver_and_each_sends_one_at_a_time() {
        let peers = Arc::new(Peers::default());
        let by_driver = [peers.source("arm64").await, peers.source("x86_64").await];
        assert!(by_driver.iter().all(|source| source.peer().is_none()));
        assert!(peers.take("arm64").is_none(), "the driver sends enough");
        peers.enter("i-1", "arm64", url("m1"));
        assert!(peers.take("x86_64").is_none(), "that is another program");
        let first = peers.source("arm64").await;
        assert_eq!(first.peer(), Some(&url("m1")));
        assert!(peers.take("arm64").is_none(), "it is busy");
        let waiting = Arc::clone(&peers);
        // Both at once: one waits until the other is done.
        let (second, ()) = tokio::join!(waiting.source("arm64"), async { drop(first) });
        assert_eq!(second.peer(), Some(&url("m1")));
        // A machine that failed is not asked again; then it is the driver's turn.
        second.failed();
        drop(second);
        assert!(peers.take("arm64").is_none());
        drop(by_driver);
        assert!(peers.source("arm64").await.peer().is_none());
    }
}
