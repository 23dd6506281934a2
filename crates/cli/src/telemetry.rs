//! Who else is told of a run: OTLP collectors and notification targets. Nobody, unless something says so.
//!
//! Strongest first: flags, our own variables, the standard `OTEL_…` variables once they are allowed, the user's
//! Codex settings. The strongest that says something decides alone; `none` says that nobody is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use co_config::{
    CodexError, CodexPlaces, CodexSettings, ExplainedSetting, OtelExporter, OtelSettings, OtelTls, Source,
    load_codex,
};
use co_model::DurationText;
use co_runtime::Observers;
use co_telemetry::{
    DEFAULT_PATIENCE, Encoding, ExporterTable, NotifySettings, OtelTable, Secret, Target, TelemetrySettings,
    TlsFiles, describe,
};

use crate::context::Context;
use crate::error::{CliError, Exit};
use crate::output::warn;

/// Holds the collector's address.
const ENDPOINT: &str = "CODEX_ORCHESTRATOR_OTEL_ENDPOINT";
/// Allows or forbids telemetry that no flag and no variable of ours asks for.
const ALLOWED: &str = "CODEX_ORCHESTRATOR_OTEL";
/// Holds notification targets.
const NOTIFY: &str = "CODEX_ORCHESTRATOR_NOTIFY";
/// Holds the key that notifications are signed with. Never a flag: others can read those.
const NOTIFY_SECRET: &str = "CODEX_ORCHESTRATOR_NOTIFY_SECRET";
/// Holds the longest time the end of a run waits for its collector.
const OTEL_PATIENCE: &str = "CODEX_ORCHESTRATOR_OTEL_PATIENCE";
/// Holds the longest time the end of a run waits for its notifications.
const NOTIFY_PATIENCE: &str = "CODEX_ORCHESTRATOR_NOTIFY_PATIENCE";
/// Switches off what weaker places say.
const NOBODY: &str = "none";
/// No end of a run waits longer.
const LONGEST_PATIENCE: Duration = Duration::from_mins(1);

/// Who else is told of the run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TelemetryOptions {
    /// Send traces, logs and metrics of the run to the OTLP collector at this address; `none` sends
    /// nothing [env: CODEX_ORCHESTRATOR_OTEL_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub(crate) otel_endpoint: Option<String>,
    /// Tell this address, or this program by its absolute path, how the run ended; may be repeated
    /// or a list with commas. `none` tells nobody [env: CODEX_ORCHESTRATOR_NOTIFY]
    #[arg(long, value_name = "TARGET", value_delimiter = ',')]
    pub(crate) notify: Vec<String>,
}

/// Who is told, and what `config explain` says about it.
pub(crate) struct Resolved {
    pub(crate) observers: Observers,
    pub(crate) rows: Vec<ExplainedSetting>,
}

/// Finds out who is told of the runs of this invocation.
///
/// What the user's Codex settings say wrongly is a warning: telling others never stops a run.
pub(crate) fn resolve(context: &Context, options: &TelemetryOptions) -> Result<Resolved, CliError> {
    let codex = || {
        let places = CodexPlaces::new(&context.environment, &context.layout.root);
        // Its first line: the whole report comes from whoever reads the policy there.
        let brief = |error: CodexError| error.to_string().lines().next().unwrap_or_default().to_owned();
        load_codex(&places).map_err(|error| warn(&format!("telemetry: {}", brief(error)))).ok()
    };
    let (is_allowed, is_forbidden) = match truth(context, ALLOWED)? {
        Some(allowed) => (allowed, !allowed),
        None => (false, false),
    };
    let said = Said { context, options, is_allowed };
    let (own_export, own_targets) = (said.export()?, said.targets()?);
    // Reading them costs something, and is for nothing when somebody stronger has spoken.
    let codex = if own_export.is_none() || own_targets.is_none() { codex() } else { None };
    let (mut export, export_from) = match own_export {
        Some(own) => own,
        None if is_forbidden => (TelemetrySettings::default(), Source::Environment { name: ALLOWED }),
        None => codex.as_ref().map_or_else(|| (TelemetrySettings::default(), Source::Default), of_codex),
    };
    export.state_dir = Some(context.layout.runs_dir.join(".telemetry"));
    let (targets, codex_notify, notify_from) = if let Some((targets, from)) = own_targets {
        (targets, None, from)
    } else {
        let (program, from) = codex.as_ref().map_or((None, Source::Default), program_of_codex);
        (Vec::new(), program, from)
    };
    let (export_patience, export_patience_from) = said.patience(OTEL_PATIENCE, DEFAULT_PATIENCE)?;
    let (notify_patience, patience_from) =
        said.patience(NOTIFY_PATIENCE, NotifySettings::DEFAULT_PATIENCE)?;
    let shown: Vec<String> = targets.iter().chain(&codex_notify).map(ToString::to_string).collect();
    let has_secret = context.environment.get(NOTIFY_SECRET).is_some();
    let secret_from = if has_secret { Source::Environment { name: NOTIFY_SECRET } } else { Source::Default };
    let row = |name, value, source| ExplainedSetting { name, value, source };
    let rows = vec![
        row("otel", list(&endpoints(&export)), export_from),
        row("otel_patience", Some(DurationText(export_patience).to_string()), export_patience_from),
        row("notify", list(&shown), notify_from),
        row("notify_secret", has_secret.then(|| "****".to_owned()), secret_from),
        row("notify_patience", Some(DurationText(notify_patience).to_string()), patience_from),
    ];
    let notify = NotifySettings::for_targets(targets);
    let observers = Observers { export, notify, codex_notify, export_patience, notify_patience };
    Ok(Resolved { observers, rows })
}

/// What flags and variables say.
struct Said<'a> {
    context: &'a Context,
    options: &'a TelemetryOptions,
    /// Whether the standard variables count.
    is_allowed: bool,
}

impl Said<'_> {
    fn export(&self) -> Result<Option<(TelemetrySettings, Source)>, CliError> {
        let usage = |error| CliError::of(Exit::Usage, &error);
        let own = match &self.options.otel_endpoint {
            Some(endpoint) => Some((endpoint.clone(), Source::Flag { name: "--otel-endpoint" })),
            None => text(self.context, ENDPOINT)?
                .map(|endpoint| (endpoint, Source::Environment { name: ENDPOINT })),
        };
        Ok(match own {
            Some((endpoint, from)) if endpoint == NOBODY => Some((TelemetrySettings::default(), from)),
            Some((endpoint, from)) => Some((self.to(&endpoint).map_err(usage)?, from)),
            None if self.is_allowed => {
                let settings = TelemetrySettings::from_variables(|name| self.standard(name));
                let from = Source::Environment { name: "OTEL_EXPORTER_OTLP_*" };
                Some((settings.map_err(usage)?, from)).filter(|(settings, _)| settings.is_on())
            }
            None => None,
        })
    }

    /// Everything to one address; with the standard variables' headers and certificates where those are allowed.
    fn to(&self, endpoint: &str) -> Result<TelemetrySettings, co_telemetry::SettingsError> {
        let plain = TelemetrySettings::from_endpoint(endpoint)?;
        if !self.is_allowed {
            return Ok(plain);
        }
        TelemetrySettings::from_variables(|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.to_owned()),
            _ if name.ends_with("_ENDPOINT") || name.ends_with("_EXPORTER") => None,
            _ => self.standard(name),
        })
    }

    fn standard(&self, name: &str) -> Option<String> {
        self.context.environment.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn targets(&self) -> Result<Option<(Vec<Target>, Source)>, CliError> {
        let (lists, from) = match (&self.options.notify[..], text(self.context, NOTIFY)?) {
            ([], None) => return Ok(None),
            ([], Some(list)) => (vec![list], Source::Environment { name: NOTIFY }),
            (flags, _) => (flags.to_vec(), Source::Flag { name: "--notify" }),
        };
        if let [only] = &lists[..]
            && only == NOBODY
        {
            return Ok(Some((Vec::new(), from)));
        }
        let secret = text(self.context, NOTIFY_SECRET)?.map(Secret::new);
        let targets = Target::read_list(lists.iter().map(String::as_str), secret.as_ref());
        Ok(Some((targets.map_err(|error| CliError::of(Exit::Usage, &error))?, from)))
    }

    fn patience(&self, name: &'static str, default: Duration) -> Result<(Duration, Source), CliError> {
        let Some(text) = text(self.context, name)? else { return Ok((default, Source::Default)) };
        match text.parse::<DurationText>() {
            Ok(DurationText(patience)) if patience <= LONGEST_PATIENCE => {
                Ok((patience, Source::Environment { name }))
            }
            _ => Err(invalid(name, &text, "a duration of at most 1m")),
        }
    }
}

fn invalid(name: &str, text: &str, wanted: &str) -> CliError {
    CliError::new(Exit::Usage, format!("invalid {name} \"{}\": it must be {wanted}", text.escape_debug()))
}

/// A variable's text; empty counts as unset.
fn text(context: &Context, name: &str) -> Result<Option<String>, CliError> {
    let Some(value) = context.environment.get(name) else { return Ok(None) };
    // Its value may be secret: it is not shown.
    let value = value.to_str().ok_or_else(|| CliError::new(Exit::Usage, format!("{name} is not Unicode")))?;
    Ok(Some(value.to_owned()))
}

fn truth(context: &Context, name: &str) -> Result<Option<bool>, CliError> {
    let Some(text) = text(context, name)? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(Some(true)),
        "false" | "0" | "no" | "off" => Ok(Some(false)),
        _ => Err(invalid(name, &text, "true or false")),
    }
}

/// The collectors that are used, without what may be secret in their addresses.
fn endpoints(settings: &TelemetrySettings) -> Vec<String> {
    let used = [&settings.traces, &settings.logs, &settings.metrics].into_iter().flatten();
    let mut shown: Vec<String> = used.map(|to| describe(&to.endpoint)).collect();
    shown.dedup();
    shown
}

fn list(shown: &[String]) -> Option<String> {
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// Where a key of the user's Codex settings was decided.
fn decided(codex: &CodexSettings, key: &str) -> Option<Source> {
    let within = |explained: &str| {
        explained.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    codex.explained.iter().find(|explained| within(&explained.key)).map(|explained| explained.source.clone())
}

fn of_codex(codex: &CodexSettings) -> (TelemetrySettings, Source) {
    let nothing = || (TelemetrySettings::default(), Source::Default);
    let Some(otel) = &codex.otel else { return nothing() };
    match TelemetrySettings::from_table(&table(codex, otel)) {
        Ok(settings) => {
            let from = decided(codex, "otel").unwrap_or(Source::Default);
            (settings, from)
        }
        Err(error) => {
            warn(&format!("telemetry: Codex's `[otel]`: {error}"));
            nothing()
        }
    }
}

/// The table as `co-telemetry` reads it: there an exporter that nobody named follows `exporter`.
fn table(codex: &CodexSettings, otel: &OtelSettings) -> OtelTable {
    let named = |key: &str, exporter: &OtelExporter| {
        decided(codex, &format!("otel.{key}")).is_some().then(|| exporter_table(exporter))
    };
    OtelTable {
        environment: otel.environment.clone(),
        log_user_prompt: otel.log_user_prompt,
        exporter: named("exporter", &otel.logs),
        trace_exporter: named("trace_exporter", &otel.traces),
        metrics_exporter: named("metrics_exporter", &otel.metrics),
    }
}

fn exporter_table(exporter: &OtelExporter) -> ExporterTable {
    let texts = |headers: &indexmap::IndexMap<String, co_config::SecretText>| {
        headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect()
    };
    match exporter {
        OtelExporter::None => ExporterTable::None,
        OtelExporter::Statsig => ExporterTable::Statsig,
        OtelExporter::Http { endpoint, is_json, headers, tls } => ExporterTable::OtlpHttp {
            endpoint: endpoint.clone(),
            protocol: if *is_json { Encoding::Json } else { Encoding::Binary },
            headers: texts(headers),
            tls: files(tls),
        },
        OtelExporter::Grpc { endpoint, headers, tls } => {
            ExporterTable::OtlpGrpc { endpoint: endpoint.clone(), headers: texts(headers), tls: files(tls) }
        }
    }
}

fn files(tls: &OtelTls) -> TlsFiles {
    let path = |text: &Option<String>| text.as_ref().map(PathBuf::from);
    TlsFiles {
        ca_certificate: path(&tls.ca_certificate),
        client_certificate: path(&tls.client_certificate),
        client_private_key: path(&tls.client_private_key),
    }
}

fn program_of_codex(codex: &CodexSettings) -> (Option<Target>, Source) {
    let target = codex.notify.clone().and_then(|argv| {
        Target::codex_notify(argv)
            .map_err(|error| warn(&format!("notification: Codex's `notify`: {error}")))
            .ok()
    });
    let from = target.as_ref().and_then(|_| decided(codex, "notify")).unwrap_or(Source::Default);
    (target, from)
}
