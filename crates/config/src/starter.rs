//! The commented file that `init` writes for a repository.

use std::fmt::Write as _;

use serde_json::json;

use crate::detect::{Detection, PlannedStage};
use crate::{BUILT_IN, SCHEMA_FILE};

/// Examples of what else a stage can be. Without their `// ` they are part of the list.
const EXAMPLES: &str = r#"
        // What else a stage can be; take away the slashes to use it:
        // {
        //   "kind": "agent",
        //   "id": "review-changes",
        //   "agent": "codex",
        //   "prompt": "Review the uncommitted changes of this repository and list what must be fixed.",
        //   "sandbox": "read-only",
        //   "timeout": "30m"
        // },
        // {
        //   "kind": "gate",
        //   "id": "approve-release",
        //   "message": "Publish this version?",
        //   "expires": "4h"
        // },
        // {
        //   "id": "publish",
        //   "command": ["sh", "scripts/publish.sh"],
        //   "env": { "DRY_RUN": "1" },
        //   "timeout": "10m",
        //   "retry": { "maxAttempts": 3, "backoff": "5s", "on": { "exitCodes": [75], "timedOut": true } }
        // },
"#;

/// Writes the text of a starting file for what was recognised.
///
/// It loads as it is, and refers editors to [`SCHEMA_FILE`] for completion; write
/// [`crate::pipeline_schema`] there.
pub fn starter_file(detection: &Detection) -> String {
    let (id, title, stages) = if detection.toolchains.is_empty() {
        ("checks", "Checks", placeholder())
    } else {
        (BUILT_IN, "Diagnostics", stages_of(detection))
    };
    format!(
        r#"// Pipelines of this repository. Comments and trailing commas are allowed.
//   codex-orchestrator plan     shows what would run
//   codex-orchestrator start    runs it
{{
  "$schema": "./{SCHEMA_FILE}",
  "defaultPipeline": "{id}",
  "pipelines": [
    {{
      "id": "{id}",
      "title": "{title}",
      // Stages run in order. With "needs": ["id", …] a stage waits for exactly those and is left
      // out when one of them fails, without it for the stage before; with "maxParallel" above 1
      // stages overlap.
      "maxParallel": 1,
      "stages": [
{stages}{EXAMPLES}      ],
    }},
  ],
}}
"#
    )
}

fn placeholder() -> String {
    let line = "echo 'replace this with a command that checks the repository'";
    format!("        {{ \"id\": \"hello\", \"command\": {} }},\n", json!(line))
}

fn stages_of(detection: &Detection) -> String {
    let mut planned = detection.planned().into_iter();
    let mut text = String::new();
    for detected in &detection.toolchains {
        writeln!(text, "        // From {}.", detected.evidence.display()).ok();
        planned.by_ref().take(detected.stages.len()).for_each(|stage| text.push_str(&format_stage(&stage)));
    }
    text
}

fn format_stage(planned: &PlannedStage<'_>) -> String {
    let PlannedStage { id, needs, stage } = planned;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=".contains(c);
    // A line is what people expect to edit; words that a shell would read differently stay apart.
    let command = if stage.argv.iter().all(|word| word.chars().all(plain)) {
        json!(stage.argv.join(" "))
    } else {
        json!(stage.argv)
    };
    let env = if stage.env.is_empty() { String::new() } else { format!(", \"env\": {}", json!(stage.env)) };
    // An absent list would mean the stage before.
    let (id, needs) = (json!(id), json!(needs));
    format!("        {{ \"id\": {id}, \"command\": {command}{env}, \"needs\": {needs} }},\n")
}
