//! The conformance suite: what every store must do, written against the trait.
