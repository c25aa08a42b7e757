//! What is seen of machines: what they print, what they use, what they count, where their time goes.

pub(crate) mod line;
pub(crate) mod log;
pub(crate) mod logbook;
pub(crate) mod metrics;
pub(crate) mod profile;
pub(crate) mod vitals;
