//! Where telemetry goes: Codex's `[otel]` table, one plain endpoint, or the standard variables.
//!
//! Pure: files named here are read by the exporter's own thread, and variables come in through a function.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::Secret;

/// Longest time one request may take, in the background.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long records wait for company before they are sent.
const LINGER: Duration = Duration::from_secs(1);
/// How long the very first ones do.
const FIRST_LINGER: Duration = Duration::from_millis(50);

/// The variable with further resource attributes.
const RESOURCE_ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The three kinds of telemetry, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub(crate) const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// The last part of the signal's OTLP path.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// Everything the exporter can be told. The default sends nothing anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Where spans go.
    pub traces: Option<Destination>,
    /// Where log records go.
    pub logs: Option<Destination>,
    /// Where metrics go.
    pub metrics: Option<Destination>,
    /// `deployment.environment.name` of everything sent.
    pub environment: Option<String>,
    /// `service.version` of everything sent.
    pub service_version: String,
    /// Further resource attributes.
    pub resource: Vec<(String, String)>,
    /// Whether prompts, questions, reasons and agents' messages are sent too. Never unless this is set.
    pub log_user_prompt: bool,
    /// Folder in which failing collectors are remembered, shared by all runs of a project. Without one, only this
    /// process remembers.
    pub state_dir: Option<PathBuf>,
    /// Longest time one request may take. It never adds to a run: requests are made on a thread of their own.
    pub request_timeout: Duration,
    /// How long a record waits for company during a run before it is sent.
    pub linger: Duration,
    /// How long the very first records wait: shorter, so that the connection is there when a short run ends.
    pub first_linger: Duration,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            traces: None,
            logs: None,
            metrics: None,
            environment: None,
            service_version: env!("CARGO_PKG_VERSION").to_owned(),
            resource: Vec::new(),
            log_user_prompt: false,
            state_dir: None,
            request_timeout: REQUEST_TIMEOUT,
            linger: LINGER,
            first_linger: FIRST_LINGER,
        }
    }
}

/// Where one kind of telemetry is sent, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// For HTTP the complete address; for gRPC scheme, host and port.
    pub endpoint: String,
    /// The wire protocol.
    pub protocol: Protocol,
    /// Sent with every request, for authentication.
    pub headers: Vec<(String, Secret)>,
    /// Certificates other than the system's.
    pub tls: TlsFiles,
    /// Whether bodies are compressed with gzip.
    pub gzip: bool,
}

/// How requests travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One POST per batch.
    Http(Encoding),
    /// One unary call per batch.
    Grpc,
}

/// How a batch is written over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Protobuf.
    #[default]
    Binary,
    /// Protobuf's JSON form.
    Json,
}

/// PEM files for TLS; the system's certificates are trusted when no authority is named.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlsFiles {
    /// The authority to trust instead of the system's.
    pub ca_certificate: Option<PathBuf>,
    /// Our own certificate.
    pub client_certificate: Option<PathBuf>,
    /// Its key.
    pub client_private_key: Option<PathBuf>,
}

/// Codex's `[otel]` table, as it stands in `config.toml`.
///
/// An exporter that is not named follows `exporter`. `statsig` is Codex's own service and sends nothing here.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct OtelTable {
    /// `deployment.environment.name`.
    pub environment: Option<String>,
    /// Whether prompts are exported.
    #[serde(default)]
    pub log_user_prompt: bool,
    /// Where log records go, and everything else that has no exporter of its own.
    pub exporter: Option<ExporterTable>,
    /// Where spans go.
    pub trace_exporter: Option<ExporterTable>,
    /// Where metrics go.
    pub metrics_exporter: Option<ExporterTable>,
}

/// One exporter of Codex's `[otel]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExporterTable {
    /// Nothing is sent.
    None,
    /// Codex's own service; nothing is sent.
    Statsig,
    /// OTLP over HTTP.
    OtlpHttp {
        /// The address.
        endpoint: String,
        /// How a batch is written.
        #[serde(default)]
        protocol: Encoding,
        /// Sent with every request.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Certificates.
        #[serde(default)]
        tls: TlsFiles,
    },
    /// OTLP over gRPC.
    OtlpGrpc {
        /// The address.
        endpoint: String,
        /// Sent with every request.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Certificates.
        #[serde(default)]
        tls: TlsFiles,
    },
}

/// Says why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The address is not an `http://` or `https://` URL.
    #[error("`{endpoint}` is not an endpoint; write `http://host:port` or `https://host:port`")]
    Endpoint {
        /// The refused text, without what may be secret in it.
        endpoint: String,
    },
    /// The protocol's name is unknown.
    #[error("`{value}` in {variable} is not a protocol; known are `grpc`, `http/protobuf` and `http/json`")]
    Protocol {
        /// The variable it came from.
        variable: String,
        /// The refused text.
        value: String,
    },
    /// A header or attribute list is not `key=value,…`.
    #[error("{variable} is not a list of `key=value`, separated by commas")]
    Pairs {
        /// The variable it came from.
        variable: String,
    },
}

impl TelemetrySettings {
    /// Whether anything is sent at all.
    pub const fn is_on(&self) -> bool {
        self.traces.is_some() || self.logs.is_some() || self.metrics.is_some()
    }

    pub(crate) const fn destination(&self, signal: Signal) -> Option<&Destination> {
        match signal {
            Signal::Traces => self.traces.as_ref(),
            Signal::Logs => self.logs.as_ref(),
            Signal::Metrics => self.metrics.as_ref(),
        }
    }

    const fn destination_mut(&mut self, signal: Signal) -> &mut Option<Destination> {
        match signal {
            Signal::Traces => &mut self.traces,
            Signal::Logs => &mut self.logs,
            Signal::Metrics => &mut self.metrics,
        }
    }

    /// Sends everything to one address over HTTP with protobuf: `--otel-endpoint`.
    ///
    /// # Errors
    /// [`SettingsError::Endpoint`] unless it is an HTTP address.
    pub fn from_endpoint(endpoint: &str) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for signal in Signal::ALL {
            *settings.destination_mut(signal) = Some(Destination {
                endpoint: shared_path(endpoint, signal)?,
                protocol: Protocol::Http(Encoding::Binary),
                headers: Vec::new(),
                tls: TlsFiles::default(),
                gzip: false,
            });
        }
        Ok(settings)
    }

    /// Reads Codex's `[otel]` table.
    ///
    /// # Errors
    /// [`SettingsError::Endpoint`] unless every address is an HTTP address.
    pub fn from_table(table: &OtelTable) -> Result<Self, SettingsError> {
        let mut settings = Self {
            environment: table.environment.clone(),
            log_user_prompt: table.log_user_prompt,
            ..Self::default()
        };
        for signal in Signal::ALL {
            let own = match signal {
                Signal::Traces => table.trace_exporter.as_ref(),
                Signal::Logs => table.exporter.as_ref(),
                Signal::Metrics => table.metrics_exporter.as_ref(),
            };
            *settings.destination_mut(signal) = match (own, &table.exporter) {
                (Some(own), _) if signal != Signal::Logs => own.destination(signal, own_path)?,
                (_, Some(shared)) => shared.destination(signal, shared_path)?,
                _ => None,
            };
        }
        Ok(settings)
    }

    /// Reads the standard `OTEL_…` variables: endpoint, headers, protocol, compression, certificate (each also per
    /// signal), `OTEL_SDK_DISABLED`, `OTEL_{TRACES,LOGS,METRICS}_EXPORTER=none`, `OTEL_RESOURCE_ATTRIBUTES`.
    ///
    /// A signal without an endpoint is not sent. A `deployment.environment.name` among the resource attributes
    /// becomes the environment.
    ///
    /// # Errors
    /// [`SettingsError`] with the variable that cannot be understood.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let mut settings = Self::default();
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(settings);
        }
        for signal in Signal::ALL {
            let upper = signal.as_str().to_ascii_uppercase();
            if variable(&format!("OTEL_{upper}_EXPORTER")).is_some_and(|value| value == "none") {
                continue;
            }
            *settings.destination_mut(signal) = destination_from_variables(signal, &upper, &variable)?;
        }
        for (key, value) in pairs(RESOURCE_ATTRIBUTES, variable(RESOURCE_ATTRIBUTES).as_deref())? {
            match key.as_str() {
                "deployment.environment.name" | "deployment.environment" => {
                    settings.environment = Some(value);
                }
                // These are ours to say.
                "service.name" | "service.version" => {}
                _ => settings.resource.push((key, value)),
            }
        }
        Ok(settings)
    }
}

/// One signal's destination; its own variable wins over the shared one.
fn destination_from_variables(
    signal: Signal,
    upper: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<Option<Destination>, SettingsError> {
    let named = |what: &str| {
        let (own, shared) =
            (format!("OTEL_EXPORTER_OTLP_{upper}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}"));
        variable(&own).map(|value| (own, value)).or_else(|| variable(&shared).map(|value| (shared, value)))
    };
    let protocol = match named("PROTOCOL") {
        None => Protocol::Http(Encoding::Binary),
        Some((variable, value)) => match value.trim() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http(Encoding::Binary),
            "http/json" => Protocol::Http(Encoding::Json),
            _ => return Err(SettingsError::Protocol { variable, value }),
        },
    };
    let own_endpoint = variable(&format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT"));
    let shared_endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let endpoint = match (own_endpoint, shared_endpoint, protocol) {
        (Some(endpoint), _, Protocol::Grpc) | (None, Some(endpoint), Protocol::Grpc) => origin(&endpoint)?,
        (Some(endpoint), _, Protocol::Http(_)) => own_path(&endpoint, signal)?,
        (None, Some(endpoint), Protocol::Http(_)) => shared_path(&endpoint, signal)?,
        (None, None, _) => return Ok(None),
    };
    let headers = match named("HEADERS") {
        None => Vec::new(),
        Some((variable, value)) => pairs(&variable, Some(&value))?
            .into_iter()
            .map(|(key, value)| (key, Secret::new(value)))
            .collect(),
    };
    let path = |what: &str| named(what).map(|(_, value)| PathBuf::from(value));
    Ok(Some(Destination {
        endpoint,
        protocol,
        headers,
        tls: TlsFiles {
            ca_certificate: path("CERTIFICATE"),
            client_certificate: path("CLIENT_CERTIFICATE"),
            client_private_key: path("CLIENT_KEY"),
        },
        gzip: named("COMPRESSION").is_some_and(|(_, value)| value.trim() == "gzip"),
    }))
}

impl ExporterTable {
    fn destination(
        &self,
        signal: Signal,
        path: fn(&str, Signal) -> Result<String, SettingsError>,
    ) -> Result<Option<Destination>, SettingsError> {
        let (endpoint, protocol, headers, tls) = match self {
            Self::None | Self::Statsig => return Ok(None),
            Self::OtlpHttp { endpoint, protocol, headers, tls } => {
                (path(endpoint, signal)?, Protocol::Http(*protocol), headers, tls)
            }
            Self::OtlpGrpc { endpoint, headers, tls } => (origin(endpoint)?, Protocol::Grpc, headers, tls),
        };
        let headers = headers.iter().map(|(key, value)| (key.clone(), Secret::new(value.as_str()))).collect();
        Ok(Some(Destination { endpoint, protocol, headers, tls: tls.clone(), gzip: false }))
    }
}

/// The address for one signal when all signals share an endpoint: `/v1/<signal>` is appended, or takes the place
/// of another signal's path. A bare endpoint sent as it is would answer 404 and lose everything.
fn shared_path(endpoint: &str, signal: Signal) -> Result<String, SettingsError> {
    let (origin, path) = split(endpoint)?;
    let mut base = path.trim_end_matches('/');
    for other in Signal::ALL {
        if let Some(before) = base.strip_suffix(other.as_str()).and_then(|rest| rest.strip_suffix("/v1/")) {
            base = before;
            break;
        }
    }
    Ok(format!("{origin}{base}/v1/{}", signal.as_str()))
}

/// The address for one signal that has an endpoint of its own: as it is, unless it has no path at all.
fn own_path(endpoint: &str, signal: Signal) -> Result<String, SettingsError> {
    let (origin, path) = split(endpoint)?;
    match path.trim_end_matches('/') {
        "" => Ok(format!("{origin}/v1/{}", signal.as_str())),
        _ => Ok(format!("{origin}{path}")),
    }
}

/// gRPC names its methods itself: only scheme, host and port count.
fn origin(endpoint: &str) -> Result<String, SettingsError> {
    split(endpoint).map(|(origin, _)| origin.to_owned())
}

/// Splits an address into scheme with authority, and path.
fn split(endpoint: &str) -> Result<(&str, &str), SettingsError> {
    let endpoint = endpoint.trim();
    let refuse = || SettingsError::Endpoint { endpoint: crate::http::describe(endpoint) };
    let uri: tonic::codegen::http::Uri = endpoint.parse().map_err(|_| refuse())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if !is_http || !has_host {
        return Err(refuse());
    }
    let host_at = endpoint.find("://").map_or(0, |at| at + 3);
    let path_at = endpoint[host_at..].find(['/', '?']).map_or(endpoint.len(), |at| host_at + at);
    Ok(endpoint.split_at(path_at))
}

/// Reads `key=value,key=value` with percent-encoded values, as the OpenTelemetry specification writes it.
fn pairs(variable: &str, text: Option<&str>) -> Result<Vec<(String, String)>, SettingsError> {
    let refuse = || SettingsError::Pairs { variable: variable.to_owned() };
    text.unwrap_or_default()
        .split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or_else(refuse)?;
            let key = key.trim();
            if key.is_empty() {
                return Err(refuse());
            }
            Ok((key.to_owned(), percent_decoded(value.trim()).ok_or_else(refuse)?))
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (*first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
                (digit(*high)? * 16 + digit(*low)?, after)
            }
            (byte, after) => (byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(settings: &TelemetrySettings) -> [Option<&str>; 3] {
        Signal::ALL.map(|signal| settings.destination(signal).map(|to| to.endpoint.as_str()))
    }

    fn from_json(table: &str) -> TelemetrySettings {
        TelemetrySettings::from_table(&serde_json::from_str(table).unwrap()).unwrap()
    }

    #[test]
    fn a_bare_endpoint_gets_the_path_of_each_signal() {
        for endpoint in
            ["http://c:4318", "http://c:4318/", "http://c:4318/v1/logs", "http://c:4318/v1/traces/"]
        {
            assert_eq!(
                endpoints(&TelemetrySettings::from_endpoint(endpoint).unwrap()),
                [
                    Some("http://c:4318/v1/traces"),
                    Some("http://c:4318/v1/logs"),
                    Some("http://c:4318/v1/metrics")
                ],
                "{endpoint}"
            );
        }
        let behind_a_path = TelemetrySettings::from_endpoint("https://gateway.example/otlp").unwrap();
        assert_eq!(behind_a_path.traces.unwrap().endpoint, "https://gateway.example/otlp/v1/traces");
    }

    #[test]
    fn what_is_no_http_address_is_refused_without_showing_its_secrets() {
        for bad in ["", "localhost:4318", "ftp://x", "unix:///s", "http://", "/v1/traces"] {
            assert!(TelemetrySettings::from_endpoint(bad).is_err(), "{bad:?} must be refused");
        }
        let error = TelemetrySettings::from_endpoint("ftp://me:hunter2@x/y?token=hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn the_table_of_codex_is_understood() {
        let settings = from_json(
            r#"{"environment": "staging", "log_user_prompt": true,
                "exporter": {"otlp-http": {"endpoint": "https://c/v1/logs", "protocol": "json",
                    "headers": {"x-key": "hunter2"}, "tls": {"ca-certificate": "/ca.pem"}}},
                "trace_exporter": {"otlp-grpc": {"endpoint": "https://c:4317/ignored"}},
                "metrics_exporter": "statsig"}"#,
        );
        assert_eq!(endpoints(&settings), [Some("https://c:4317"), Some("https://c/v1/logs"), None]);
        assert_eq!(settings.environment.as_deref(), Some("staging"));
        assert!(settings.log_user_prompt);
        let logs = settings.logs.as_ref().unwrap();
        assert_eq!(logs.protocol, Protocol::Http(Encoding::Json));
        assert_eq!(logs.headers, [("x-key".to_owned(), Secret::new("hunter2"))]);
        assert_eq!(logs.tls.ca_certificate, Some(PathBuf::from("/ca.pem")));
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn an_exporter_without_its_own_table_follows_the_first() {
        let settings = from_json(r#"{"exporter": {"otlp-http": {"endpoint": "http://c/v1/logs"}}}"#);
        assert_eq!(
            endpoints(&settings),
            [Some("http://c/v1/traces"), Some("http://c/v1/logs"), Some("http://c/v1/metrics")]
        );
        assert!(!from_json(r#"{"exporter": "none"}"#).is_on());
        assert!(!from_json("{}").is_on());
        assert!(!TelemetrySettings::default().is_on());
    }

    #[test]
    fn an_exporter_of_one_signal_keeps_its_path_as_it_is() {
        let settings =
            from_json(r#"{"trace_exporter": {"otlp-http": {"endpoint": "https://c/ingest?x=1"}}}"#);
        assert_eq!(endpoints(&settings), [Some("https://c/ingest?x=1"), None, None]);
    }

    #[test]
    fn the_standard_variables_are_understood() {
        let settings = TelemetrySettings::from_variables(|name| {
            let value = match name {
                "OTEL_EXPORTER_OTLP_ENDPOINT" => "http://c:4318",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => "http://t:4317/",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" => "grpc",
                "OTEL_EXPORTER_OTLP_PROTOCOL" => "http/json",
                "OTEL_EXPORTER_OTLP_HEADERS" => "authorization=Basic%20Zm9v, x-tenant=a",
                "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION" => "gzip",
                "OTEL_METRICS_EXPORTER" => "none",
                "OTEL_RESOURCE_ATTRIBUTES" => "deployment.environment.name=ci,team=core,service.name=x",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap();
        assert_eq!(endpoints(&settings), [Some("http://t:4317"), Some("http://c:4318/v1/logs"), None]);
        let logs = settings.logs.as_ref().unwrap();
        assert!(logs.gzip);
        assert_eq!(logs.protocol, Protocol::Http(Encoding::Json));
        assert_eq!(logs.headers[0], ("authorization".to_owned(), Secret::new("Basic Zm9v")));
        assert_eq!(settings.traces.as_ref().unwrap().protocol, Protocol::Grpc);
        assert_eq!(settings.environment.as_deref(), Some("ci"));
        assert_eq!(settings.resource, [("team".to_owned(), "core".to_owned())]);
    }

    #[test]
    fn variables_that_cannot_be_understood_are_refused_by_name() {
        let one = |name: &'static str, value: &'static str| {
            TelemetrySettings::from_variables(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert_eq!(
            one("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke"),
            Err(SettingsError::Protocol {
                variable: "OTEL_EXPORTER_OTLP_PROTOCOL".into(),
                value: "smoke".into()
            })
        );
        assert!(one("OTEL_RESOURCE_ATTRIBUTES", "novalue").is_err());
        assert!(one("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4318").is_err());
        assert!(!one("OTEL_SDK_DISABLED", "true").unwrap().is_on());
    }
}
