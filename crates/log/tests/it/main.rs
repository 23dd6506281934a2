//! What the stored format promises.

mod fixtures;
mod format;
mod samples;
