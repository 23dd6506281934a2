//! The privacy guard as the environment asks for it.

use co_config::Environment;
use co_privacy::{Guard, GuardSettings, Mode, SecretValue};

use crate::error::{CliError, Exit};

/// The mode: `off`, `shadow` or `enforce`.
const MODE: &str = "CODEX_PRIVACY_GUARD_MODE";
/// The seeds' older switch: `1`, `true`, `on`, `yes` or `enforce` enforce; `0`, `false`, `off` and `no` only count.
const ENFORCE: &str = "CODEX_PRIVACY_GUARD_ENFORCE";
/// Names of variables, separated by commas, whose values must never be seen.
const SECRETS: &str = "CODEX_ORCHESTRATOR_SECRET_VARIABLES";

/// Makes the guard. Enforcing unless somebody says otherwise; what is misspelt is an error, never a weaker mode.
pub(crate) fn guard(environment: &Environment) -> Result<Guard, CliError> {
    let text = |name: &str| environment.get(name).map(|value| value.to_string_lossy().trim().to_owned());
    let refuse = |name: &str, value: &str, known: &str| {
        CliError::new(Exit::Usage, format!("{name} is `{}`; known: {known}", value.escape_debug()))
    };
    let mode = match (text(MODE), text(ENFORCE)) {
        (Some(mode), _) if !mode.is_empty() => {
            mode.parse::<Mode>().map_err(|_| refuse(MODE, &mode, "off, shadow, enforce"))?
        }
        (_, Some(enforce)) if !enforce.is_empty() => match enforce.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" | "enforce" => Mode::Enforce,
            "0" | "false" | "off" | "no" => Mode::Shadow,
            _ => return Err(refuse(ENFORCE, &enforce, "1, true, on, yes, enforce, 0, false, off, no")),
        },
        _ => Mode::Enforce,
    };
    let names = text(SECRETS).unwrap_or_default();
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let values = names.filter_map(|name| {
        let value = environment.get(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then(|| SecretValue::new(name, &value))
    });
    let settings = GuardSettings { mode, values: values.collect(), ..GuardSettings::default() };
    Guard::new(&settings).map_err(|error| CliError::of(Exit::Setup, &error))
}
