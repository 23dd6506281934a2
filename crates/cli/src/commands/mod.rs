//! One module per command, or per family of commands.

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod ask;
pub(crate) mod doctor;
pub(crate) mod exec;
pub(crate) mod init;
pub(crate) mod instructions;
pub(crate) mod logs;
pub(crate) mod mcp;
pub(crate) mod mend;
pub(crate) mod plan;
pub(crate) mod reference;
pub(crate) mod resume;
pub(crate) mod runs;
pub(crate) mod session;
pub(crate) mod start;
pub(crate) mod status;
