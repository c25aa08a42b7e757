//! Profiles all machines at the same time, including those that start while the profile is taken.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result, chain};
use crate::fleet::keeper::FleetState;
use crate::identity::MachineName;
use crate::machine::{Machine, State};
use crate::observe::profile::{Hertz, Profile, Sampler, Stacks};
use crate::observe::usage::now_ms;

/// A profile that is not finished ends after this.
pub(super) const PROFILE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long machines may take to answer after the profile has ended. They resolve the names of
/// functions first, which takes time, and may be busy.
const ANSWER_GRACE: Duration = Duration::from_secs(60);
/// The pause between two messages to machines.
const END_PAUSE: Duration = Duration::from_millis(500);
/// The reason for a broken connection is known within this time.
const REASON_GRACE: Duration = Duration::from_millis(200);
/// How long machines may take until they take samples: each first reads the program's debug
/// information.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a machine may take to hear that the profile has ended.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A running profile. Dropping it cancels it on all machines.
#[derive(Debug)]
pub struct Profiling {
    end: CancellationToken,
    task: AbortOnDropHandle<Result<Profile>>,
    last: LastProfile,
}

/// The last profile that was taken, for the dump.
pub(crate) type LastProfile = Arc<Mutex<Option<Profile>>>;

impl Profiling {
    /// Ends the profile and collects the samples, which takes at most a minute: machines that do
    /// not answer by then are left out.
    ///
    /// # Errors
    /// If there are no samples of the driver's process.
    pub async fn finish(self) -> Result<Profile> {
        self.end.cancel();
        match self.task.await {
            Ok(Ok(profile)) => {
                *self.last.lock() = Some(profile.clone());
                Ok(profile)
            }
            Ok(Err(err)) => Err(err),
            Err(err) => Err(Error::Profile(format!("it was cancelled: {err}"))),
        }
    }
}

/// Starts a profile of this process and of the machines of `state`, in tasks of the caller's
/// runtime.
pub(crate) async fn begin(
    state: Option<Arc<FleetState>>,
    hertz: Hertz,
    last: &LastProfile,
) -> Result<Profiling> {
    let sampler = Sampler::begin(hertz).await?;
    let end = CancellationToken::new();
    let (begun, all_begun) = oneshot::channel();
    let task = Handle::current().spawn(collect(state, sampler, hertz, begun, end.clone()));
    let task = AbortOnDropHandle::new(task);
    // An error means that the task is gone; finishing the profile reports it.
    all_begun.await.unwrap_or_default();
    Ok(Profiling { end, task, last: Arc::clone(last) })
}

type Answer = (MachineName, Result<Stacks>);

async fn collect(
    state: Option<Arc<FleetState>>,
    sampler: Sampler,
    hertz: Hertz,
    begun: oneshot::Sender<()>,
    end: CancellationToken,
) -> Result<Profile> {
    // Machines within the driver are part of its profile.
    let state = state.filter(|state| !state.system.is_within_driver());
    let mut answers: JoinSet<Answer> = JoinSet::new();
    let mut asked: BTreeMap<MachineName, Machine> = BTreeMap::new();
    let mut changes = state.as_ref().map(|state| state.registry.changes());
    let mut ask_all = |asked: &mut BTreeMap<MachineName, Machine>| {
        let Some(state) = &state else { return };
        for machine in state.registry.running() {
            if !asked.contains_key(machine.name()) {
                asked.insert(machine.name().clone(), machine.clone());
                answers.spawn(ask(Arc::clone(state), machine, hertz));
            }
        }
    };
    ask_all(&mut asked);
    send_all(state.as_ref(), asked.values(), Word::Begun).await;
    // Without a receiver if the profile was cancelled.
    let _ = begun.send(());
    let (began, began_ms) = (Instant::now(), now_ms());
    let over = tokio::time::sleep(PROFILE_MAX);
    tokio::pin!(over);
    loop {
        ask_all(&mut asked);
        let changed = async {
            match &mut changes {
                // Never an error: the registry lives in the fleet.
                Some(changes) => drop(changes.changed().await),
                None => pending().await,
            }
        };
        tokio::select! {
            () = end.cancelled() => break,
            () = &mut over => break,
            () = changed => {}
        }
    }
    let lasted = began.elapsed();
    let ending = async {
        // A machine may hear of the end before the start, so the message is repeated until it
        // answers.
        let sending = async {
            loop {
                send_all(state.as_ref(), asked.values(), Word::End).await;
                tokio::time::sleep(END_PAUSE).await;
            }
        };
        tokio::select! {
            answered = gather(answers) => answered,
            () = sending => Vec::new(),
        }
    };
    let (own, answered) = tokio::join!(sampler.finish(), ending);
    let (parts, missing) = shares(own?, asked.into_keys(), answered);
    Ok(Profile { hertz, began_ms, lasted, parts, missing })
}

/// The samples of each machine, and the reasons why others have none.
fn shares(
    own: Stacks,
    asked: impl Iterator<Item = MachineName>,
    answered: Vec<Answer>,
) -> (BTreeMap<MachineName, Stacks>, BTreeMap<MachineName, String>) {
    let mut parts = BTreeMap::from([(MachineName::driver(), own)]);
    let mut missing = BTreeMap::new();
    let mut silent: BTreeSet<MachineName> = asked.collect();
    for (machine, answer) in answered {
        silent.remove(&machine);
        match answer {
            Ok(stacks) => drop(parts.insert(machine, stacks)),
            Err(err) => drop(missing.insert(machine, chain(&err))),
        }
    }
    let late = format!("no answer within {} s", ANSWER_GRACE.as_secs());
    missing.extend(silent.into_iter().map(|machine| (machine, late.clone())));
    (parts, missing)
}

/// Profiles one machine.
async fn ask(state: Arc<FleetState>, machine: Machine, hertz: Hertz) -> Answer {
    let answer = async {
        let url = machine.url().ok_or(Error::Closed)?;
        state.control(&machine, url).await?.profile(hertz, PROFILE_MAX).await
    };
    let stopped = async {
        machine.wait(State::Stopped).await;
        let reason = machine.err().unwrap_or_else(|| "it was stopped".to_owned());
        Error::Profile(format!("the machine has ended: {reason}"))
    };
    tokio::pin!(stopped);
    let answer = tokio::select! {
        biased;
        answer = answer => match answer {
            Ok(stacks) => Ok(stacks),
            // A broken connection is most often the end of the machine, which gives the better
            // reason.
            Err(err) => {
                Err(tokio::time::timeout(REASON_GRACE, &mut stopped).await.unwrap_or(err))
            }
        },
        stopped = &mut stopped => Err(stopped),
    };
    (machine.name().clone(), answer)
}

/// A message to a machine about its profile.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// Has it started? Answered when it has.
    Begun,
    /// It has ended.
    End,
}

/// Sends a message to all machines and waits until each has received it.
async fn send_all(
    state: Option<&Arc<FleetState>>,
    machines: impl Iterator<Item = &Machine>,
    word: Word,
) {
    let Some(state) = state else { return };
    let mut sending = JoinSet::new();
    for machine in machines {
        let (state, machine) = (Arc::clone(state), machine.clone());
        sending.spawn(async move {
            let Some(url) = machine.url() else { return };
            let sent = async {
                let control = state.control(&machine, url).await?;
                match word {
                    Word::Begun => control.profile_begun(BEGIN_TIMEOUT).await,
                    Word::End => control.end_profile(END_TIMEOUT).await,
                }
            };
            if let Err(err) = sent.await {
                let error = chain(&err);
                tracing::debug!(machine = %machine.name(), ?word, error, "no answer");
            }
        });
    }
    while sending.join_next().await.is_some() {}
}

/// The answers of machines that arrive in time.
async fn gather(mut answers: JoinSet<Answer>) -> Vec<Answer> {
    let deadline = Instant::now() + ANSWER_GRACE;
    let mut gathered = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.join_next()).await {
        match answer {
            Ok(answer) => gathered.push(answer),
            Err(err) => tracing::error!(error = %err, "could not read the profile of a machine"),
        }
    }
    gathered
}
