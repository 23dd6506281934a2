//! Claude Code, through `claude -p` with JSON Lines in both directions.
//!
//! Facts this room is built on, seen with Claude Code 2.1.330: permission prompts come over stdout as `control_request`
//! when the permission tool is called `stdio`, and an allowance without an input lets the call run as it was shown; a
//! failed request to the model ends in a `result` of subtype `success` that is an error all the same; costs and the
//! tokens by model count the whole session, other tokens one turn; a message that is sent in mid-turn is echoed when it
//! is taken up; a session that cannot be resumed is refused, never replaced.

mod command_line;
mod transcript;
mod wire;

pub use command_line::ClaudeCode;
pub use transcript::ClaudeDialogue;
