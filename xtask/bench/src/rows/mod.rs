//! One module per row of the table.

pub(crate) mod calls;
pub(crate) mod event_log;
pub(crate) mod further_stages;
pub(crate) mod many_runs;
pub(crate) mod one_stage;
pub(crate) mod output;
pub(crate) mod session;
pub(crate) mod start_up;
