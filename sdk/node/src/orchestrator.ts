import { Child, Run } from "./run.js";

/** Where the program is, and where it works. */
export interface OrchestratorOptions {
  /** The program; by default `codex-orchestrator` on `PATH`. */
  program?: string;
  /** The repository; by default found from the working directory. */
  root?: string;
  /** The whole environment of the program; by default this process's own. */
  env?: NodeJS.ProcessEnv;
  /** The task that runs are filed under. */
  task?: string;
}

/** What every run takes. */
export interface RunOptions {
  /** Aborting it cancels the run. */
  signal?: AbortSignal;
  /** When consent is asked for. */
  approvalPolicy?: "never" | "on-request" | "untrusted";
  /** The sandbox of commands that name none. */
  sandbox?: "read-only" | "workspace-write" | "danger-full-access";
}

export interface StartOptions extends RunOptions {
  /** Run only this stage and what it needs. */
  target?: string;
  /** What the task is, for prompts. */
  description?: string;
  /** Run in a git worktree of its own. */
  worktree?: boolean;
}

/** A turn of an agent. */
export interface AgentWork {
  /** Which agent: `codex`, `claude`, … */
  agent: string;
  prompt: string;
  model?: string;
  /** The run, or the agent's own thread, whose conversation goes on. */
  resume?: string;
}

export interface ExecOptions extends RunOptions {
  cwd?: string;
  /** A JSON Schema file for the output. */
  outputSchema?: string;
  /** The longest time it may take, in milliseconds. */
  timeout?: number;
  /** Write in the workspace and ask when more is wanted. */
  fullAuto?: boolean;
  /** Addresses that are told of the end. */
  notify?: string[];
}

export interface ResumeOptions {
  signal?: AbortSignal;
  reason?: string;
  token?: string;
  /** Go on with the pipeline as it was recorded. */
  recordedPipeline?: boolean;
}

export interface AnswerOptions {
  /** The stage that asks. */
  stage?: string;
  /** The tool call that is asked about. */
  call?: string;
  /** How far a yes to a tool call reaches. */
  scope?: "once" | "run" | "session" | "task" | "always";
  reason?: string;
}

/** Starts the program; holds nothing but how to. */
export class Orchestrator {
  readonly #options: OrchestratorOptions;

  constructor(options: OrchestratorOptions = {}) {
    this.#options = options;
  }

  /** Starts a run of a pipeline, or of the default one. */
  start(pipeline?: string, options: StartOptions = {}): Run {
    const words = ["start", ...LINES, "--no-interactive", ...policy(options)];
    add(words, "--target", options.target);
    add(words, "--description", options.description);
    if (options.worktree) words.push("--worktree");
    if (pipeline !== undefined) words.push("--", pipeline);
    return this.#run(words, options.signal);
  }

  /** Runs one command, or one turn of an agent. */
  exec(work: readonly string[] | AgentWork, options: ExecOptions = {}): Run {
    const words = ["exec", ...LINES, ...policy(options)];
    add(words, "--cwd", options.cwd);
    add(words, "--output-schema", options.outputSchema);
    add(words, "--timeout", options.timeout === undefined ? undefined : `${options.timeout}ms`);
    if (options.fullAuto) words.push("--full-auto");
    for (const address of options.notify ?? []) add(words, "--notify", address);
    if (!("agent" in work)) return this.#run([...words, "--", ...work], options.signal);
    add(words, "--agent", work.agent);
    add(words, "--model", work.model);
    if (work.resume !== undefined) words.push("resume", "--", work.resume);
    // A prompt may be longer than a command line, and is nobody else's to see.
    return this.#run([...words, "-"], options.signal, work.prompt);
  }

  /** Lets a run go on. */
  resume(run: string, options: ResumeOptions = {}): Run {
    const words = ["resume", ...LINES, "--no-interactive", "--run", run];
    add(words, "--reason", options.reason);
    if (options.recordedPipeline) words.push("--recorded-pipeline");
    if (options.token !== undefined) words.push("--token", "-");
    return this.#run(words, options.signal, options.token);
  }

  /** Starts a fresh run like an earlier one. */
  retry(run: string, options: { signal?: AbortSignal } = {}): Run {
    return this.#run(["retry", ...LINES, "--no-interactive", "--run", run], options.signal);
  }

  /** Stops a run of any process, and waits for its end. */
  async cancel(run: string, reason?: string): Promise<void> {
    const words = ["cancel", "--run", run];
    add(words, "--reason", reason);
    await this.#ask(words);
  }

  /** Answers an open question of a run. */
  async answer(run: string, answer: "yes" | "no", options: AnswerOptions = {}): Promise<void> {
    const words = ["answer", "--run", run];
    add(words, "--stage", options.stage);
    add(words, "--call", options.call);
    add(words, "--scope", options.scope);
    add(words, "--reason", options.reason);
    await this.#ask([...words, answer]);
  }

  #launch(words: string[], signal?: AbortSignal, input?: string) {
    const { program = "codex-orchestrator", root, task, env = process.env } = this.#options;
    const global: string[] = [];
    add(global, "--root", root);
    add(global, "--task", task);
    return { program, arguments: [...global, ...words], cwd: root, env, input, signal };
  }

  #run(words: string[], signal?: AbortSignal, input?: string): Run {
    return new Run(this.#launch(words, signal, input));
  }

  async #ask(words: string[]): Promise<void> {
    const child = new Child(this.#launch(words));
    for await (const _ of child.lines());
    if ((await child.ended).code !== 0) throw await child.failure();
  }
}

const LINES = ["--format", "jsonl"];

function policy(options: RunOptions): string[] {
  const words: string[] = [];
  add(words, "--approval-policy", options.approvalPolicy);
  add(words, "--sandbox", options.sandbox);
  return words;
}

/** Adds an option with its value attached, so that no value is taken for an option. */
function add(words: string[], name: string, value: string | undefined): void {
  if (value !== undefined) words.push(`${name}=${value}`);
}
