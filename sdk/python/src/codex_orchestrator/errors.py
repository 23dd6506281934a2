"""What the program's exit codes mean when no run came about, or a question to it failed."""

from __future__ import annotations

_KINDS = {
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
}


class OrchestratorError(Exception):
    """The program could not do what it was asked for.

    ``kind`` says what went wrong, ``exit_code`` is the program's (None when it never began, negative
    when a signal ended it), ``stderr`` the end of its standard error, at most 64 KiB.
    """

    def __init__(
        self, message: str, exit_code: int | None = None, stderr: str = "", kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.stderr = stderr
        self.kind = kind or _KINDS.get(exit_code if exit_code is not None else -1, "other")
