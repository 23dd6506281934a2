//! The three functions of rule files, with the checks Codex makes.

use std::ops::Range;
use std::path::{Component, Path};

use co_model::{HostRule, PrefixRule, RuleDecision};
use indexmap::IndexMap;

use super::Failure;
use super::evaluate::Value;
use crate::problem::{did_you_mean, shown};

/// More rules than this make every command slow; no person writes them.
const MOST_RULES: usize = 10_000;

const FUNCTIONS: [&str; 3] = ["prefix_rule", "host_executable", "network_rule"];
const DECISIONS: [&str; 3] = ["allow", "prompt", "forbidden"];
const PROTOCOLS: [&str; 6] = ["http", "https", "https_connect", "http-connect", "socks5_tcp", "socks5_udp"];

/// A value and where it stands.
pub(super) type Placed = (Range<usize>, Value);

/// What a function is given.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Placed>,
    /// With the place of the name, and that of the value.
    pub(super) named: Vec<(String, Range<usize>, Placed)>,
}

/// Rules whose examples are still to be tried: they may speak of executables named further down.
#[derive(Debug)]
struct Examples {
    rule: usize,
    place: Range<usize>,
    matching: Vec<Vec<String>>,
    other: Vec<Vec<String>>,
}

/// The rules of all files so far.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) prefixes: Vec<PrefixRule>,
    pub(super) host_executables: IndexMap<String, Vec<String>>,
    pub(super) hosts: Vec<HostRule>,
    examples: Vec<Examples>,
}

impl Rules {
    pub(super) fn call(
        &mut self,
        function: &str,
        arguments: Arguments,
        place: Range<usize>,
    ) -> Result<(), Failure> {
        if self.prefixes.len() + self.hosts.len() + self.host_executables.len() >= MOST_RULES {
            return Err((place, format!("there are more than {MOST_RULES} rules")));
        }
        match function {
            "prefix_rule" => self.prefix_rule(arguments, place),
            "host_executable" => self.host_executable(arguments, place),
            "network_rule" => self.network_rule(arguments, place),
            _ => {
                let hint = did_you_mean(function, FUNCTIONS).unwrap_or_default();
                Err((place, format!("there is no function `{}`; {hint}", shown(function))))
            }
        }
    }

    fn prefix_rule(&mut self, arguments: Arguments, place: Range<usize>) -> Result<(), Failure> {
        let names = ["pattern", "decision", "match", "not_match", "justification"];
        let [pattern, decision, matching, other, justification] =
            bind("prefix_rule", names, arguments, &place)?;
        let Some((at, pattern)) = pattern else { return Err((place, needs("prefix_rule", "pattern"))) };
        let pattern = read_pattern(&pattern, &at)?;
        let decision = match decision {
            Some((at, value)) => read_decision(&text("decision", &value, &at)?, &at)?,
            None => RuleDecision::Allow,
        };
        let justification = read_justification(justification)?;
        let matching = read_examples("match", matching)?;
        let other = read_examples("not_match", other)?;
        self.examples.push(Examples { rule: self.prefixes.len(), place, matching, other });
        self.prefixes.push(PrefixRule { pattern, decision, justification });
        Ok(())
    }

    fn host_executable(&mut self, arguments: Arguments, place: Range<usize>) -> Result<(), Failure> {
        let [name, paths] = bind("host_executable", ["name", "paths"], arguments, &place)?;
        let (Some((at, name)), Some((paths_at, paths))) = (name, paths) else {
            return Err((place, "`host_executable` needs `name` and `paths`".to_owned()));
        };
        let name = text("name", &name, &at)?;
        let mut components = Path::new(&name).components();
        if !matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name.as_str())
        {
            return Err((at, format!("`{}` is not the bare name of an executable", shown(&name))));
        }
        let mut listed: Vec<String> = Vec::new();
        for path in texts("paths", &paths, &paths_at)? {
            let is_named = Path::new(&path).file_name().is_some_and(|last| last == name.as_str());
            if !Path::new(&path).is_absolute() || !is_named {
                let message = format!("`{}` is not an absolute path that ends in `{name}`", shown(&path));
                return Err((paths_at, message));
            }
            if !listed.contains(&path) {
                listed.push(path);
            }
        }
        self.host_executables.insert(name, listed);
        Ok(())
    }

    fn network_rule(&mut self, arguments: Arguments, place: Range<usize>) -> Result<(), Failure> {
        let names = ["host", "protocol", "decision", "justification"];
        let [host, protocol, decision, justification] = bind("network_rule", names, arguments, &place)?;
        let (Some((host_at, host)), Some((at, protocol)), Some((decision_at, decision))) =
            (host, protocol, decision)
        else {
            return Err((place, "`network_rule` needs `host`, `protocol` and `decision`".to_owned()));
        };
        read_justification(justification)?;
        let protocol = text("protocol", &protocol, &at)?;
        if !PROTOCOLS.contains(&protocol.as_str()) {
            let message = format!(
                "there is no protocol `{}`; known are `{}`",
                shown(&protocol),
                PROTOCOLS.join("`, `")
            );
            return Err((at, message));
        }
        let decision = match text("decision", &decision, &decision_at)?.as_str() {
            "deny" => RuleDecision::Forbidden,
            word => read_decision(word, &decision_at)?,
        };
        let host = read_host(&text("host", &host, &host_at)?).map_err(|message| (host_at, message))?;
        // The protocol only says how Codex's proxy is spoken to; ours decides by host alone.
        self.hosts.push(HostRule { host, port: None, decision });
        Ok(())
    }

    /// Tries the examples of a file, once all of it is known.
    pub(super) fn check_examples(&mut self) -> Result<(), Failure> {
        for examples in std::mem::take(&mut self.examples) {
            let rule = &self.prefixes[examples.rule];
            let shown = |words: &[String]| shown(&words.join(" "));
            if let Some(words) = examples.other.iter().find(|words| self.speaks_of(rule, words)) {
                let message =
                    format!("the rule matches `{}`, which `not_match` says it does not", shown(words));
                return Err((examples.place, message));
            }
            if let Some(words) = examples.matching.iter().find(|words| !self.speaks_of(rule, words)) {
                let message =
                    format!("the rule does not match `{}`, which `match` says it does", shown(words));
                return Err((examples.place, message));
            }
        }
        Ok(())
    }

    /// Whether a rule speaks of a command, by its name or by a path to it.
    fn speaks_of(&self, rule: &PrefixRule, words: &[String]) -> bool {
        let Some(program) = words.first() else { return false };
        if rule.matches(words, program) {
            return true;
        }
        let Some((_, name)) = program.rsplit_once('/') else { return false };
        let is_listed = self.host_executables.get(name).is_none_or(|paths| paths.contains(program));
        is_listed && rule.matches(words, name)
    }
}

/// Sorts what a function is given under the names of its parameters.
fn bind<const N: usize>(
    function: &str,
    names: [&str; N],
    arguments: Arguments,
    place: &Range<usize>,
) -> Result<[Option<Placed>; N], Failure> {
    let mut bound = [const { None }; N];
    if arguments.positional.len() > N {
        return Err((place.clone(), format!("`{function}` takes at most {N} arguments")));
    }
    for (slot, argument) in bound.iter_mut().zip(arguments.positional) {
        *slot = Some(argument);
    }
    for (name, at, value) in arguments.named {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let hint = did_you_mean(&name, names).unwrap_or_default();
            return Err((at, format!("`{function}` has no parameter `{}`; {hint}", shown(&name))));
        };
        if bound[index].is_some() {
            return Err((at, format!("`{name}` is given twice")));
        }
        bound[index] = Some(value);
    }
    Ok(bound)
}

fn needs(function: &str, parameter: &str) -> String {
    format!("`{function}` needs `{parameter}`")
}

fn wrong(parameter: &str, wanted: &str, value: &Value, at: &Range<usize>) -> Failure {
    (at.clone(), format!("`{parameter}` must be {wanted}, not of type {}", value.kind()))
}

fn text(parameter: &str, value: &Value, at: &Range<usize>) -> Result<String, Failure> {
    match value {
        Value::Text(text) => Ok(text.to_string()),
        other => Err(wrong(parameter, "a string", other, at)),
    }
}

fn texts(parameter: &str, value: &Value, at: &Range<usize>) -> Result<Vec<String>, Failure> {
    match value {
        Value::List(items) => items.iter().map(|item| text(parameter, item, at)).collect(),
        other => Err(wrong(parameter, "a list of strings", other, at)),
    }
}

fn read_pattern(value: &Value, at: &Range<usize>) -> Result<Vec<Vec<String>>, Failure> {
    let Value::List(tokens) = value else { return Err(wrong("pattern", "a list", value, at)) };
    if tokens.is_empty() {
        return Err((at.clone(), "`pattern` is empty".to_owned()));
    }
    let alternatives = |token: &Value| match token {
        Value::Text(word) => Ok(vec![word.to_string()]),
        Value::List(words) if words.is_empty() => {
            Err((at.clone(), "`pattern` has an empty list of alternatives".to_owned()))
        }
        other => texts("pattern", other, at),
    };
    tokens.iter().map(alternatives).collect()
}

fn read_decision(word: &str, at: &Range<usize>) -> Result<RuleDecision, Failure> {
    match word {
        "allow" => Ok(RuleDecision::Allow),
        "prompt" => Ok(RuleDecision::Prompt),
        "forbidden" => Ok(RuleDecision::Forbidden),
        _ => {
            let message =
                format!("there is no decision `{}`; known are `{}`", shown(word), DECISIONS.join("`, `"));
            Err((at.clone(), message))
        }
    }
}

fn read_justification(value: Option<Placed>) -> Result<Option<String>, Failure> {
    let Some((at, value)) = value else { return Ok(None) };
    let justification = text("justification", &value, &at)?;
    if justification.trim().is_empty() {
        return Err((at, "`justification` is empty".to_owned()));
    }
    Ok(Some(justification))
}

/// Examples are lists of words, or texts as a shell would read them.
fn read_examples(parameter: &str, value: Option<Placed>) -> Result<Vec<Vec<String>>, Failure> {
    let Some((at, value)) = value else { return Ok(Vec::new()) };
    let Value::List(examples) = &value else { return Err(wrong(parameter, "a list", &value, &at)) };
    let example = |example: &Value| {
        let words = match example {
            Value::Text(line) => shlex::split(line)
                .ok_or_else(|| (at.clone(), format!("`{}` is not what a shell could read", shown(line))))?,
            other => texts(parameter, other, &at)?,
        };
        if words.is_empty() {
            Err((at.clone(), format!("`{parameter}` has an empty example")))
        } else {
            Ok(words)
        }
    };
    examples.iter().map(example).collect()
}

/// Reads a host: a name or an address, in lower case, without port or brackets, as Codex does.
fn read_host(raw: &str) -> Result<String, String> {
    let refused = |why: &str| Err(format!("`{}` is not a host: {why}", shown(raw)));
    let trimmed = raw.trim();
    if trimmed.contains(['/', '?', '#']) {
        return refused("it has a scheme or a path");
    }
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = if let Some(bracketed) = trimmed.strip_prefix('[') {
        match bracketed.split_once(']') {
            Some((inside, rest)) if rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port) => inside,
            _ => return refused("its brackets are wrong"),
        }
    } else {
        match trimmed.split_once(':') {
            Some((name, port)) if !name.is_empty() && is_port(port) => name,
            _ => trimmed,
        }
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host.is_empty() {
        return refused("it is empty");
    }
    if host.contains('*') {
        return refused("wildcards are not allowed");
    }
    if host.chars().any(char::is_whitespace) {
        return refused("it has blanks");
    }
    Ok(host)
}
