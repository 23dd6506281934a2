//! What a consent is bound to, for people: one way to say it at the prompt, in listings and afterwards.

use co_model::visible;
use co_views::CallRequestView;

/// All that a consent to a call is bound to beyond the one line that names it, a line each. Untrusted text
/// stands written out.
pub(crate) fn lines_of(request: &CallRequestView) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, text: &str| lines.push(format!("  {name:<9}{}\n", visible(text)));
    line("in", &request.cwd);
    let sandbox = format!("{}, network {}", request.sandbox.mode, request.sandbox.network);
    let sandbox = if request.escalated { format!("none, instead of {sandbox}") } else { sandbox };
    line("sandbox", &sandbox);
    for root in &request.sandbox.writable_roots {
        line("writes", root);
    }
    for (name, value) in &request.variables {
        line("variable", &format!("{name}={value}"));
    }
    if request.tty {
        line("terminal", "yes");
    }
    // A line that had to be written out, or was cut, must not be all that is seen.
    if let Some(argv) = request.argv.as_ref().filter(|argv| !is_plain(argv, &request.shown)) {
        for argument in argv {
            line("argument", argument);
        }
    }
    lines.concat()
}

/// Whether the one line shows every argument as it is.
fn is_plain(argv: &[String], shown: &str) -> bool {
    match argv {
        [_, flag, script] if flag == "-c" => script == shown,
        words => words.join(" ") == shown && words.iter().all(|word| !word.is_empty() && !word.contains(' ')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_line_hides_is_told_argument_by_argument() {
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(is_plain(&words(&["git", "push"]), "git push"));
        assert!(is_plain(&words(&["/bin/sh", "-c", "echo 'a b' | wc"]), "echo 'a b' | wc"));
        assert!(!is_plain(&words(&["rm", "a b"]), "rm 'a b'"));
        assert!(!is_plain(&words(&["rm", "a\u{202e}b"]), r"rm 'a\u{202e}b'"));
        assert!(!is_plain(&words(&["echo", "\u{1b}[2K"]), r"echo '\u{1b}[2K'"));
        assert!(!is_plain(&words(&["cat", "very-long"]), "cat very-…"));
    }
}
