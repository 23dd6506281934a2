//! Pipeline files, repository detection, settings and where each value came from.
