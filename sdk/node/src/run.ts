import type { ChildProcess } from "node:child_process";
import { spawn } from "node:child_process";
import { StringDecoder } from "node:string_decoder";
import { OrchestratorError } from "./errors.js";
import type { ExecResult, RunEvent } from "./events.js";

/** The longest line that is taken, in characters. */
const LONGEST_LINE = 64 << 20;
/** How much of standard error is kept, in characters. */
const KEPT_STDERR = 64 << 10;

/** Some output of the command or agent of `exec`, in its place among the events. */
export interface OutputEvent {
  v: number;
  at: string | null;
  type: "output";
  stage_id: string;
  attempt: number;
  stream: "stdout" | "stderr" | "terminal";
  /** The output, when it is text. */
  text?: string;
  /** The output, byte for byte, when it is not. */
  bytes?: number[];
}

/** The last message of `exec`. */
export interface ResultEvent {
  v: number;
  type: "result";
  data: ExecResult;
}

/** Everything that a run tells. */
export type RunMessage = RunEvent | OutputEvent | ResultEvent;

/** What came of a run. */
export interface RunResult {
  runId: string;
  taskId: string;
  /** `succeeded`, `failed` or `cancelled`. */
  status: string;
  /** The program's exit code: for `exec` that of the command. */
  exitCode: number;
  /** What `exec` says besides; undefined for pipelines. */
  exec: ExecResult | undefined;
}

/** How the program is started. */
export interface Launch {
  program: string;
  arguments: string[];
  cwd: string | undefined;
  env: NodeJS.ProcessEnv;
  input: string | undefined;
  signal: AbortSignal | undefined;
}

/** The program under way. */
export class Child {
  readonly process: ChildProcess;
  readonly ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  #stderr = "";
  #failure: Error | undefined;

  constructor(launch: Launch) {
    this.process = spawn(launch.program, launch.arguments, {
      cwd: launch.cwd,
      env: launch.env,
      stdio: [launch.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    });
    this.ended = new Promise((resolve) => {
      this.process.once("close", (code, signal) => resolve({ code, signal }));
      this.process.once("error", (error) => {
        this.#failure = error;
        resolve({ code: null, signal: null });
      });
    });
    const decoder = new StringDecoder("utf8");
    this.process.stderr?.on("data", (bytes: Buffer) => {
      this.#stderr = (this.#stderr + decoder.write(bytes)).slice(-KEPT_STDERR);
    });
    if (launch.input !== undefined) {
      // A program that ends without reading is no failure of ours.
      this.process.stdin?.on("error", () => {});
      this.process.stdin?.end(launch.input);
    }
  }

  /** The end of standard error so far. */
  get stderr(): string {
    return this.#stderr;
  }

  /** The lines of standard output. They are pulled: who does not ask makes the program wait. */
  async *lines(): AsyncGenerator<string, void> {
    const stdout = this.process.stdout;
    if (!stdout) return;
    const decoder = new StringDecoder("utf8");
    let rest = "";
    for await (const bytes of stdout as AsyncIterable<Buffer>) {
      const parts = (rest + decoder.write(bytes)).split("\n");
      rest = parts.pop() ?? "";
      if (rest.length > LONGEST_LINE) throw this.protocol("a line of output is too long");
      yield* parts;
    }
    if (rest !== "") yield rest;
  }

  /** The error for an end without what was asked for. */
  async failure(): Promise<OrchestratorError> {
    const { code, signal } = await this.ended;
    if (this.#failure) {
      const message = `the program could not be started: ${this.#failure.message}`;
      return new OrchestratorError(message, null, null, "", { kind: "not-started", cause: this.#failure });
    }
    const told = /^error: (.*)$/m.exec(this.#stderr)?.[1] ?? this.#stderr.trim().split("\n").pop();
    const end = signal === null ? `exit code ${code}` : `signal ${signal}`;
    return new OrchestratorError(told || `the program ended with ${end}`, code, signal, this.#stderr);
  }

  protocol(message: string, cause?: unknown): OrchestratorError {
    this.process.kill("SIGTERM");
    return new OrchestratorError(message, null, null, this.#stderr, { kind: "protocol", cause });
  }
}

/**
 * A run that this process follows.
 *
 * Iterate over it for its messages; whoever iterates slowly makes the program wait, not the memory
 * grow. Whoever only wants the end awaits {@link Run.result}. Leaving the loop early does not end
 * the run: what it still tells is dropped.
 */
export class Run implements AsyncIterable<RunMessage> {
  readonly #child: Child;
  readonly #signal: AbortSignal | undefined;
  readonly #messages: AsyncGenerator<RunMessage, void>;
  readonly #abort = () => this.cancel();
  #isTaken = false;
  #knowId!: (id: string) => void;
  #settle!: { resolve: (result: RunResult) => void; reject: (error: unknown) => void };
  readonly #result: Promise<RunResult>;

  /** The run's id, as soon as it has one; rejects when no run comes about. */
  readonly id: Promise<string>;

  /** @internal */
  constructor(launch: Launch) {
    this.#child = new Child(launch);
    this.#signal = launch.signal;
    this.#result = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.id = new Promise((resolve, reject) => {
      this.#knowId = resolve;
      this.#result.catch(reject);
    });
    // Who awaits neither has other ways to learn of a failure.
    this.#result.catch(() => {});
    this.id.catch(() => {});
    this.#messages = this.#read();
    if (this.#signal?.aborted) this.cancel();
    this.#signal?.addEventListener("abort", this.#abort, { once: true });
  }

  /** Asks the run to stop: it is recorded as cancelled, and everything in it is ended. */
  cancel(): void {
    this.#child.process.kill("SIGTERM");
  }

  /** The end of what the program wrote to standard error, at most 64 KiB. */
  get stderr(): string {
    return this.#child.stderr;
  }

  /**
   * What came of the run, whether it succeeded or not.
   *
   * Rejects with an {@link OrchestratorError} when no run came about or it has no end, and with the
   * signal's reason after an abort.
   */
  get result(): Promise<RunResult> {
    if (!this.#isTaken) {
      this.#isTaken = true;
      void this.#drain();
    }
    return this.#result;
  }

  [Symbol.asyncIterator](): AsyncIterator<RunMessage, void> {
    if (this.#isTaken) throw new TypeError("the messages of a run can be read once");
    this.#isTaken = true;
    const messages = this.#messages;
    return {
      next: () => messages.next(),
      return: async () => {
        void this.#drain();
        return { done: true, value: undefined };
      },
    };
  }

  async #drain(): Promise<void> {
    try {
      while (!(await this.#messages.next()).done);
    } catch {
      // The result tells it.
    }
  }

  async *#read(): AsyncGenerator<RunMessage, void> {
    try {
      const made: Partial<RunResult> = {};
      for await (const line of this.#child.lines()) {
        if (line === "") continue;
        let message: RunMessage;
        try {
          message = JSON.parse(line) as RunMessage;
        } catch (error) {
          throw this.#child.protocol("the program printed a line that is no JSON", error);
        }
        this.#learn(made, message);
        yield message;
      }
      const { code } = await this.#child.ended;
      if (this.#signal?.aborted) throw this.#signal.reason;
      const { runId, taskId, status, exec } = made;
      if (runId === undefined || taskId === undefined || status === undefined || code === null) {
        throw await this.#child.failure();
      }
      this.#settle.resolve({ runId, taskId, status, exitCode: code, exec });
    } catch (error) {
      this.#settle.reject(error);
      throw error;
    } finally {
      this.#signal?.removeEventListener("abort", this.#abort);
    }
  }

  #learn(made: Partial<RunResult>, message: RunMessage): void {
    switch (message.type) {
      case "output":
        return;
      case "result":
        made.exec = message.data;
        return;
      case "run_finished":
        made.status = message.data.status;
        break;
    }
    made.runId = message.run_id;
    made.taskId = message.task_id;
    this.#knowId(message.run_id);
  }
}
