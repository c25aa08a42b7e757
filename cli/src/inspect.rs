//! The shell commands `.dump` and `.profile`, which inspect the session and its machines.

use std::fs::{self, File};
use std::path::Path;

use bigslice::{Grouping, Hertz, Statement};

use crate::error::{Error, Result};
use crate::report::Origin;
use crate::shell::{Flow, Shell, Stopped};

impl Shell {
    /// Writes everything known about the session and its machines to one zip archive.
    pub(crate) async fn dump(&self, path: &Path) -> Result<()> {
        let failed = |e| Error::io(format!("cannot write \"{}\"", path.display()), e);
        let file = File::create(path).map_err(failed)?;
        let dumped = self.session.inspector().dump(file).await;
        dumped.map_err(|e| {
            // Half an archive is useless.
            let _ = fs::remove_file(path);
            Error::command(e.to_string())
        })
    }

    /// Runs a statement and writes a CPU profile of all machines: a flame graph if the file name
    /// ends in `.svg`, otherwise the format of `go tool pprof`. Reports errors to the user.
    pub(crate) async fn profile(
        &mut self,
        path: &Path,
        statement: String,
        origin: Origin<'_>,
    ) -> Stopped<Flow> {
        let began = self.session.inspector().start_profile(Hertz::default()).await;
        let refused = |e: String| Error::command(e);
        let profiling = match began {
            Ok(profiling) => profiling,
            Err(e) => return Err(self.report(&refused(e.to_string()), None, origin)),
        };
        let text = statement.trim_end().trim_end_matches(';').to_owned();
        let statement = Statement { text, line: origin.line, column: 1 };
        if let Err(e) = self.statement(&statement).await {
            return Err(self.report(&e, Some(&statement), origin));
        }
        let written = match profiling.finish().await {
            Err(e) => Err(refused(e.to_string())),
            Ok(profile) => {
                let is_svg = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"));
                let bytes = match is_svg {
                    true => profile.to_flame_graph(Grouping::Together).into_bytes(),
                    false => profile.to_pprof(),
                };
                self.console.say(&profile.summary());
                let failed = |e| Error::io(format!("cannot write \"{}\"", path.display()), e);
                fs::write(path, bytes).map_err(failed)
            }
        };
        match written {
            Ok(()) => Ok(Flow::Continue),
            Err(e) => Err(self.report(&e, None, origin)),
        }
    }
}
