"""Starts the program; holds nothing but how to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .run import Child, Run

_LINES = ("--format", "jsonl")

ApprovalPolicy = Literal["never", "on-request", "untrusted"]
Sandbox = Literal["read-only", "workspace-write", "danger-full-access"]
Scope = Literal["once", "run", "session", "task", "always"]


@dataclass(frozen=True)
class Agent:
    """A turn of an agent; ``resume`` names the run or the thread whose conversation goes on."""

    agent: str
    prompt: str
    model: str | None = None
    resume: str | None = None


class Orchestrator:
    """Where the program is, and where it works.

    ``program`` is looked up on ``PATH``, ``root`` found from the working directory, and ``env`` this
    process's own, unless they are given. Runs are filed under ``task``.
    """

    def __init__(
        self,
        *,
        program: str = "codex-orchestrator",
        root: str | None = None,
        env: Mapping[str, str] | None = None,
        task: str | None = None,
    ) -> None:
        self._program = program
        self._root = root
        self._env = env
        self._task = task

    async def start(
        self,
        pipeline: str | None = None,
        *,
        target: str | None = None,
        description: str | None = None,
        worktree: bool = False,
        approval_policy: ApprovalPolicy | None = None,
        sandbox: Sandbox | None = None,
    ) -> Run:
        """Starts a run of a pipeline, or of the default one."""
        words = ["start", *_LINES, "--no-interactive"]
        words += _options(
            target=target, description=description, approval_policy=approval_policy, sandbox=sandbox
        )
        if worktree:
            words.append("--worktree")
        if pipeline is not None:
            words += ["--", pipeline]
        return await self._run(words)

    async def exec(
        self,
        work: Sequence[str] | Agent,
        *,
        cwd: str | None = None,
        output_schema: str | None = None,
        timeout: float | None = None,
        full_auto: bool = False,
        notify: Sequence[str] = (),
        approval_policy: ApprovalPolicy | None = None,
        sandbox: Sandbox | None = None,
    ) -> Run:
        """Runs one command, or one turn of an agent; ``timeout`` is in seconds."""
        words = ["exec", *_LINES]
        words += _options(
            cwd=cwd, output_schema=output_schema, approval_policy=approval_policy, sandbox=sandbox
        )
        if timeout is not None:
            words += _options(timeout=f"{round(timeout * 1000)}ms")
        if full_auto:
            words.append("--full-auto")
        for address in notify:
            words += _options(notify=address)
        if not isinstance(work, Agent):
            return await self._run([*words, "--", *work])
        words += _options(agent=work.agent, model=work.model)
        if work.resume is not None:
            words += ["resume", "--", work.resume]
        # A prompt may be longer than a command line, and is nobody else's to see.
        return await self._run([*words, "-"], work.prompt)

    async def resume(
        self,
        run: str,
        *,
        reason: str | None = None,
        token: str | None = None,
        recorded_pipeline: bool = False,
    ) -> Run:
        """Lets a run go on."""
        words = ["resume", *_LINES, "--no-interactive", *_options(run=run, reason=reason)]
        if recorded_pipeline:
            words.append("--recorded-pipeline")
        if token is not None:
            words += ["--token", "-"]
        return await self._run(words, token)

    async def retry(self, run: str) -> Run:
        """Starts a fresh run like an earlier one."""
        return await self._run(["retry", *_LINES, "--no-interactive", *_options(run=run)])

    async def cancel(self, run: str, reason: str | None = None) -> None:
        """Stops a run of any process, and waits for its end."""
        await self._ask(["cancel", *_options(run=run, reason=reason)])

    async def answer(
        self,
        run: str,
        answer: Literal["yes", "no"],
        *,
        stage: str | None = None,
        call: str | None = None,
        scope: Scope | None = None,
        reason: str | None = None,
    ) -> None:
        """Answers an open question of a run."""
        options = _options(run=run, stage=stage, call=call, scope=scope, reason=reason)
        await self._ask(["answer", *options, answer])

    async def _child(self, words: Sequence[str], stdin: str | None = None) -> Child:
        argv = [self._program, *_options(root=self._root, task=self._task), *words]
        return await Child.start(argv, self._root, self._env, stdin)

    async def _run(self, words: Sequence[str], stdin: str | None = None) -> Run:
        return Run(await self._child(words, stdin))

    async def _ask(self, words: Sequence[str]) -> None:
        child = await self._child(words)
        async for _ in child.lines():
            pass
        if await child.ended() != 0:
            raise await child.failure()


def _options(**values: str | None) -> list[str]:
    """Each value is attached to its name, so that none is taken for an option."""
    set_ = ((name.replace("_", "-"), value) for name, value in values.items() if value is not None)
    return [f"--{name}={value}" for name, value in set_]
