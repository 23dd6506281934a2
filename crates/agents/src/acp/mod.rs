//! Any agent that speaks the Agent Client Protocol, version 1, over its standard streams.
//!
//! The protocol's official types say what goes over the wire; this room is the client: it opens one session, prompts,
//! and answers what the agent asks. It serves no files and no terminals, and says so, so that an agent does such things
//! itself and asks consent for them.
//!
//! What the protocol leaves open is taken strictly: a version that is not 1 is refused, a session that cannot be
//! resumed is never replaced by a fresh one, and a call that says too little to be known for what it does is not taken
//! for a command.

mod calls;
mod command_line;
mod dialogue;

pub use command_line::AcpAgent;
pub use dialogue::AcpDialogue;
