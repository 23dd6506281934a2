//! Decides whether the HUD may open. Pure: the caller reads the variables and asks the terminals.

/// What the decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "five independent yes-or-no facts about one start")]
pub struct GateRequest<'a> {
    /// Whether the person asked for it (`--interactive`, `--ui`).
    pub requested: bool,
    /// Whether it was switched off (`--no-interactive`).
    pub disabled: bool,
    /// Whether stdout carries a machine format (`--format json` or `jsonl`).
    pub machine_format: bool,
    /// Whether stdout is a terminal.
    pub stdout_tty: bool,
    /// Whether stderr is a terminal.
    pub stderr_tty: bool,
    /// The value of `TERM`.
    pub term: Option<&'a str>,
    /// The value of `CI`.
    pub ci: Option<&'a str>,
}

/// Allows the HUD, or says why not.
///
/// The order is the seeds': requested, not disabled, no machine format, both terminals, `TERM`,
/// `CI`. The first reason found is the one that is shown.
///
/// # Errors
/// The reason, as a fragment for `[HUD disabled] <reason>`.
pub fn gate(request: &GateRequest<'_>) -> Result<(), &'static str> {
    let reason = if !request.requested {
        "it was not requested"
    } else if request.disabled {
        "--no-interactive was given"
    } else if request.machine_format {
        "the output format is for machines"
    } else if !request.stdout_tty {
        "stdout is not a terminal"
    } else if !request.stderr_tty {
        "stderr is not a terminal"
    } else if request.term.is_none_or(|term| term.trim().is_empty()) {
        "TERM is not set"
    } else if request.term.is_some_and(|term| term.trim().eq_ignore_ascii_case("dumb")) {
        "TERM is dumb"
    } else if request.ci.is_some_and(is_truthy) {
        "CI is set"
    } else {
        return Ok(());
    };
    Err(reason)
}

/// Every value but the usual spellings of *no* counts as *yes*.
fn is_truthy(value: &str) -> bool {
    !["", "0", "false", "no", "off"].contains(&value.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: GateRequest<'static> = GateRequest {
        requested: true,
        disabled: false,
        machine_format: false,
        stdout_tty: true,
        stderr_tty: true,
        term: Some("xterm-256color"),
        ci: None,
    };

    #[test]
    fn truth_table() {
        let table = [
            (OPEN, Ok(())),
            (GateRequest { requested: false, ..OPEN }, Err("it was not requested")),
            (GateRequest { disabled: true, ..OPEN }, Err("--no-interactive was given")),
            (GateRequest { machine_format: true, ..OPEN }, Err("the output format is for machines")),
            (GateRequest { stdout_tty: false, ..OPEN }, Err("stdout is not a terminal")),
            (GateRequest { stderr_tty: false, ..OPEN }, Err("stderr is not a terminal")),
            (GateRequest { term: None, ..OPEN }, Err("TERM is not set")),
            (GateRequest { term: Some(" "), ..OPEN }, Err("TERM is not set")),
            (GateRequest { term: Some("DUMB"), ..OPEN }, Err("TERM is dumb")),
            (GateRequest { ci: Some("true"), ..OPEN }, Err("CI is set")),
            (GateRequest { ci: Some("1"), ..OPEN }, Err("CI is set")),
            (GateRequest { ci: Some("woodpecker"), ..OPEN }, Err("CI is set")),
            (GateRequest { ci: Some("False"), ..OPEN }, Ok(())),
            (GateRequest { ci: Some("0"), ..OPEN }, Ok(())),
            (GateRequest { ci: Some(""), ..OPEN }, Ok(())),
        ];
        for (request, expected) in table {
            assert_eq!(gate(&request), expected, "{request:?}");
        }
    }

    #[test]
    fn the_first_reason_in_the_seeds_order_wins() {
        let mut request =
            GateRequest { disabled: true, machine_format: true, ci: Some("1"), ..Default::default() };
        let mut reasons = Vec::new();
        let repairs: [fn(&mut GateRequest<'_>); 7] = [
            |r| r.requested = true,
            |r| r.disabled = false,
            |r| r.machine_format = false,
            |r| r.stdout_tty = true,
            |r| r.stderr_tty = true,
            |r| r.term = Some("xterm"),
            |r| r.ci = None,
        ];
        for repair in repairs {
            reasons.push(gate(&request).unwrap_err());
            repair(&mut request);
        }
        assert_eq!(gate(&request), Ok(()));
        assert_eq!(
            reasons,
            [
                "it was not requested",
                "--no-interactive was given",
                "the output format is for machines",
                "stdout is not a terminal",
                "stderr is not a terminal",
                "TERM is not set",
                "CI is set",
            ]
        );
    }
}
