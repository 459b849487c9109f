"""One tree of errors: what happened, where, how to mend it, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Where:
    """A place in a text file: ``file:line:column``; line and column count from 1, 0 is unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Give ``file``, ``file:line`` or ``file:line:column``, as far as known."""
        parts = [self.file]
        if self.line:
            parts.append(str(self.line))
            if self.column:
                parts.append(str(self.column))
        return ":".join(parts)


class AcsRecipeError(Exception):
    """An error meant for people.

    Parameters
    ----------
    message : str
        One sentence without a full stop: what was found, and what was expected.
    where : Where or str, optional
        The file (and line), keyword or task that it is about.
    hint : str, optional
        What the user can do about it.
    code : str, optional
        A stable code such as ``R012``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, where: Where | str | None = None, hint: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle whole, so that an error crosses from a worker process as it was raised."""
        return (_rebuild, (type(self), self.message, self.where, self.hint, self.code))

    def __str__(self) -> str:
        """Give ``where: message``, a blank line, ``hint: ...``."""
        lead = f"{self.where}: " if self.where else ""
        code = f" [{self.code}]" if self.code else ""
        tail = f"\n\nhint: {self.hint}" if self.hint else ""
        return f"{lead}{self.message}{code}{tail}"


def _rebuild(
    kind: type[AcsRecipeError], message: str, where: Where | str | None, hint: str | None, code: str | None
) -> AcsRecipeError:
    return kind(message, where=where, hint=hint, code=code)


class UsageError(AcsRecipeError):
    """The command line asks for something that does not exist."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One mistake in a recipe, ready to be shown or written as JSON."""

    code: str
    where: Where
    message: str
    source_line: str = ""
    hint: str = ""


class RecipeError(AcsRecipeError):
    """A recipe is wrong; carries every problem found, not only the first."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        super().__init__(first.message, where=first.where, hint=first.hint or None, code=first.code)
        self.problems = problems

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with all problems."""
        return (RecipeError, (self.problems,))


class PlanError(AcsRecipeError):
    """The recipe is right, but what it asks can't be done with what exists."""

    exit_code = 3


class ArchiveError(AcsRecipeError):
    """An archive, or CRDS, could not give what was asked for."""

    exit_code = 4


class EngineError(AcsRecipeError):
    """A calibration engine failed, or did not prove its success."""

    exit_code = 5


class StepError(AcsRecipeError):
    """A post-step failed."""

    exit_code = 6


class OutputError(AcsRecipeError):
    """An output folder or disk can't take what has to be written."""

    exit_code = 7


class IntegrityError(AcsRecipeError):
    """Something is not what its record says."""

    exit_code = 8


class LockedError(AcsRecipeError):
    """Another run is at work in this folder."""

    exit_code = 9


class InterruptedRunError(AcsRecipeError):
    """The user interrupted the run."""

    exit_code = 130
