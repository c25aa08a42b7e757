//! The limit of open files of this process.

/// Connections and spilled files together easily exceed the usual soft limit of 1024, which exists
/// for programs that use `select`. Goes on with the limit that there is if it cannot be raised.
pub(crate) fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(err) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(error = %err, "could not raise the limit of open files");
    }
}
