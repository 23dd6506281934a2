// Drives the real program, which CODEX_ORCHESTRATOR_PROGRAM names, in repositories of its own.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Orchestrator, OrchestratorError, type RunMessage } from "../src/index.js";

const program = process.env["CODEX_ORCHESTRATOR_PROGRAM"];
assert.ok(program, "CODEX_ORCHESTRATOR_PROGRAM names the program");

const PIPELINES = {
  pipelines: [
    {
      id: "main",
      stages: [
        { id: "one", command: "echo one" },
        { id: "two", command: "test -e fixed" },
      ],
    },
    { id: "ask", stages: [{ kind: "gate", id: "gate", message: "Go on?", expires: "10m" }] },
    { id: "long", stages: [{ id: "wait", command: "sleep 600" }] },
  ],
};
const folders: string[] = [];
after(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

function orchestrator() {
  const root = mkdtempSync(join(tmpdir(), "sdk-node-"));
  folders.push(root);
  execFileSync("git", ["init", "--quiet", root]);
  writeFileSync(join(root, "codex.orchestrator.json"), JSON.stringify(PIPELINES));
  return { root, codex: new Orchestrator({ program: program as string, root, task: "sdk" }) };
}

test("a command's output, exit code and record", async () => {
  const { codex } = orchestrator();
  const run = codex.exec(["sh", "-c", "echo out; echo err >&2; exit 3"]);
  const messages: RunMessage[] = [];
  for await (const message of run) messages.push(message);
  const result = await run.result;
  assert.equal(result.exitCode, 3);
  assert.equal(result.status, "failed");
  assert.equal(result.taskId, "sdk");
  assert.equal(result.runId, await run.id);
  assert.equal(result.exec?.stdout, "out\n");
  assert.equal(messages[0]?.type, "run_created");
  assert.equal(messages.at(-1)?.type, "result");
  const stderr = messages.filter((message) => message.type === "output" && message.stream === "stderr");
  assert.equal(stderr.map((message) => (message.type === "output" ? message.text : "")).join(""), "err\n");
});

test("a failed run is resumed, and retried", async () => {
  const { codex, root } = orchestrator();
  const first = await codex.start("main").result;
  assert.deepEqual([first.status, first.exitCode], ["failed", 10]);
  writeFileSync(join(root, "fixed"), "");
  const second = await codex.resume(first.runId, { reason: "fixed it" }).result;
  assert.deepEqual([second.status, second.exitCode, second.runId], ["succeeded", 0, first.runId]);
  const third = await codex.retry(first.runId).result;
  assert.equal(third.status, "succeeded");
  assert.notEqual(third.runId, first.runId);
});

test("a question is answered", async () => {
  const { codex } = orchestrator();
  const run = codex.start("ask");
  for await (const message of run) {
    if (message.type === "question_asked") {
      await codex.answer(message.run_id, "yes", { stage: message.data.stage_id, reason: "looks good" });
    }
  }
  assert.equal((await run.result).status, "succeeded");
});

test("an abort cancels the run", async () => {
  const { codex } = orchestrator();
  const controller = new AbortController();
  const run = codex.start("long", { signal: controller.signal });
  const reading = (async () => {
    for await (const message of run) if (message.type === "attempt_started") controller.abort();
  })();
  await assert.rejects(reading, { name: "AbortError" });
  await assert.rejects(run.result, { name: "AbortError" });
  const error = await codex.answer(await run.id, "yes").catch((error: unknown) => error);
  assert.ok(error instanceof OrchestratorError, "a run that is over has no question");
});

test("a run of another handle is cancelled", async () => {
  const { codex } = orchestrator();
  const run = codex.start("long");
  for await (const message of run) {
    if (message.type === "attempt_started") await codex.cancel(message.run_id, "changed my mind");
  }
  const result = await run.result;
  assert.deepEqual([result.status, result.exitCode], ["cancelled", 14]);
});

test("who does not read makes the program wait, and loses nothing", async () => {
  const { codex } = orchestrator();
  const run = codex.exec(["sh", "-c", "yes 0123456789abcdef | head -c 8000000"]);
  let length = 0;
  for await (const message of run) {
    if (message.type === "output") length += message.text?.length ?? 0;
    if (length < 100_000) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  assert.equal(length, 8_000_000);
  assert.equal((await run.result).exitCode, 0);
  assert.throws(() => run[Symbol.asyncIterator](), TypeError);
});

test("a loop that is left early leaves the run alone", async () => {
  const { codex } = orchestrator();
  const run = codex.exec(["echo", "done"]);
  for await (const _ of run) break;
  assert.equal((await run.result).exec?.stdout, "done\n");
});

test("what cannot be done is a typed error", async () => {
  const { codex } = orchestrator();
  const unknown = codex.start("no-such-pipeline");
  await assert.rejects(unknown.result, (error: unknown) => {
    assert.ok(error instanceof OrchestratorError);
    assert.ok(error.exitCode !== null && error.exitCode > 0);
    assert.match(error.message, /no-such-pipeline/);
    return true;
  });
  await assert.rejects(unknown.id, OrchestratorError);
  const missing = new Orchestrator({ program: "/no/such/program" });
  await assert.rejects(missing.exec(["true"]).result, { kind: "not-started" });
  await assert.rejects(codex.cancel("no-such-run"), OrchestratorError);
});
