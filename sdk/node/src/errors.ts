/** What the program's exit codes mean when no run came about, or a question to it failed. */
const KINDS: Record<number, OrchestratorError["kind"]> = {
  1: "bug",
  2: "usage",
  3: "setup",
  4: "not-found",
  10: "failed",
  11: "refused",
  12: "timed-out",
  13: "log",
  14: "cancelled",
  15: "interrupted",
};

/** The program could not do what it was asked for. */
export class OrchestratorError extends Error {
  override readonly name = "OrchestratorError";
  /** What went wrong, by exit code. */
  readonly kind:
    | "bug"
    | "usage"
    | "setup"
    | "not-found"
    | "failed"
    | "refused"
    | "timed-out"
    | "log"
    | "cancelled"
    | "interrupted"
    | "not-started"
    | "protocol"
    | "other";

  constructor(
    message: string,
    /** The program's exit code; null when it never began or a signal ended it. */
    readonly exitCode: number | null,
    /** The signal that ended it. */
    readonly signal: NodeJS.Signals | null,
    /** The end of its standard error, at most 64 KiB. */
    readonly stderr: string,
    options: { kind?: OrchestratorError["kind"]; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.kind = options.kind ?? (exitCode === null ? "other" : (KINDS[exitCode] ?? "other"));
  }
}
