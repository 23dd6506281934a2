//! The few questions and changes we ask of git.
