//! The commented file that `init` writes for a repository.

use serde_json::json;

use crate::detect::{Detected, DetectedStage, Detection};
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
    let several = detection.toolchains.len() > 1;
    let (id, title, stages) = if detection.toolchains.is_empty() {
        ("checks", "Checks", placeholder())
    } else {
        let stages = detection.toolchains.iter().map(|detected| stages_of(detected, several)).collect();
        (BUILT_IN, "Diagnostics", stages)
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
      // Stages run in order, and the first failure stops the run. A stage that is given
      // "needs": ["id", …] waits for exactly those; with "maxParallel" above 1 they overlap.
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

fn stages_of(detected: &Detected, several: bool) -> String {
    let mut text = format!("        // From {}.\n", detected.evidence.display());
    for stage in &detected.stages {
        let id = json!(stage.id(detected.toolchain, several));
        text.push_str(&format_stage(&id.to_string(), stage));
    }
    text
}

fn format_stage(id: &str, stage: &DetectedStage) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=".contains(c);
    // A line is what people expect to edit; words that a shell would read differently stay apart.
    let command = if stage.argv.iter().all(|word| word.chars().all(plain)) {
        json!(stage.argv.join(" "))
    } else {
        json!(stage.argv)
    };
    let env = if stage.env.is_empty() { String::new() } else { format!(", \"env\": {}", json!(stage.env)) };
    format!("        {{ \"id\": {id}, \"command\": {command}{env} }},\n")
}
