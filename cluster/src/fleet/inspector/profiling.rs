//! Has all machines profiled at the same time, also those that come while the profile is taken.

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
use crate::fleet::keeper::Post;
use crate::identity::MachineName;
use crate::machine::{Machine, State};
use crate::observe::profile::{Hertz, Profile, Sampler, Stacks};
use crate::observe::vitals::now_ms;

/// A profile that nobody ends is ended after this.
pub const PROFILE_MAX: Duration = Duration::from_secs(60 * 60);
/// How long machines may take to answer once the profile has ended. They find the names of functions
/// first, which is work, and may be busy.
const ANSWER_GRACE: Duration = Duration::from_secs(60);
/// Between two times that machines are told.
const END_PAUSE: Duration = Duration::from_millis(500);
/// The reason why a connection broke is known within this.
const REASON_GRACE: Duration = Duration::from_millis(200);
/// How long machines are waited for until they take samples: each reads first what is known of the
/// program's functions.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a machine may take to hear that the profile is over.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A profile that is being taken. Dropping it gives it up on all machines.
#[derive(Debug)]
pub struct Profiling {
    end: CancellationToken,
    task: AbortOnDropHandle<Result<Profile>>,
    last: LastProfile,
}

/// The last profile that was taken, for the dump.
pub(crate) type LastProfile = Arc<Mutex<Option<Profile>>>;

impl Profiling {
    /// Ends it and gathers what machines have seen. At most a minute later it is there: machines that
    /// do not answer by then are left out.
    ///
    /// # Errors
    /// If nothing was seen of the driver's process itself.
    pub async fn finish(self) -> Result<Profile> {
        self.end.cancel();
        match self.task.await {
            Ok(Ok(profile)) => {
                *self.last.lock() = Some(profile.clone());
                Ok(profile)
            }
            Ok(Err(err)) => Err(err),
            Err(err) => Err(Error::Profile(format!("it was given up: {err}"))),
        }
    }
}

/// Begins to take a profile of this process and of the machines of `post`, by tasks of the caller's
/// runtime.
pub(crate) async fn begin(
    post: Option<Arc<Post>>,
    hertz: Hertz,
    last: &LastProfile,
) -> Result<Profiling> {
    let sampler = Sampler::begin(hertz).await?;
    let end = CancellationToken::new();
    let (begun, all_begun) = oneshot::channel();
    let task = Handle::current().spawn(collect(post, sampler, hertz, begun, end.clone()));
    let task = AbortOnDropHandle::new(task);
    // An error means that the task is gone, which whoever finishes the profile learns.
    all_begun.await.unwrap_or_default();
    Ok(Profiling { end, task, last: Arc::clone(last) })
}

type Answer = (MachineName, Result<Stacks>);

async fn collect(
    post: Option<Arc<Post>>,
    sampler: Sampler,
    hertz: Hertz,
    begun: oneshot::Sender<()>,
    end: CancellationToken,
) -> Result<Profile> {
    // Machines within the driver are in its own share.
    let post = post.filter(|post| !post.system.is_within_driver());
    let mut answers: JoinSet<Answer> = JoinSet::new();
    let mut asked: BTreeMap<MachineName, Machine> = BTreeMap::new();
    let mut changes = post.as_ref().map(|post| post.roster.changes());
    let mut ask_all = |asked: &mut BTreeMap<MachineName, Machine>| {
        let Some(post) = &post else { return };
        for machine in post.roster.running() {
            if !asked.contains_key(machine.name()) {
                asked.insert(machine.name().clone(), machine.clone());
                answers.spawn(ask(Arc::clone(post), machine, hertz));
            }
        }
    };
    ask_all(&mut asked);
    tell_all(post.as_ref(), asked.values(), Word::Begun).await;
    // Nobody listens any more if it was given up.
    let _ = begun.send(());
    let (began, began_ms) = (Instant::now(), now_ms());
    let over = tokio::time::sleep(PROFILE_MAX);
    tokio::pin!(over);
    loop {
        ask_all(&mut asked);
        let changed = async {
            match &mut changes {
                // Never an error: the roster lives in the fleet.
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
        // A machine may hear of the end before the beginning, so that it is told until it answers.
        let telling = async {
            loop {
                tell_all(post.as_ref(), asked.values(), Word::End).await;
                tokio::time::sleep(END_PAUSE).await;
            }
        };
        tokio::select! {
            answered = gather(answers) => answered,
            () = telling => Vec::new(),
        }
    };
    let (own, answered) = tokio::join!(sampler.finish(), ending);
    let (parts, missing) = shares(own?, asked.into_keys(), answered);
    Ok(Profile { hertz, began_ms, lasted, parts, missing })
}

/// What was seen of each machine, and why nothing was of the others.
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

/// Has one machine profiled.
async fn ask(post: Arc<Post>, machine: Machine, hertz: Hertz) -> Answer {
    let answer = async {
        let url = machine.url().ok_or(Error::Closed)?;
        post.control(&machine, url).await?.profile(hertz, PROFILE_MAX).await
    };
    let stopped = async {
        machine.wait(State::Stopped).await;
        let reason = machine.err().unwrap_or_else(|| "it was stopped".to_owned());
        Error::Profile(format!("the machine is gone: {reason}"))
    };
    tokio::pin!(stopped);
    let answer = tokio::select! {
        biased;
        answer = answer => match answer {
            Ok(stacks) => Ok(stacks),
            // A connection that breaks is most often a machine that ends, which says it better.
            Err(err) => {
                Err(tokio::time::timeout(REASON_GRACE, &mut stopped).await.unwrap_or(err))
            }
        },
        stopped = &mut stopped => Err(stopped),
    };
    (machine.name().clone(), answer)
}

/// What a machine is told, or asked, about its profile.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// Whether it has begun; answered when it has.
    Begun,
    /// That it is over.
    End,
}

/// Says something to all machines, and waits until each has heard it.
async fn tell_all(post: Option<&Arc<Post>>, machines: impl Iterator<Item = &Machine>, word: Word) {
    let Some(post) = post else { return };
    let mut telling = JoinSet::new();
    for machine in machines {
        let (post, machine) = (Arc::clone(post), machine.clone());
        telling.spawn(async move {
            let Some(url) = machine.url() else { return };
            let told = async {
                let control = post.control(&machine, url).await?;
                match word {
                    Word::Begun => control.profile_begun(BEGIN_TIMEOUT).await,
                    Word::End => control.end_profile(END_TIMEOUT).await,
                }
            };
            if let Err(err) = told.await {
                let error = chain(&err);
                tracing::debug!(machine = %machine.name(), ?word, error, "no answer");
            }
        });
    }
    while telling.join_next().await.is_some() {}
}

/// What machines answer in time.
async fn gather(mut answers: JoinSet<Answer>) -> Vec<Answer> {
    let deadline = Instant::now() + ANSWER_GRACE;
    let mut gathered = Vec::new();
    while let Ok(Some(answer)) = tokio::time::timeout_at(deadline, answers.join_next()).await {
        match answer {
            Ok(answer) => gathered.push(answer),
            Err(err) => tracing::error!(error = %err, "asking a machine for its profile"),
        }
    }
    gathered
}
