//! How large a message between machines may be.

/// The largest message that is no rows, in either direction: a plan or a task. Shards are cut to a
/// sixteenth of it; a plan over thousands of files can reach it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The largest message of rows. Rows are cut to far less (see `split`), so only a single row comes
/// near it. HTTP/2 carries a message in frames of a few KiB whatever its size; the length of a gRPC
/// message has 32 bits, and Arrow's offsets end at 2 GiB.
pub(crate) const ROW_BYTES_MAX: usize = 2 * 1024 * 1024 * 1024;

/// The longest ticket. It names a partition of a shard; what takes more is a mistake.
pub(crate) const TICKET_BYTES_MAX: usize = 1024;

/// What a message may have beside the bytes that are limited: tags, lengths, marks, names.
pub(crate) const FRAME_BYTES_MAX: usize = 1024;
