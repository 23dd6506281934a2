//! The event log's stored format, the store trait and its conformance suite.
