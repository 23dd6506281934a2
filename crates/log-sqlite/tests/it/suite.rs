//! The suite every store must pass.

co_log::event_log_suite!(crate::support::new_log);
