"""What can go wrong, as a script sees it (exit codes) and as a person reads it."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command. They come from the object, never from a broken stream."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    APP_FAILED = 3
    NO_RIGHT = 4
    NOT_FOUND = 5
    TIMEOUT = 6
    BUDGET = 7
    INTERRUPTED = 130


class CommandError(Exception):
    """A command cannot do what it was asked.

    Args:
        what: the object, what was expected and what came, in one sentence.
        code: the exit code.
        cause: the sentence of Kubernetes or of the system, as it was received.
        next_steps: command lines that mend it or lead on.
    """

    def __init__(
        self,
        what: str,
        *,
        code: ExitCode = ExitCode.UNEXPECTED,
        cause: str = "",
        next_steps: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what)
        self.what = what
        self.code = code
        self.cause = cause
        self.next_steps = next_steps

    def document(self) -> dict[str, object]:
        """The error for `-o json`."""
        return {
            "error": {
                "code": int(self.code),
                "message": self.what if not self.cause else f"{self.what}: {self.cause}",
                "next": list(self.next_steps),
            }
        }
