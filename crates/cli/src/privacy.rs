//! The privacy guard as settings ask for it.

use co_config::Source;
use co_privacy::{Guard, GuardSettings, Mode, NamedPattern, SecretValue};

use crate::context::Context;
use crate::error::{CliError, Exit};

/// The seeds' older switch: `1`, `true`, `on`, `yes` or `enforce` enforce; `0`, `false`, `off` and `no` only count.
const ENFORCE: &str = "CODEX_PRIVACY_GUARD_ENFORCE";

/// Makes the guard. Enforcing unless somebody says otherwise; what is misspelt is an error, never a weaker mode.
pub(crate) fn guard(context: &Context) -> Result<Guard, CliError> {
    let settings = &context.settings;
    let names = settings.secret_variables.value.as_deref().unwrap_or_default();
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let values = names.filter_map(|name| {
        let value = context.environment.get(name)?.to_string_lossy().into_owned();
        (!value.is_empty()).then(|| SecretValue::new(name, &value))
    });
    let patterns = |patterns: &[(String, String)]| {
        let pattern =
            |(name, text): &(String, String)| NamedPattern { name: name.clone(), text: text.clone() };
        patterns.iter().map(pattern).collect()
    };
    let settings = GuardSettings {
        mode: mode(context)?.0,
        values: values.collect(),
        patterns: patterns(&settings.secret_patterns),
        allowed: patterns(&settings.allowed_patterns),
    };
    Guard::new(&settings).map_err(|error| CliError::of(Exit::Setup, &error))
}

/// What the guard does with what it finds, and who said so.
pub(crate) fn mode(context: &Context) -> Result<(Mode, Source), CliError> {
    let setting = &context.settings.privacy_guard;
    let refuse = |origin: &str, value: &str, known: &str| {
        CliError::new(Exit::Usage, format!("{origin} is `{}`; known: {known}", value.escape_debug()))
    };
    // The older switch is a variable, and variables win over the file.
    let older = context.environment.get(ENFORCE).map(|value| value.to_string_lossy().trim().to_owned());
    let older = older.filter(|value| {
        let said_by_variable = matches!(setting.source, Source::Environment { .. });
        !value.is_empty() && !said_by_variable
    });
    if let Some(enforce) = older {
        let mode = match enforce.to_ascii_lowercase().as_str() {
            "1" | "true" | "on" | "yes" | "enforce" => Mode::Enforce,
            "0" | "false" | "off" | "no" => Mode::Shadow,
            _ => return Err(refuse(ENFORCE, &enforce, "1, true, on, yes, enforce, 0, false, off, no")),
        };
        return Ok((mode, Source::Environment { name: ENFORCE }));
    }
    let mode = match &setting.value {
        Some(mode) => mode.parse().map_err(|_| {
            refuse(&format!("privacy_guard ({})", setting.source), mode, "off, shadow, enforce")
        })?,
        None => Mode::Enforce,
    };
    Ok((mode, setting.source.clone()))
}
