//! `bigsql cluster`: manages EC2 machines from any shell, including those of former sessions.
//! Machines are found by their launch tags.

use crate::args::Cluster;
use crate::console::Console;
use crate::error::{Error, Result};
use crate::signals::Signals;

/// Runs a cluster command. A signal stops it; requests already sent to AWS still take effect.
pub(crate) async fn run(cluster: Cluster, console: &Console, signals: &Signals) -> Result<()> {
    tokio::select! {
        signal = signals.next() => Err(Error::Interrupted(signal)),
        done = work(cluster, console) => done,
    }
}

/// Explains how to build a program with EC2 support.
#[cfg(not(feature = "ec2"))]
async fn work(_cluster: Cluster, _console: &Console) -> Result<()> {
    "ec2".parse::<bigslice::SystemSpec>().map(drop).map_err(Error::from)
}

#[cfg(feature = "ec2")]
use with_ec2::work;

#[cfg(feature = "ec2")]
mod with_ec2 {
    //! The commands of a program with EC2 support.

    use std::collections::BTreeSet;
    use std::io::Write;
    use std::time::Duration;

    use bigslice::cluster::ec2::{self, Cleared, Clusters};
    use bigslice::{Error as EngineError, SessionArgs};

    use crate::args::{Cluster, ClusterTask};
    use crate::cell;
    use crate::console::Console;
    use crate::error::{Error, Result};

    /// EC2 takes a minute or two to terminate a machine.
    const STOP_PATIENCE: Duration = Duration::from_secs(5 * 60);

    pub(super) async fn work(cluster: Cluster, console: &Console) -> Result<()> {
        let Cluster { task, region, profile } = cluster;
        if let ClusterTask::Setup { print_policy: true } = task {
            return write(ec2::policy());
        }
        let mut spec = SessionArgs::default().instances()?;
        spec.region = region.or(spec.region);
        spec.profile = profile.or(spec.profile);
        if let ClusterTask::Setup { .. } = task {
            return setup(&spec, console).await;
        }
        let clusters = Clusters::open(spec.region, spec.profile).await.map_err(ours)?;
        match task {
            ClusterTask::Setup { .. } => Ok(()),
            ClusterTask::Ls => list(&clusters, console).await,
            ClusterTask::Stop { name } => stop(&clusters, &name, console).await,
            ClusterTask::Gc => {
                let cleared = clusters.gc().await.map_err(ours)?;
                console.say(&format!("stopped {}", summary(&cleared)));
                Ok(())
            }
            ClusterTask::Logs { name } => logs(&clusters, &name).await,
        }
    }

    async fn setup(spec: &ec2::Ec2Spec, console: &Console) -> Result<()> {
        let checks = ec2::setup(spec).await.map_err(ours)?;
        let mut failed = 0;
        let lines = checks.iter().map(|check| match &check.found {
            Ok(found) => format!("ok      {}: {found}\n", check.what),
            Err(why) => {
                failed += 1;
                format!("failed  {}: {why}\n", check.what)
            }
        });
        let lines: String = lines.collect();
        write(&lines)?;
        if failed > 0 {
            return Err(Error::command_hint(
                format!("{failed} of {} checks failed: machines cannot be started", checks.len()),
                "\"cluster setup --print-policy\" prints the IAM policy that the account's owner must attach",
            ));
        }
        console.say("all checks passed: machines can be started");
        Ok(())
    }

    async fn list(clusters: &Clusters, console: &Console) -> Result<()> {
        let found = clusters.list().await.map_err(ours)?;
        if found.is_empty() {
            console.say("no clusters");
            return Ok(());
        }
        let mut rows =
            vec![["NAME", "MACHINES", "TYPES", "OWNER", "CREATED"].map(str::to_owned).to_vec()];
        for cluster in found {
            let types: BTreeSet<_> =
                cluster.machines.values().map(|(_, kind)| kind.clone()).collect();
            let types = types.into_iter().collect::<Vec<_>>().join(",");
            let machines = cluster.machines.len().to_string();
            rows.push(vec![cluster.name, machines, types, cluster.owner, cluster.created]);
        }
        write(&aligned(&rows))
    }

    async fn stop(clusters: &Clusters, name: &str, console: &Console) -> Result<()> {
        let cleared = clusters.stop(name, STOP_PATIENCE).await.map_err(ours)?;
        if cleared == Cleared::default() {
            return Err(missing(clusters, name).await?);
        }
        console.say(&format!("stopped {}", summary(&cleared)));
        Ok(())
    }

    async fn logs(clusters: &Clusters, name: &str) -> Result<()> {
        let consoles = clusters.logs(name).await.map_err(ours)?;
        if consoles.is_empty() {
            return Err(missing(clusters, name).await?);
        }
        for console in consoles {
            let lines = console.text.lines();
            let lines =
                lines.map(|line| format!("{}: {}\n", console.machine, cell::escape_line(line)));
            let text: String = lines.collect();
            match text.is_empty() {
                true => write(&format!("{}: no console output yet\n", console.machine))?,
                false => write(&text)?,
            }
        }
        Ok(())
    }

    async fn missing(clusters: &Clusters, name: &str) -> Result<Error> {
        let names: Vec<_> =
            clusters.list().await.map_err(ours)?.into_iter().map(|cluster| cluster.name).collect();
        let hint = match names.as_slice() {
            [] => "no cluster runs in this account and region".to_owned(),
            names => format!("running clusters: {}", names.join(", ")),
        };
        Ok(Error::command_hint(format!("there is no cluster \"{name}\""), hint))
    }

    fn summary(cleared: &Cleared) -> String {
        let instances = cell::counted(cleared.instances.len(), "instance");
        let removed = [
            (cleared.groups.len(), "security group"),
            (cleared.templates.len(), "launch template"),
        ];
        let removed = removed.into_iter().filter(|(n, _)| *n > 0);
        let removed: Vec<_> = removed.map(|(n, what)| cell::counted(n, what)).collect();
        match removed.is_empty() {
            true => instances,
            false => format!("{instances}, removed {}", removed.join(" and ")),
        }
    }

    /// Pads each column to its widest cell.
    fn aligned(rows: &[Vec<String>]) -> String {
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
            let line = cells.collect::<Vec<_>>().join("  ");
            format!("{}\n", cell::escape_line(line.trim_end()))
        };
        rows.iter().map(line).collect()
    }

    fn write(text: &str) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|e| Error::io("cannot write to standard output", e))
    }

    fn ours(error: bigslice::cluster::Error) -> Error {
        EngineError::from(error).into()
    }
}
