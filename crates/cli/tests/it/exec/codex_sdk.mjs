// Tells one story with the real SDK of Codex; the last line of output is what came of it, as JSON.
import { Codex } from "@openai/codex-sdk";

const [story, program] = process.argv.slice(2);
const codex = new Codex({
  codexPathOverride: program,
  config: { hide_agent_reasoning: true },
});
const options = {
  workingDirectory: process.cwd(),
  model: "scripted",
  sandboxMode: "danger-full-access",
  approvalPolicy: "never",
  skipGitRepoCheck: true,
  networkAccessEnabled: false,
  webSearchMode: "disabled",
};
const thread = codex.startThread(options);

const stories = {
  async turns() {
    const first = await thread.run("Say hello.");
    // Another process, as after a restart: only the id is left.
    const second = await codex.resumeThread(thread.id, options).run([
      { type: "text", text: "Are you" },
      { type: "text", text: "still there?" },
    ]);
    return {
      thread: thread.id,
      first: first.finalResponse,
      second: second.finalResponse,
      kinds: first.items.map((item) => item.type),
      usage: second.usage,
    };
  },
  async schema() {
    const outputSchema = {
      type: "object",
      properties: { answer: { type: "integer" } },
      required: ["answer"],
      additionalProperties: false,
    };
    const turn = await thread.run("Answer.", { outputSchema });
    return JSON.parse(turn.finalResponse);
  },
  async abort() {
    const controller = new AbortController();
    const { events } = await thread.runStreamed("Work.", { signal: controller.signal });
    try {
      for await (const event of events) {
        if (event.type === "item.completed") controller.abort();
      }
      return "no error";
    } catch (error) {
      return error.name;
    }
  },
  async failure() {
    try {
      await thread.run("Fail.");
      return "no error";
    } catch (error) {
      return error.message;
    }
  },
};

console.log(JSON.stringify(await stories[story]()));
