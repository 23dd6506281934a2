"""Drives the real program, which CODEX_ORCHESTRATOR_PROGRAM names, in repositories of its own."""

import asyncio
import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from codex_orchestrator import Orchestrator, OrchestratorError

PROGRAM = os.environ["CODEX_ORCHESTRATOR_PROGRAM"]
PIPELINES = {
    "pipelines": [
        {
            "id": "main",
            "stages": [
                {"id": "one", "command": "echo one"},
                {"id": "two", "command": "test -e fixed"},
            ],
        },
        {
            "id": "ask",
            "stages": [{"kind": "gate", "id": "gate", "message": "Go on?", "expires": "10m"}],
        },
        {"id": "long", "stages": [{"id": "wait", "command": "sleep 600"}]},
    ]
}


class OrchestratorTest(unittest.IsolatedAsyncioTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        subprocess.run(["git", "init", "--quiet", folder.name], check=True)
        (self.root / "codex.orchestrator.json").write_text(json.dumps(PIPELINES))
        self.codex = Orchestrator(program=PROGRAM, root=folder.name, task="sdk")

    async def test_a_commands_output_exit_code_and_record(self) -> None:
        run = await self.codex.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
        messages = [message async for message in run]
        result = await run.result()
        self.assertEqual((result.exit_code, result.status, result.task_id), (3, "failed", "sdk"))
        self.assertEqual(result.run_id, run.id)
        assert result.exec is not None
        self.assertEqual(result.exec["stdout"], "out\n")
        self.assertEqual((messages[0]["type"], messages[-1]["type"]), ("run_created", "result"))
        outputs = [message for message in messages if message["type"] == "output"]
        errors = [output.get("text", "") for output in outputs if output["stream"] == "stderr"]
        self.assertEqual("".join(errors), "err\n")

    async def test_a_failed_run_is_resumed_and_retried(self) -> None:
        first = await (await self.codex.start("main")).result()
        self.assertEqual((first.status, first.exit_code), ("failed", 10))
        (self.root / "fixed").touch()
        second = await (await self.codex.resume(first.run_id, reason="fixed it")).result()
        self.assertEqual((second.status, second.run_id), ("succeeded", first.run_id))
        third = await (await self.codex.retry(first.run_id)).result()
        self.assertEqual(third.status, "succeeded")
        self.assertNotEqual(third.run_id, first.run_id)

    async def test_a_question_is_answered(self) -> None:
        run = await self.codex.start("ask")
        async for message in run:
            if message["type"] == "question_asked":
                stage = message["data"]["stage_id"]
                await self.codex.answer(message["run_id"], "yes", stage=stage, reason="looks good")
        self.assertEqual((await run.result()).status, "succeeded")

    async def test_a_cancelled_task_cancels_its_run(self) -> None:
        run = await self.codex.start("long")
        started = asyncio.Event()

        async def follow() -> None:
            async for message in run:
                if message["type"] == "attempt_started":
                    started.set()

        task = asyncio.create_task(follow())
        await started.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        with self.assertRaises(OrchestratorError) as caught:
            await run.result()
        self.assertEqual(caught.exception.kind, "cancelled")
        shown = [PROGRAM, "--root", str(self.root), "status", "--json", "--run", str(run.id)]
        status = subprocess.run(shown, check=True, capture_output=True)
        self.assertEqual(json.loads(status.stdout)["status"], "cancelled")

    async def test_a_run_of_another_handle_is_cancelled(self) -> None:
        run = await self.codex.start("long")
        async for message in run:
            if message["type"] == "attempt_started":
                await self.codex.cancel(message["run_id"], "changed my mind")
        result = await run.result()
        self.assertEqual((result.status, result.exit_code), ("cancelled", 14))

    async def test_who_does_not_read_makes_the_program_wait_and_loses_nothing(self) -> None:
        run = await self.codex.exec(["sh", "-c", "yes 0123456789abcdef | head -c 8000000"])
        length = 0
        async for message in run:
            if message["type"] == "output":
                length += len(message.get("text", ""))
            if length < 100_000:
                await asyncio.sleep(0.001)
        self.assertEqual(length, 8_000_000)

    async def test_what_cannot_be_done_is_a_typed_error(self) -> None:
        with self.assertRaisesRegex(OrchestratorError, "no-such-pipeline") as caught:
            await (await self.codex.start("no-such-pipeline")).result()
        self.assertGreater(caught.exception.exit_code or 0, 0)
        with self.assertRaises(OrchestratorError) as missing:
            await Orchestrator(program="/no/such/program").exec(["true"])
        self.assertEqual(missing.exception.kind, "not-started")
        with self.assertRaises(OrchestratorError):
            await self.codex.cancel("no-such-run")


if __name__ == "__main__":
    unittest.main()
