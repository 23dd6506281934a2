//! The person's MCP servers in a run: how a tool is called, and what agents are given.
//!
//! Both are a command of ours that reads the definition from the person's settings by itself. It is told which
//! definition the run was begun with, and refuses another one.

use std::ffi::OsString;

use co_agents::{McpServer, McpServers};
use co_model::{McpServerPolicy, McpStage};
use co_process::{Program, Stdin, Terminal};

use crate::attempt::Attempt;
use crate::environment::{self, RUN_MARK};

/// The program that calls a tool; its arguments are on its standard input, where no list of processes shows them.
///
/// It gets our own environment: the server's definition names the variables that the server needs, and the server
/// gets no others.
///
/// # Errors
/// A sentence that says why there is no such program.
pub(crate) fn call(attempt: &Attempt, work: &McpStage) -> Result<Program, String> {
    let policy = attempt.state.policy();
    let server = policy.mcp.servers.get(&work.server);
    let server = server.ok_or_else(|| format!("the MCP server `{}` is not switched on", work.server))?;
    let mut argv = command(attempt, "call", server)?;
    argv.extend(["--arguments", "-", "--", &*work.server, &*work.tool].map(OsString::from));
    let options = &attempt.shared.options;
    let mut env: Vec<_> = co_policy::environment::without_ours(&options.environment).cloned().collect();
    let ours = environment::of_the_run(&attempt.state, &options.layout, &attempt.stage, attempt.number);
    env.retain(|(name, _)| !ours.iter().any(|(known, _)| known == name));
    env.extend(ours);
    let stdin = Stdin::Bytes(work.arguments.clone().into_bytes());
    Ok(Program { argv, cwd: attempt.cwd(), env, stdin, terminal: Terminal::Pipes })
}

/// The servers of the run as agents are given them; `None` when nobody switched any on, which leaves an agent its
/// own.
///
/// An agent that does not read the person's Codex settings gets a command of ours for each: the server's variables
/// and headers stay with us.
///
/// # Errors
/// A sentence that says why there is no such command.
pub(crate) fn for_agents(attempt: &Attempt) -> Result<Option<McpServers>, String> {
    let policy = &attempt.state.policy().mcp;
    if policy.is_unset() {
        return Ok(None);
    }
    let text = |word: OsString| {
        word.into_string().map_err(|word| format!("`{}` is not valid Unicode", word.to_string_lossy()))
    };
    // What a server is found by, for agents that hand less on than they were given.
    let names = ["CODEX_HOME", "HOME", RUN_MARK];
    let known = attempt.environment().into_iter().filter(|(name, _)| names.iter().any(|known| name == known));
    let mut environment = Vec::new();
    for (name, value) in known {
        environment.push((text(name)?, text(value)?));
    }
    let mut given = Vec::new();
    for (name, server) in &policy.servers {
        let mut words = command(attempt, "bridge", server)?;
        words.extend(["--", name].map(OsString::from));
        let mut words = words.into_iter();
        let program = words.next().unwrap_or_default();
        given.push(McpServer {
            name: name.clone(),
            command: program.into(),
            arguments: words.map(text).collect::<Result<_, _>>()?,
            environment: environment.clone(),
        });
    }
    Ok(Some(McpServers { given, others: policy.others.clone() }))
}

/// The beginning of a command of ours about a server.
fn command(attempt: &Attempt, verb: &str, server: &McpServerPolicy) -> Result<Vec<OsString>, String> {
    let options = &attempt.shared.options;
    let helper = options.helper.as_ref().ok_or("this process cannot speak with MCP servers")?;
    let mut argv: Vec<OsString> = vec![helper.into(), "--root".into(), options.layout.root.clone().into()];
    argv.extend(["--quiet", "mcp", verb, "--definition", &server.definition].map(OsString::from));
    if let Some(profile) = &attempt.state.policy().mcp.profile {
        argv.extend(["--profile", profile].map(OsString::from));
    }
    Ok(argv)
}
