//! No code: this crate only names dependencies, so that every build of one member of the workspace
//! resolves the same features as a build of all of them. See its `Cargo.toml`.
