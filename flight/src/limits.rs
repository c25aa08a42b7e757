//! The limits of messages between machines.

/// The largest message without rows, in either direction: a plan or a task. Blocks of shards are
/// cut to a sixteenth of it. A plan over thousands of files can reach it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest message with rows. Batches are cut to far less (see `split`), so that only a single
/// row comes near it. HTTP/2 sends a message in frames of a few KiB whatever its size; the length
/// of a gRPC message has 32 bits, and Arrow's offsets end at 2 GiB.
pub(crate) const ROW_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

/// The longest ticket. It names a partition of a shard; a longer one is a mistake.
pub(crate) const TICKET_BYTES_MAX: usize = 1024;

/// The size that a message may have in addition to its limited bytes: tags, lengths, marks, names.
pub(crate) const FRAME_BYTES_MAX: usize = 1024;
