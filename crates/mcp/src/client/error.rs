//! Why a server gave no answer.

use std::io;
use std::time::Duration;

/// Says why a server gave no answer. Holds nothing of the values of variables and headers.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The asynchronous runtime could not be set up.
    #[error("failed to set the client up")]
    Runtime {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server's program could not be started.
    #[error("failed to start the MCP server `{server}` (`{}`)", .command.escape_debug())]
    Start {
        /// The server.
        server: String,
        /// Its program.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A variable that its definition names is not set.
    #[error("the MCP server `{server}` needs the variable `{}`, which is not set", .variable.escape_debug())]
    MissingVariable {
        /// The server.
        server: String,
        /// The variable.
        variable: String,
    },
    /// A header that no request can carry.
    #[error("the header `{}` of the MCP server `{server}` cannot be sent", .header.escape_debug())]
    Header {
        /// The server.
        server: String,
        /// The header's name.
        header: String,
    },
    /// No request can be made at all.
    #[error("failed to set HTTP up for the MCP server `{server}`: {detail}")]
    Http {
        /// The server.
        server: String,
        /// Why.
        detail: String,
    },
    /// It did not become ready in time.
    #[error("the MCP server `{server}` was not ready after {} s{}", .after.as_secs_f64(), beside(.printed.as_ref()))]
    StartTimeout {
        /// The server.
        server: String,
        /// How long it had.
        after: Duration,
        /// What it printed where a message was expected.
        printed: Option<String>,
    },
    /// It did not begin as the protocol wants.
    #[error("the MCP server `{server}` did not begin as the protocol wants: {detail}{}", beside(.printed.as_ref()))]
    Handshake {
        /// The server.
        server: String,
        /// What it did.
        detail: String,
        /// What it printed where a message was expected.
        printed: Option<String>,
    },
    /// It ended, or hung up, while it was needed.
    #[error("the MCP server `{server}` ended before it answered ({how})")]
    Died {
        /// The server.
        server: String,
        /// How, as far as was seen.
        how: String,
    },
    /// The definition takes the tool out of use.
    #[error("your Codex settings take the tool `{}` of the MCP server `{server}` out of use", .tool.escape_debug())]
    NotInUse {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
    /// It has no such tool.
    #[error("the MCP server `{server}` has no tool `{}`", .tool.escape_debug())]
    UnknownTool {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// What it has.
        known: Vec<String>,
    },
    /// The arguments are not what the tool takes.
    #[error("the arguments are not what the tool `{tool}` takes: {}", .problems.join("; "))]
    Arguments {
        /// The tool.
        tool: String,
        /// What is wrong, with the place in the arguments; at most five.
        problems: Vec<String>,
    },
    /// The server answered with an error of the protocol.
    #[error("the MCP server `{server}` refused the call of `{tool}`: {detail}")]
    Refused {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// What it said.
        detail: String,
    },
    /// The tool did not answer in time.
    #[error("the tool `{tool}` of the MCP server `{server}` did not answer within {} s", .after.as_secs_f64())]
    ToolTimeout {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
        /// How long it had.
        after: Duration,
    },
}

fn beside(line: Option<&String>) -> String {
    line.map(|line| format!("; it printed `{}`", line.escape_debug())).unwrap_or_default()
}
