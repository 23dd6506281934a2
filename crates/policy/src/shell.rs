//! Reads shell scripts: which commands they consist of, and how sure that is.
//!
//! The grammar is tree-sitter's, as in Codex. A tree alone proves nothing about the bytes between its
//! nodes, so each word is decoded from its own bytes and each gap is looked at; what does not fit is
//! not exact.

use std::ops::{ControlFlow, Range};

use tree_sitter::{Node, ParseOptions, Parser, Tree};

/// No single argument can be longer on Linux, so no longer script can be run either.
const LONGEST_SCRIPT: usize = 128 * 1024;

/// How often the parser may report progress, about every hundred steps, before a script counts as made
/// to waste time. Real ones take a step for each byte or less, while the time of a step can grow with
/// the depth of what is open.
const MOST_REPORTS: u32 = 500;

/// What stands between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Joint {
    And,
    Or,
    Then,
    Pipe,
}

impl Joint {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Then => ";",
            Self::Pipe => "|",
        }
    }
}

/// How much is known of what a shell makes of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Certainty {
    /// Exactly these words.
    Exact,
    /// These words, some of which the shell may expand.
    Expands,
    /// It was read the way Codex does, but bytes are left that could mean something else.
    Doubtful,
}

/// Commands of plain words in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Never empty; none of the commands is empty.
    pub(crate) commands: Vec<Vec<String>>,
    /// One fewer than commands.
    pub(crate) joints: Vec<Joint>,
    pub(crate) certainty: Certainty,
}

/// A script as far as it can be read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The commands, if it is nothing but plain commands, or one with a here-document.
    pub(crate) plain: Option<Plain>,
    /// Every command whose name is a plain word, wherever it stands. Tells of danger, never of safety.
    pub(crate) seen: Vec<Vec<String>>,
    /// Whether it is too long or too tangled to be looked through.
    pub(crate) is_unreadable: bool,
}

pub(crate) fn read(script: &str) -> Reading {
    let unreadable = Reading { is_unreadable: true, ..Reading::default() };
    if script.len() > LONGEST_SCRIPT || is_tangled(script) {
        return unreadable;
    }
    let Some(tree) = parse(script) else { return unreadable };
    let commands = commands(tree.root_node());
    let seen = commands.iter().filter_map(|command| seen_words(*command, script)).collect();
    let plain = if tree.root_node().has_error() {
        None
    } else {
        plain(tree.root_node(), &commands, script)
            .or_else(|| here_document(tree.root_node(), &commands, script))
    };
    Reading { plain, seen, is_unreadable: false }
}

/// Whether a script opens more, or pipes more, than anybody would: the parser's time grows with the
/// square of both.
fn is_tangled(script: &str) -> bool {
    const DEEPEST: u32 = 100;
    const MOST_PIPES: usize = 1_000;
    let mut depth = 0_u32;
    let is_deep = script.bytes().any(|byte| {
        depth = match byte {
            b'(' => depth + 1,
            b')' => depth.saturating_sub(1),
            _ => depth,
        };
        depth > DEEPEST
    });
    is_deep || script.bytes().filter(|byte| *byte == b'|').count() > MOST_PIPES
}

fn parse(script: &str) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_bash::LANGUAGE.into()).ok()?;
    let bytes = script.as_bytes();
    let mut reports = 0;
    let mut progress = |_: &tree_sitter::ParseState| {
        reports += 1;
        if reports > MOST_REPORTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut progress);
    parser.parse_with_options(&mut |offset, _| bytes.get(offset..).unwrap_or_default(), None, Some(options))
}

/// All nodes below and including this one, without recursion: scripts nest as deep as they like.
fn walk<'t>(root: Node<'t>, mut visit: impl FnMut(Node<'t>)) {
    let mut cursor = root.walk();
    loop {
        visit(cursor.node());
        if cursor.goto_first_child() || cursor.goto_next_sibling() {
            continue;
        }
        loop {
            if !cursor.goto_parent() {
                return;
            }
            if cursor.goto_next_sibling() {
                break;
            }
        }
    }
}

/// The command nodes in the order of the script.
fn commands(root: Node<'_>) -> Vec<Node<'_>> {
    let mut found = Vec::new();
    walk(root, |node| {
        if node.kind() == "command" {
            found.push(node);
        }
    });
    found
}

/// The nodes of a command's words: its name first. `None` when it has other parts too.
fn word_nodes(command: Node<'_>) -> Option<Vec<Node<'_>>> {
    let mut cursor = command.walk();
    command
        .named_children(&mut cursor)
        .map(|child| match child.kind() {
            "command_name" => child.named_child(0).filter(|name| is_word(*name)),
            _ => Some(child).filter(|word| is_word(*word)),
        })
        .collect()
}

fn is_word(node: Node<'_>) -> bool {
    let holds_only = |kinds: &[&str]| {
        let mut cursor = node.walk();
        node.named_children(&mut cursor).all(|part| kinds.contains(&part.kind()))
    };
    match node.kind() {
        "word" | "number" => node.named_child_count() == 0,
        "raw_string" => true,
        "string" => holds_only(&["string_content"]),
        "concatenation" => {
            let mut cursor = node.walk();
            node.named_children(&mut cursor).all(|part| part.kind() != "concatenation" && is_word(part))
        }
        _ => false,
    }
}

/// Reads commands of plain words joined by `&&`, `||`, `;`, `|` and line ends, which is what Codex
/// takes apart. Anything else makes the whole script one unit.
fn plain(root: Node<'_>, commands: &[Node<'_>], script: &str) -> Option<Plain> {
    const NAMED: [&str; 11] = [
        "program",
        "list",
        "pipeline",
        "command",
        "command_name",
        "word",
        "string",
        "string_content",
        "raw_string",
        "number",
        "concatenation",
    ];
    const TOKENS: [&str; 6] = ["&&", "||", ";", "|", "\"", "'"];
    let mut is_plain = true;
    walk(root, |node| {
        let kind = node.kind();
        is_plain &= if node.is_named() {
            NAMED.contains(&kind)
        } else {
            TOKENS.contains(&kind) || kind.trim().is_empty()
        };
    });
    if !is_plain || commands.is_empty() {
        return None;
    }
    let mut plain = Plain { commands: Vec::new(), joints: Vec::new(), certainty: Certainty::Exact };
    let mut end = 0;
    for (index, command) in commands.iter().enumerate() {
        let mut words = Vec::new();
        for (place, node) in word_nodes(*command)?.into_iter().enumerate() {
            let gap = &script[end..node.start_byte().max(end)];
            let is_clear = if place > 0 {
                !gap.is_empty() && gap.bytes().all(is_blank)
            } else if index == 0 {
                gap.bytes().all(is_blank_or_newline)
            } else {
                let joint = joint(gap);
                plain.joints.push(joint.unwrap_or(Joint::Then));
                joint.is_some()
            };
            if !is_clear {
                plain.certainty = Certainty::Doubtful;
            }
            let word = decode(&script[node.byte_range()]);
            plain.certainty = plain.certainty.max(word.certainty);
            words.push(word.text);
            end = node.end_byte();
        }
        if words.is_empty() {
            return None;
        }
        plain.commands.push(words);
    }
    let rest = script[end..].trim_matches([' ', '\t', '\n']);
    if !matches!(rest, "" | ";") {
        plain.certainty = Certainty::Doubtful;
    }
    Some(plain)
}

/// What two commands are joined by, if the bytes between them are just that.
fn joint(gap: &str) -> Option<Joint> {
    match gap.trim_matches([' ', '\t', '\n']) {
        "&&" => Some(Joint::And),
        "||" => Some(Joint::Or),
        ";" => Some(Joint::Then),
        "|" => Some(Joint::Pipe),
        "" if gap.contains('\n') => Some(Joint::Then),
        _ => None,
    }
}

/// Reads a single command that is fed a here-document: rules look at its words, as in Codex.
fn here_document(root: Node<'_>, commands: &[Node<'_>], script: &str) -> Option<Plain> {
    let [command] = commands else { return None };
    let (mut has_document, mut is_simple) = (false, true);
    walk(root, |node| match node.kind() {
        "heredoc_redirect" => has_document = true,
        "program"
        | "redirected_statement"
        | "command"
        | "command_name"
        | "word"
        | "number"
        | "comment"
        | "heredoc_start"
        | "heredoc_body"
        | "heredoc_content"
        | "heredoc_end"
        | "herestring_redirect"
        | "simple_expansion"
        | "variable_name"
        | "string"
        | "string_content"
        | "raw_string" => {}
        _ if node.is_named() => is_simple = false,
        _ => {}
    });
    if !has_document || !is_simple {
        return None;
    }
    let words: Vec<Word> = word_nodes(*command)?
        .into_iter()
        .filter(|node| matches!(node.kind(), "word" | "number"))
        .map(|node| decode(&script[node.byte_range()]))
        .collect();
    let is_literal = !words.is_empty() && words.iter().all(|word| word.certainty == Certainty::Exact);
    is_literal.then(|| Plain {
        commands: vec![words.into_iter().map(|word| word.text).collect()],
        joints: Vec::new(),
        // The document is no word, so the words are not all there is to it.
        certainty: Certainty::Expands,
    })
}

/// The words of a command that can be seen; those that only the shell knows are left out.
fn seen_words(command: Node<'_>, script: &str) -> Option<Vec<String>> {
    let text = |node: Node<'_>| Some(decode(&script[node.byte_range()])).filter(|_| is_word(node));
    let mut cursor = command.walk();
    let mut words = Vec::new();
    for child in command.named_children(&mut cursor) {
        match child.kind() {
            "command_name" => {
                let name = text(child.named_child(0)?)?;
                if name.certainty != Certainty::Exact {
                    return None;
                }
                words.push(name.text);
            }
            _ if words.is_empty() => {}
            _ => words.extend(text(child).map(|word| word.text)),
        }
    }
    (!words.is_empty()).then_some(words)
}

struct Word {
    text: String,
    certainty: Certainty,
}

/// Takes quotes and escapes off a word, and tells whether the shell would do more with it.
fn decode(raw: &str) -> Word {
    let mut text = String::with_capacity(raw.len());
    let mut certainty = Certainty::Exact;
    let mut chars = raw.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => match quoted(raw, at) {
                Some(inside) => {
                    text.push_str(&raw[inside.clone()]);
                    while chars.next_if(|(next, _)| *next <= inside.end).is_some() {}
                }
                None => certainty = Certainty::Doubtful,
            },
            '"' => {
                let mut is_closed = false;
                while let Some((_, c)) = chars.next() {
                    match c {
                        '"' => {
                            is_closed = true;
                            break;
                        }
                        '\\' => match chars.peek() {
                            Some((_, next @ ('$' | '`' | '"' | '\\'))) => {
                                text.push(*next);
                                chars.next();
                            }
                            Some((_, '\n')) | None => certainty = Certainty::Doubtful,
                            Some(_) => text.push(c),
                        },
                        '$' | '`' => {
                            text.push(c);
                            certainty = Certainty::Doubtful;
                        }
                        _ => text.push(c),
                    }
                }
                if !is_closed {
                    certainty = Certainty::Doubtful;
                }
            }
            '\\' => match chars.next() {
                Some((_, next)) if next != '\n' => text.push(next),
                _ => certainty = Certainty::Doubtful,
            },
            '$' | '`' | '(' | ')' | '<' | '>' | '&' | ';' | '|' => {
                text.push(c);
                certainty = Certainty::Doubtful;
            }
            '*' | '?' | '[' | ']' | '{' | '}' | '~' | '^' | '!' | '#' => {
                text.push(c);
                certainty = certainty.max(Certainty::Expands);
            }
            // zsh: `=name` is the path of a program.
            '=' if at == 0 => {
                text.push(c);
                certainty = certainty.max(Certainty::Expands);
            }
            _ => {
                if c.is_control() || c.is_whitespace() {
                    certainty = Certainty::Doubtful;
                }
                text.push(c);
            }
        }
    }
    Word { text, certainty }
}

/// The bytes between a single quote and the next.
fn quoted(raw: &str, quote: usize) -> Option<Range<usize>> {
    let start = quote + 1;
    raw[start..].find('\'').map(|length| start..start + length)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_blank_or_newline(byte: u8) -> bool {
    is_blank(byte) || byte == b'\n'
}
