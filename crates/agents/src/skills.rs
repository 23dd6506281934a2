//! Finds the skills that Codex would offer its model.
//!
//! The rules are Codex's own, seen with 0.169: `SKILL.md` files, at most six directories below a root; roots are
//! `.agents/skills` and `.codex/skills` of every directory from the project's root down to the working directory, then
//! the person's, then those that come with Codex. Directories with a leading dot are passed over, links to directories
//! are followed, and one file is listed once. Of the YAML at the beginning of a file the subset is understood that
//! skills use: keys with plain, quoted or block texts, and one level below a key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::instructions::project_root;

/// Bounds how deep below a root a skill may lie, in directories.
const MAX_DEPTH: usize = 6;
/// Bounds how many directories are looked into below one root.
const MAX_DIRECTORIES: usize = 2000;
/// Bounds how much of a file is read.
const READ_LIMIT: u64 = 1024 * 1024;
/// Bounds a name, in characters; Codex refuses a longer one.
const NAME_LIMIT: usize = 64;

/// Asks which skills there are in a directory.
#[derive(Debug, Clone)]
pub struct SkillRequest {
    /// The directory in which the agent works, absolute.
    pub cwd: PathBuf,
    /// The agent's home (`$CODEX_HOME`, else `~/.codex`).
    pub agent_home: Option<PathBuf>,
    /// The person's home.
    pub home: Option<PathBuf>,
    /// The files or directories that mark a project's root (`project_root_markers`).
    pub root_markers: Vec<String>,
}

impl SkillRequest {
    /// Asks with Codex's defaults; `codex_home` and `home` are the values of `CODEX_HOME` and `HOME`.
    pub fn new(cwd: impl Into<PathBuf>, codex_home: Option<PathBuf>, home: Option<PathBuf>) -> Self {
        let codex_home = codex_home.filter(|home| !home.as_os_str().is_empty());
        Self {
            cwd: cwd.into(),
            agent_home: codex_home.or_else(|| home.as_ref().map(|home| home.join(".codex"))),
            home,
            root_markers: vec![".git".to_owned()],
        }
    }
}

/// Lists skills, and files that would be skills.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skills {
    /// The skills, by source and then by name. A name may stand there more than once.
    pub skills: Vec<Skill>,
    /// The files that Codex refuses, by path.
    pub errors: Vec<SkillError>,
}

/// Describes one skill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skill {
    /// Whose it is.
    pub source: SkillSource,
    /// Its name; that of its directory if it states none.
    pub name: String,
    /// What it is for, as one line; the model chooses by it.
    pub description: String,
    /// Its `SKILL.md`, with links resolved.
    pub path: PathBuf,
    /// Whether the model is not told of it, because its `agents/openai.yaml` says so; people can still name it.
    pub hidden: bool,
}

/// Says whose a skill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkillSource {
    /// The project's.
    Project,
    /// The person's.
    User,
    /// Codex's own.
    System,
}

/// Names a file that would be a skill.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SkillError {
    /// The file, with links resolved.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

/// Finds the skills that there are in a directory.
pub fn discover(request: &SkillRequest) -> Skills {
    let root = project_root(&request.cwd, &request.root_markers);
    let directories = request.cwd.ancestors().take_while(|directory| directory.starts_with(root));
    let of_project = directories.flat_map(|directory| {
        [".agents/skills", ".codex/skills"].map(|place| (directory.join(place), SkillSource::Project))
    });
    let home = request.home.iter().map(|home| (home.join(".agents/skills"), SkillSource::User));
    let of_agent = request.agent_home.iter().flat_map(|home| {
        let skills = home.join("skills");
        [(skills.join(".system"), SkillSource::System), (skills, SkillSource::User)]
    });
    let mut search = Search::default();
    for (root, source) in of_project.chain(home).chain(of_agent) {
        search.root(&root, source);
    }
    let mut found = search.found;
    found.skills.sort();
    found.errors.sort();
    found
}

#[derive(Debug, Default)]
struct Search {
    found: Skills,
    /// The files that were looked at.
    seen: BTreeSet<PathBuf>,
}

impl Search {
    fn root(&mut self, root: &Path, source: SkillSource) {
        let Ok(root) = fs::canonicalize(root) else { return };
        let mut visited = BTreeSet::new();
        let mut waiting = vec![(root, 0)];
        while let Some((directory, depth)) = waiting.pop() {
            if visited.len() == MAX_DIRECTORIES || !visited.insert(directory.clone()) {
                continue;
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            for entry in entries.flatten() {
                let (name, path) = (entry.file_name(), entry.path());
                let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
                if name == "SKILL.md" && is_file {
                    self.file(path, source);
                } else if depth < MAX_DEPTH
                    && !is_file
                    && !name.to_string_lossy().starts_with('.')
                    && let Ok(real) = fs::canonicalize(&path)
                    && real.is_dir()
                {
                    waiting.push((real, depth + 1));
                }
            }
        }
    }

    fn file(&mut self, path: PathBuf, source: SkillSource) {
        if !self.seen.insert(path.clone()) {
            return;
        }
        match skill(&path, source) {
            Ok(skill) => self.found.skills.push(skill),
            Err(message) => self.found.errors.push(SkillError { path, message }),
        }
    }
}

fn skill(path: &Path, source: SkillSource) -> Result<Skill, String> {
    let text = read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let fields = mapping(front_matter(&text).ok_or("there is no front matter between two lines of `---`")?);
    let directory = path.parent().unwrap_or(path);
    let name = match fields.get("name") {
        Some(name) => name.clone(),
        None => directory.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    if name.chars().count() > NAME_LIMIT {
        return Err(format!("the name is longer than {NAME_LIMIT} characters"));
    }
    let description = fields.get("description").cloned().ok_or("there is no description")?;
    let policy = read(&directory.join("agents/openai.yaml")).map(|text| mapping(&text)).unwrap_or_default();
    let hidden = policy.get("policy.allow_implicit_invocation").is_some_and(|allowed| allowed == "false");
    Ok(Skill { source, name, description, path: path.to_owned(), hidden })
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(READ_LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns what stands between the first line and the next one that are `---`.
fn front_matter(text: &str) -> Option<&str> {
    let (first, rest) = text.split_once('\n')?;
    if first.trim_end() != "---" {
        return None;
    }
    let mut end = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&rest[..end]);
        }
        end += line.len();
    }
    None
}

/// Reads keys and texts; a key below another is `outer.inner`. White space is one blank, and empty texts are none.
fn mapping(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let (mut outer, mut current) = (String::new(), None::<(String, usize)>);
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let content = line.trim();
        // What is indented more than its key continues the text, unless the key has none and this is a key below it.
        let continued = current.as_ref().filter(|(_, own)| content.is_empty() || indent > *own);
        if let Some((key, _)) = continued
            && let Some(value) = fields.get_mut(key)
        {
            value.push(' ');
            value.push_str(content);
            continue;
        }
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let Some((key, value)) = entry(content) else {
            current = None;
            continue;
        };
        let key = if indent == 0 { key.to_owned() } else { format!("{outer}.{key}") };
        if indent == 0 {
            outer.clone_from(&key);
        }
        current = None;
        if !value.is_empty() {
            fields.insert(key.clone(), value.to_owned());
            current = Some((key, indent));
        }
    }
    let read = fields.into_iter().filter_map(|(key, value)| Some((key, scalar(&value)?)));
    read.collect()
}

/// Splits a line at the first colon that ends a key.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(':')?;
    let is_end = rest.is_empty() || rest.starts_with([' ', '\t']);
    (is_end && !key.is_empty()).then_some((key.trim_end(), rest.trim()))
}

fn scalar(text: &str) -> Option<String> {
    let quoted = match text.chars().next()? {
        '"' => double_quoted(&text[1..]),
        '\'' => single_quoted(&text[1..]),
        '|' | '>' => {
            text.split_once(char::is_whitespace).map_or(String::new(), |(_, block)| block.to_owned())
        }
        _ => {
            let comment = text.find(" #").unwrap_or(text.len());
            let plain = text[..comment].trim();
            if matches!(plain, "~" | "null" | "Null" | "NULL") { String::new() } else { plain.to_owned() }
        }
    };
    let line = quoted.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(line).filter(|line| !line.is_empty())
}

fn double_quoted(text: &str) -> String {
    let mut inner = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('n' | 't' | 'r') => inner.push(' '),
                Some(escaped) => inner.push(escaped),
                None => {}
            },
            plain => inner.push(plain),
        }
    }
    inner
}

fn single_quoted(text: &str) -> String {
    let mut inner = String::new();
    let mut rest = text;
    while let Some((part, after)) = rest.split_once('\'') {
        inner.push_str(part);
        let Some(doubled) = after.strip_prefix('\'') else { return inner };
        inner.push('\'');
        rest = doubled;
    }
    inner + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_read_in_each_spelling() {
        let text = "\
# comment
name: plain # not this
quoted: \"a \\\"b\\\" \\n c\" # nor this
single: 'it''s: here'
folded: >-
  one

  two
literal: |
  one: 1
  two
continued: first
  second
tabbed:\tvalue
nothing: ~
empty: \"\"
no entry
url: http://example
outer:
  inner: below
  - list
colon:joined: x
";
        let fields = mapping(text);
        let expected = [
            ("colon:joined", None),
            ("colon", None),
            ("continued", Some("first second")),
            ("empty", None),
            ("folded", Some("one two")),
            ("literal", Some("one: 1 two")),
            ("name", Some("plain")),
            ("nothing", None),
            ("outer", None),
            ("outer.inner", Some("below")),
            ("quoted", Some("a \"b\" c")),
            ("single", Some("it's: here")),
            ("tabbed", Some("value")),
            ("url", Some("http://example")),
        ];
        for (key, value) in expected {
            assert_eq!(fields.get(key).map(String::as_str), value, "{key}");
        }
    }

    #[test]
    fn front_matter_begins_at_the_first_byte() {
        assert_eq!(front_matter("---\na: b\n---\nrest"), Some("a: b\n"));
        assert_eq!(front_matter("--- \r\na: b\r\n---  \r\n"), Some("a: b\r\n"));
        for none in ["", "---", "\n---\na: b\n---\n", "\u{feff}---\n---\n", "---\na: b\n", "----\n---\n"] {
            assert_eq!(front_matter(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "[-a-z:#'\"\\\\ \n\t>|~é]{0,200}") {
            for value in mapping(&text).into_values() {
                prop_assert!(!value.is_empty() && value.trim() == value);
            }
        }
    }
}
