//! The resources: pipelines, and the manifest, events and summary of every run.

use co_log::RunFilter;
use co_model::{EventSeq, RunId};
use co_views::to_json;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rmcp::model::{Resource, ResourceContents, ResourceTemplate};

use crate::desk::Desk;
use crate::host::{Host, PlanRequest, Refusal};
use crate::tools;

/// How every address of ours begins.
const SCHEME: &str = "codex-orchestrator://";
/// What an id may hold in an address as it is: the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How many runs one page of the list shows.
const PAGE: usize = 50;
/// The largest event stream that is read as one resource, in bytes.
const LARGEST_STREAM: usize = 8 << 20;
/// How many events are read at a time.
const EVENTS_AT_ONCE: usize = 500;
/// How many runs are looked through for a completion.
const COMPLETED_FROM: usize = 1_000;

/// A resource, as its address names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// The repository's pipelines.
    Pipelines,
    /// What a run of one pipeline would do.
    Pipeline(String),
    /// A part of a run.
    Run(RunId, Part),
}

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Manifest,
    Events,
    Summary,
}

impl Part {
    const ALL: [Self; 3] = [Self::Manifest, Self::Events, Self::Summary];

    fn word(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::Events => "events",
            Self::Summary => "summary",
        }
    }

    fn mime_type(self) -> &'static str {
        match self {
            Self::Manifest | Self::Summary => "application/json",
            Self::Events => "application/jsonl",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Manifest => "Everything about one run, as its manifest.json has it",
            Self::Events => "What happened in one run, one JSON object a line",
            Self::Summary => "What one run set out to do and what came of it",
        }
    }
}

impl Address {
    /// Reads an address; says what is wrong with one that is none of ours.
    pub(crate) fn parse(uri: &str) -> Result<Self, Refusal> {
        let unknown = || {
            let shown: String = uri.chars().take(200).collect();
            Refusal::new(Refusal::NOT_FOUND, format!("there is no resource `{}`", shown.escape_debug()))
        };
        let path = uri.strip_prefix(SCHEME).ok_or_else(unknown)?;
        let decoded = |text: &str| {
            percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned).map_err(|_| unknown())
        };
        let segments: Vec<&str> = path.splitn(4, '/').collect();
        match segments.as_slice() {
            ["pipelines"] => Ok(Self::Pipelines),
            ["pipelines", id] if !id.is_empty() => Ok(Self::Pipeline(decoded(id)?)),
            ["runs", run, part] => {
                let part = Part::ALL.into_iter().find(|known| known.word() == *part).ok_or_else(unknown)?;
                Ok(Self::Run(RunId::new(decoded(run)?).map_err(Refusal::usage)?, part))
            }
            _ => Err(unknown()),
        }
    }

    /// The address as text.
    pub(crate) fn uri(&self) -> String {
        let escaped = |id: &str| utf8_percent_encode(id, ESCAPED).to_string();
        match self {
            Self::Pipelines => format!("{SCHEME}pipelines"),
            Self::Pipeline(id) => format!("{SCHEME}pipelines/{}", escaped(id)),
            Self::Run(run, part) => format!("{SCHEME}runs/{}/{}", escaped(run.as_str()), part.word()),
        }
    }
}

/// The forms that addresses take.
pub(crate) fn templates() -> Vec<ResourceTemplate> {
    let runs = Part::ALL.into_iter().map(|part| {
        ResourceTemplate::new(format!("{SCHEME}runs/{{run}}/{}", part.word()), format!("run-{}", part.word()))
            .with_title(format!("A run's {}", part.word()))
            .with_description(part.description())
            .with_mime_type(part.mime_type())
    });
    let plan = ResourceTemplate::new(format!("{SCHEME}pipelines/{{pipeline}}"), "pipeline")
        .with_title("A pipeline")
        .with_description("One pipeline, its stages, and what a run of it would do")
        .with_mime_type("application/json");
    runs.chain([plan]).collect()
}

/// One page of the list, with where the next one begins.
pub(crate) async fn list(
    desk: &Desk,
    cursor: Option<String>,
) -> Result<(Vec<Resource>, Option<String>), Refusal> {
    let before = cursor.as_deref().map(RunId::new).transpose().map_err(Refusal::usage)?;
    desk.ask(move |host| {
        let mut resources = Vec::new();
        if before.is_none() {
            resources.push(
                Resource::new(Address::Pipelines.uri(), "pipelines")
                    .with_title("Pipelines")
                    .with_description("The pipelines of this repository that can be started")
                    .with_mime_type("application/json"),
            );
        }
        if !host.has_runs() {
            return Ok((resources, None));
        }
        let filter = RunFilter { before, limit: PAGE, ..RunFilter::default() };
        let heads = host.orchestrator()?.runs(&filter).map_err(|error| host.explain(error))?;
        for head in &heads {
            resources.extend(Part::ALL.into_iter().map(|part| {
                let uri = Address::Run(head.run.clone(), part).uri();
                Resource::new(uri, format!("{} of {}", part.word(), head.run))
                    .with_description(part.description())
                    .with_mime_type(part.mime_type())
            }));
        }
        let next = heads.last().filter(|_| heads.len() == PAGE).map(|head| head.run.to_string());
        Ok((resources, next))
    })
    .await
}

/// Reads a resource as it is now.
pub(crate) async fn read(desk: &Desk, address: Address) -> Result<ResourceContents, Refusal> {
    let uri = address.uri();
    let (text, mime_type) = desk.ask(move |host| text_of(host, &address)).await?;
    Ok(ResourceContents::text(text, uri).with_mime_type(mime_type))
}

fn text_of(host: &dyn Host, address: &Address) -> Result<(String, &'static str), Refusal> {
    let json = "application/json";
    let (run, part) = match address {
        Address::Pipelines => return Ok((to_json(&tools::pipelines(host)?), json)),
        Address::Pipeline(id) => {
            let request = PlanRequest { pipeline: Some(id.clone()), ..PlanRequest::default() };
            return Ok((to_json(&host.plan(&request)?), json));
        }
        Address::Run(run, part) => (run, *part),
    };
    let orchestrator = host.orchestrator()?;
    let snapshot = orchestrator.snapshot(run).map_err(|error| host.explain(error))?;
    let layout = orchestrator.layout();
    let text = match part {
        Part::Manifest => to_json(&co_views::manifest(&snapshot.state, layout, snapshot.heartbeat)),
        Part::Summary => to_json(&co_views::run_summary(&snapshot.state, layout)),
        Part::Events => {
            let (mut stream, mut seen) = (String::new(), EventSeq(0));
            loop {
                let lines = tools::snapshot_events(host, &snapshot, seen, EVENTS_AT_ONCE)?;
                if lines.is_empty() {
                    break stream;
                }
                seen = EventSeq(seen.0 + lines.len() as u64);
                for line in lines {
                    stream.push_str(&line);
                    stream.push('\n');
                }
                if stream.len() > LARGEST_STREAM {
                    let message = format!(
                        "the events of run `{run}` are more than {LARGEST_STREAM} bytes; the tool `run_events` reads them page by page"
                    );
                    return Err(Refusal::usage(message));
                }
            }
        }
    };
    Ok((text, part.mime_type()))
}

/// What could be written where an address has `argument`, and whether there is more than fits.
pub(crate) async fn complete(
    desk: &Desk,
    argument: &str,
    begun: String,
    at_most: usize,
) -> Result<(Vec<String>, bool), Refusal> {
    let argument = argument.to_owned();
    desk.ask(move |host| {
        let known: Vec<String> = match argument.as_str() {
            "run" if host.has_runs() => {
                let filter = RunFilter { limit: COMPLETED_FROM, ..RunFilter::default() };
                let heads = host.orchestrator()?.runs(&filter).map_err(|error| host.explain(error))?;
                heads.into_iter().map(|head| head.run.to_string()).collect()
            }
            "pipeline" => tools::pipelines(host)?.pipelines.into_iter().map(|entry| entry.id).collect(),
            _ => Vec::new(),
        };
        let mut fitting: Vec<String> = known.into_iter().filter(|id| id.starts_with(&begun)).collect();
        let more = fitting.len() > at_most;
        fitting.truncate(at_most);
        Ok((fitting, more))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let run = RunId::new("2026-11-21T08-00-09-528Z-5f8b6b44.tâche 7").unwrap();
        for part in Part::ALL {
            let address = Address::Run(run.clone(), part);
            assert_eq!(Address::parse(&address.uri()), Ok(address.clone()));
            assert!(address.uri().is_ascii());
        }
        let pipeline = Address::Pipeline("a b%".to_owned());
        assert_eq!(Address::parse(&pipeline.uri()), Ok(pipeline));
        assert_eq!(Address::parse("codex-orchestrator://pipelines"), Ok(Address::Pipelines));
    }

    #[test]
    fn strange_addresses_are_refused() {
        for bad in [
            "",
            "file:///etc/passwd",
            "codex-orchestrator://",
            "codex-orchestrator://runs",
            "codex-orchestrator://runs/x",
            "codex-orchestrator://runs/x/nothing",
            "codex-orchestrator://runs/x/manifest/more",
            "codex-orchestrator://runs/%2e%2e%2fetc/manifest",
            "codex-orchestrator://runs/../manifest",
            "codex-orchestrator://runs/%ff/manifest",
            "codex-orchestrator://pipelines/",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
