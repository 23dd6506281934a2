//! Keys of calls: what a consent is bound to.
//!
//! A key is a SHA-256 over everything that was shown. Every part is written with its kind and its
//! length, so that no two different calls are ever written the same.

use co_model::{CallRequest, ChangeKind, NetworkAccess, RuleDecision, SandboxMode, SandboxPolicy, ToolUse};
use sha2::{Digest as _, Sha256};

use crate::command::{Canonical, canonical};

/// The keys of a call, in lower-case hexadecimal; all of them must be covered. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallKeys(Vec<String>);

impl CallKeys {
    /// The keys: one for each file of a patch, one for anything else.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Works out the keys of a call: tool and content, place, terminal, permissions, and the variables it sets.
///
/// Of a script of plain words the words and what joins them count: blanks and the style of quoting make no
/// difference. Which shell reads it, and whether as a login shell, does make one, for those read files of their own
/// first; `/bin/sh -c` reads none and counts as the words themselves. Who wants it, when, and why make none.
pub fn key(call: &CallRequest) -> CallKeys {
    let framed = |content: &dyn Fn(&mut Writer)| {
        let mut writer = Writer(Sha256::new());
        writer.text("co-policy call 1");
        content(&mut writer);
        writer.text(&call.cwd);
        writer.truth(call.tty);
        sandbox(&mut writer, &call.sandbox);
        writer.truth(call.escalated);
        // Calls without variables of their own keep the keys they had before variables counted.
        if !call.env.is_empty() {
            writer.text("variables");
            writer.number(call.env.len());
            for (name, value) in &call.env {
                writer.text(name);
                writer.text(value);
            }
        }
        writer.finish()
    };
    CallKeys(match &call.tool {
        ToolUse::Command { argv } => {
            let canonical = canonical(argv);
            vec![framed(&|writer| command(writer, &canonical))]
        }
        // An empty patch changes nothing, yet a list without keys would be covered by anything.
        ToolUse::Patch { files } if files.is_empty() => vec![framed(&|writer| writer.text("empty patch"))],
        ToolUse::Patch { files } => {
            let mut keys = Vec::with_capacity(files.len());
            for file in files {
                let key = framed(&|writer| {
                    writer.text("patch");
                    writer.text(&file.change.path);
                    writer.number(match file.change.kind {
                        ChangeKind::Add => 0,
                        ChangeKind::Delete => 1,
                        ChangeKind::Update => 2,
                    });
                    writer.text(&file.sha256);
                });
                if !keys.contains(&key) {
                    keys.push(key);
                }
            }
            keys
        }
        ToolUse::Mcp { server, name, arguments, definition } => vec![framed(&|writer| {
            writer.text("mcp");
            writer.text(server);
            writer.text(name);
            writer.text(arguments);
            if let Some(definition) = definition {
                writer.text(definition);
            }
        })],
        ToolUse::Other { name, input } => vec![framed(&|writer| {
            writer.text("other");
            writer.text(name);
            writer.text(input);
        })],
    })
}

fn command(writer: &mut Writer, canonical: &Canonical) {
    if !canonical.is_exact() {
        writer.text("script");
        writer.texts(canonical.argv());
        return;
    }
    match canonical.shell() {
        // Neither reads a file before it does what the words say.
        None | Some(("/bin/sh", "-c")) => writer.text("command"),
        Some((shell, flag)) => {
            writer.text("command of a shell");
            writer.text(shell);
            writer.text(flag);
        }
    }
    writer.number(canonical.parts().len());
    for words in canonical.parts() {
        writer.texts(words);
    }
    for joint in canonical.joints() {
        writer.text(joint.as_str());
    }
}

fn sandbox(writer: &mut Writer, policy: &SandboxPolicy) {
    let SandboxPolicy { mode, writable_roots, network, exclude_tmpdir, exclude_slash_tmp } = policy;
    writer.number(match mode {
        SandboxMode::ReadOnly => 0,
        SandboxMode::WorkspaceWrite => 1,
        SandboxMode::DangerFullAccess => 2,
    });
    writer.texts(writable_roots);
    match network {
        NetworkAccess::Off => writer.number(0),
        NetworkAccess::On => writer.number(1),
        NetworkAccess::Allowed(rules) => {
            writer.number(2);
            writer.number(rules.len());
            for rule in rules {
                writer.text(&rule.host);
                writer.number(rule.port.map_or(0, |port| usize::from(port) + 1));
                writer.number(match rule.decision {
                    RuleDecision::Allow => 0,
                    RuleDecision::Prompt => 1,
                    RuleDecision::Forbidden => 2,
                });
            }
        }
    }
    writer.truth(*exclude_tmpdir);
    writer.truth(*exclude_slash_tmp);
}

/// Writes values so that where one ends is never a question.
struct Writer(Sha256);

impl Writer {
    fn number(&mut self, number: usize) {
        self.0.update(b"n");
        // No target of ours has wider pointers than 64 bits.
        self.0.update((number as u64).to_le_bytes());
    }

    fn truth(&mut self, truth: bool) {
        self.0.update(if truth { b"t" } else { b"f" });
    }

    fn text(&mut self, text: &str) {
        self.0.update(b"s");
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
    }

    fn texts(&mut self, texts: &[String]) {
        self.number(texts.len());
        for text in texts {
            self.text(text);
        }
    }

    fn finish(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        self.0.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}
