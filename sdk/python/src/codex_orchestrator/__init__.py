"""Runs and follows Codex Orchestrator: every call starts the program and reads its JSON lines."""

from .errors import OrchestratorError
from .events import ExecResult, RunEvent
from .orchestrator import Agent, Orchestrator
from .run import OutputEvent, ResultEvent, Run, RunMessage, RunResult

__all__ = [
    "Agent",
    "ExecResult",
    "Orchestrator",
    "OrchestratorError",
    "OutputEvent",
    "ResultEvent",
    "Run",
    "RunEvent",
    "RunMessage",
    "RunResult",
]
