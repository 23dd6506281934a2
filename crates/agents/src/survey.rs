//! Looks which agents a machine has, and says how well this version of us knows them.
//!
//! Starts nothing: whoever asks runs `--version` and hands in what was printed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::codex;
use crate::driver::{AgentRequest, KNOWN_AGENTS, PrepareError, driver_for};

/// Describes one agent as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentSurvey {
    /// The agent's name.
    pub agent: &'static str,
    /// Its program; none if it was not found.
    pub program: Option<PathBuf>,
    /// Its version; none if it was not found or did not say.
    pub version: Option<String>,
    /// The versions that were tested, up to the number that was looked at.
    pub tested: &'static [&'static str],
    /// Whether its version is one of them.
    pub is_tested: bool,
    /// What works with it.
    pub abilities: Abilities,
    /// What a person ought to know.
    pub warnings: Vec<String>,
}

/// Says what works with an agent.
#[expect(clippy::struct_excessive_bools, reason = "independent abilities, shown as a table")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Abilities {
    /// A conversation goes on in a later process.
    pub resume: bool,
    /// A turn is told something while it runs.
    pub steer: bool,
    /// Consents are asked for and waited for.
    pub approvals: bool,
    /// Tokens are counted.
    pub usage: bool,
    /// One process takes several turns.
    pub further_turns: bool,
}

/// Is what is known of an agent before it is looked for.
struct Known {
    agent: &'static str,
    tested: &'static [&'static str],
    abilities: Abilities,
}

const ALL: Abilities =
    Abilities { resume: true, steer: true, approvals: true, usage: true, further_turns: true };

/// Lists the agents that have a program of their own.
const TABLE: &[Known] = &[
    Known {
        agent: "codex",
        tested: codex::TESTED_VERSIONS,
        abilities: Abilities { steer: false, approvals: false, further_turns: false, ..ALL },
    },
    Known { agent: "codex-app-server", tested: codex::TESTED_VERSIONS, abilities: ALL },
    Known { agent: "claude", tested: &["2.1"], abilities: ALL },
];

/// Looks for every agent that [`driver_for`] knows and that has a program of its own.
///
/// `environment` answers for the environment that agents run in; `program` names an agent's program where a person has
/// set one. `run_version` runs a program with arguments and returns what it printed, or none if that did not work.
pub fn survey(
    cwd: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
    program: &dyn Fn(&str) -> Option<PathBuf>,
    run_version: impl Fn(&Path, &[&str]) -> Option<String>,
) -> Vec<AgentSurvey> {
    let known = TABLE.iter().filter(|known| KNOWN_AGENTS.contains(&known.agent));
    known.map(|known| look(known, cwd, environment, program, &run_version)).collect()
}

fn look(
    known: &Known,
    cwd: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
    program: &dyn Fn(&str) -> Option<PathBuf>,
    run_version: &impl Fn(&Path, &[&str]) -> Option<String>,
) -> AgentSurvey {
    let Known { agent, tested, abilities } = *known;
    let mut survey = AgentSurvey {
        agent,
        program: None,
        version: None,
        tested,
        is_tested: false,
        abilities,
        warnings: Vec::new(),
    };
    match locate(agent, cwd, environment, program(agent).as_deref()) {
        Ok(found) => {
            survey.version = run_version(&found, &["--version"]).as_deref().and_then(version);
            survey.program = Some(found);
        }
        Err(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            survey.warnings.push(format!("{error}{hint}"));
            return survey;
        }
    }
    survey.is_tested = survey.version.as_deref().is_some_and(|version| is_tested(version, tested));
    let tested = tested.join(", ");
    match &survey.version {
        None => survey.warnings.push("its version could not be read".to_owned()),
        Some(version) if !survey.is_tested => {
            survey.warnings.push(format!("version {version} was not tested; tested: {tested}"));
        }
        Some(_) => {}
    }
    survey
}

/// Asks the driver for the program that it would start.
fn locate(
    agent: &str,
    cwd: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
    program: Option<&Path>,
) -> Result<PathBuf, PrepareError> {
    let request = AgentRequest { program, ..AgentRequest::new(agent, "version", cwd, environment) };
    let launch = driver_for(agent)?.prepare(&request)?;
    Ok(launch.argv.into_iter().next().unwrap_or_default().into())
}

/// Takes the version out of what a program prints, as in `codex-cli 0.169.0` and `2.1.197 (Claude Code)`.
fn version(printed: &str) -> Option<String> {
    let words = printed.lines().next()?.split_whitespace().map(|word| word.trim_start_matches('v'));
    let is_version =
        |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(is_version).map(|word| crate::text::shortened(word, 64))
}

/// Tells whether a version is one of those that are `tested`, which name its beginning up to a full number.
pub(crate) fn is_tested(version: &str, tested: &[&str]) -> bool {
    tested.iter().any(|tested| {
        version.strip_prefix(tested).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_taken_out_of_what_is_printed() {
        let table = [
            ("codex-cli 0.169.0\n", Some("0.169.0")),
            ("2.1.197 (Claude Code)", Some("2.1.197")),
            ("agent v1.2", Some("1.2")),
            ("no version", None),
            ("", None),
            ("7", None),
        ];
        for (printed, expected) in table {
            assert_eq!(version(printed).as_deref(), expected, "{printed}");
        }
    }

    #[test]
    fn a_tested_version_is_a_whole_beginning() {
        assert!(is_tested("0.169.0", &["0.168", "0.169"]) && is_tested("2.1", &["2.1"]));
        assert!(!is_tested("0.1690.0", &["0.169"]) && !is_tested("0.16", &["0.169"]));
    }

    #[test]
    fn every_agent_with_a_program_of_its_own_is_surveyed() {
        // The protocol of `acp` is spoken by any program; a stage names it.
        let mut own = KNOWN_AGENTS.iter().filter(|agent| **agent != "acp");
        assert!(own.all(|agent| TABLE.iter().any(|known| known.agent == *agent)));
    }
}
