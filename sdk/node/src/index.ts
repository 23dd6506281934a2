/** Runs and follows Codex Orchestrator: every call starts the program and reads its JSON lines. */

export * from "./events.js";
export { OrchestratorError } from "./errors.js";
export { Orchestrator } from "./orchestrator.js";
export type {
  AgentWork,
  AnswerOptions,
  ExecOptions,
  OrchestratorOptions,
  ResumeOptions,
  RunOptions,
  StartOptions,
} from "./orchestrator.js";
export { Run } from "./run.js";
export type { OutputEvent, ResultEvent, RunMessage, RunResult } from "./run.js";
