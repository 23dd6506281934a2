"""A run that this process follows."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict, Union, cast

from .errors import OrchestratorError
from .events import ExecResult, RunEvent

_LONGEST_LINE = 64 << 20
_KEPT_STDERR = 64 << 10
_PIECE = 64 << 10


class OutputEvent(TypedDict):
    """Some output of the command or agent of ``exec``, in its place among the events."""

    v: int
    at: str | None
    type: Literal["output"]
    stage_id: str
    attempt: int
    stream: Literal["stdout", "stderr", "terminal"]
    # The output, when it is text.
    text: NotRequired[str]
    # The output, byte for byte, when it is not.
    bytes: NotRequired[list[int]]


class ResultEvent(TypedDict):
    """The last message of ``exec``."""

    v: int
    type: Literal["result"]
    data: ExecResult


RunMessage = Union[RunEvent, OutputEvent, ResultEvent]


@dataclass(frozen=True)
class RunResult:
    """What came of a run; ``exec`` is None for pipelines."""

    run_id: str
    task_id: str
    status: str
    exit_code: int
    exec: ExecResult | None


class Child:
    """The program under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._stderr = bytearray()
        self._reading = asyncio.create_task(self._read_stderr())

    @classmethod
    async def start(
        cls, argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None, stdin: str | None
    ) -> Child:
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=nothing if stdin is None else pipe,
                stdout=pipe,
                stderr=pipe,
                cwd=cwd,
                env=env,
            )
        except OSError as error:
            message = f"the program could not be started: {error}"
            raise OrchestratorError(message, kind="not-started") from error
        child = cls(process)
        if stdin is not None and process.stdin is not None:
            try:
                process.stdin.write(stdin.encode())
                await process.stdin.drain()
                process.stdin.close()
            except (BrokenPipeError, ConnectionResetError):
                pass  # A program that ends without reading tells why by itself.
        return child

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while piece := await self._process.stderr.read(_PIECE):
            self._stderr += piece
            del self._stderr[:-_KEPT_STDERR]

    @property
    def stderr(self) -> str:
        return self._stderr.decode(errors="replace")

    def terminate(self) -> None:
        try:
            self._process.terminate()
        except ProcessLookupError:
            pass

    async def ended(self) -> int:
        code = await self._process.wait()
        await self._reading
        return code

    async def lines(self) -> AsyncIterator[str]:
        """The lines of standard output; who does not ask makes the program wait."""
        assert self._process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest: list[str] = []
        length = 0
        while piece := await self._process.stdout.read(_PIECE):
            first, *others = decoder.decode(piece).split("\n")
            for part in others:
                yield "".join(rest) + first
                rest, length, first = [], 0, part
            rest.append(first)
            length += len(first)
            if length > _LONGEST_LINE:
                raise self.protocol("a line of output is too long")
        if length:
            yield "".join(rest)

    def protocol(self, message: str) -> OrchestratorError:
        self.terminate()
        return OrchestratorError(message, None, self.stderr, "protocol")

    async def failure(self) -> OrchestratorError:
        """The error for an end without what was asked for."""
        code = await self.ended()
        told = re.search(r"^error: (.*)$", self.stderr, re.MULTILINE)
        last = self.stderr.strip().split("\n")[-1]
        message = told[1] if told else last or f"the program ended with exit code {code}"
        return OrchestratorError(message, code, self.stderr)


class Run:
    """A run that this process follows.

    Iterate over it (``async for message in run``) for its messages; whoever iterates slowly makes
    the program wait, not the memory grow. Whoever only wants the end awaits ``run.result()``. When
    the task that waits for either is cancelled, so is the run.
    """

    def __init__(self, child: Child) -> None:
        self._child = child
        self._made: dict[str, Any] = {}
        self._result: RunResult | None = None
        self._error: BaseException | None = None
        self._messages = self._read()

    @property
    def id(self) -> str | None:
        """The run's id, once its first message has been read."""
        return self._made.get("run_id")

    @property
    def stderr(self) -> str:
        """The end of what the program wrote to standard error, at most 64 KiB."""
        return self._child.stderr

    def cancel(self) -> None:
        """Asks the run to stop: it is recorded as cancelled, and everything in it is ended."""
        self._child.terminate()

    def __aiter__(self) -> AsyncIterator[RunMessage]:
        return self

    async def __anext__(self) -> RunMessage:
        return await self._messages.__anext__()

    async def result(self) -> RunResult:
        """Waits for what came of the run, whether it succeeded or not.

        Raises OrchestratorError when no run came about or it has no end.
        """
        async for _ in self:
            pass
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    async def _read(self) -> AsyncIterator[RunMessage]:
        made = self._made
        try:
            async for line in self._child.lines():
                if not line:
                    continue
                try:
                    message = cast(RunMessage, json.loads(line))
                except ValueError as error:
                    raise self._child.protocol("the program printed a line that is no JSON") from error
                self._learn(message)
                yield message
            code = await self._child.ended()
            if code < 0 or not {"run_id", "task_id", "status"} <= made.keys():
                raise await self._child.failure()
            self._result = RunResult(
                made["run_id"], made["task_id"], made["status"], code, made.get("exec")
            )
        except asyncio.CancelledError:
            self._error = OrchestratorError("the run was cancelled", kind="cancelled")
            self._child.terminate()
            await asyncio.shield(asyncio.create_task(self._end()))
            raise
        except BaseException as error:
            self._error = error
            raise

    async def _end(self) -> None:
        """Waits for the end of a cancelled run; what it still tells is dropped."""
        async for _ in self._child.lines():
            pass
        await self._child.ended()

    def _learn(self, message: RunMessage) -> None:
        if message["type"] == "output":
            return
        if message["type"] == "result":
            self._made["exec"] = message["data"]
            return
        if message["type"] == "run_finished":
            self._made["status"] = message["data"]["status"]
        self._made["run_id"] = message["run_id"]
        self._made["task_id"] = message["task_id"]
