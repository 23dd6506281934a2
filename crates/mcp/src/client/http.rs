//! A server at an address: streamable HTTP with the headers that its definition gives.

use std::collections::HashMap;

use co_config::McpTransport;
use http::{HeaderName, HeaderValue};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use super::{Caller, ClientError};

/// Sets up what speaks with the server; nothing is sent yet.
///
/// Redirects are not followed: they would take the person's headers to wherever the server says.
pub(super) fn transport(
    caller: &Caller<'_>,
) -> Result<(reqwest::Client, StreamableHttpClientTransportConfig), ClientError> {
    let server = || caller.name.to_owned();
    let McpTransport::Http { url, bearer_token_env_var, http_headers, env_http_headers, .. } =
        &caller.server.transport
    else {
        return Err(ClientError::Http { server: server(), detail: "it has no address".to_owned() });
    };
    let variable =
        |name: &str| caller.environment.get(name).map(|value| value.to_string_lossy().into_owned());
    let mut headers = HashMap::new();
    let mut header = |name: &str, value: &str| -> Result<(), ClientError> {
        let refused = || ClientError::Header { server: server(), header: name.to_owned() };
        let key = HeaderName::try_from(name).map_err(|_| refused())?;
        let mut value = HeaderValue::try_from(value).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.insert(key, value);
        Ok(())
    };
    for (name, value) in http_headers {
        header(name, value.reveal())?;
    }
    for (name, named) in env_http_headers {
        match variable(named.reveal()) {
            Some(value) => header(name, &value)?,
            None => {
                return Err(ClientError::MissingVariable {
                    server: server(),
                    variable: named.reveal().to_owned(),
                });
            }
        }
    }
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str());
    if let Some(name) = bearer_token_env_var {
        let token = variable(name)
            .ok_or_else(|| ClientError::MissingVariable { server: server(), variable: name.clone() })?;
        config = config.auth_header(token);
    }
    // Somebody in this process may have chosen before; it is the same one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
    if url.starts_with("http://") {
        // Nothing to be certain of: the machine's certificates need not be read, nor be there.
        client = client.tls_certs_only([]);
    }
    let client =
        client.build().map_err(|error| ClientError::Http { server: server(), detail: error.to_string() })?;
    Ok((client, config.custom_headers(headers)))
}
