"""The engine ``embedded`` as a task sees it: a thin coat over :mod:`acsrecipe.engines.embedded`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from acsrecipe import __version__
from acsrecipe.engines.embedded import modes
from acsrecipe.engines.proof import prove
from acsrecipe.errors import EngineError, InterruptedRunError, OutputError
from acsrecipe.plan.model import EngineAbility, Outcome, Task

NAME = "embedded"


def ability() -> EngineAbility:
    """Say what the embedded engine can do; it is always here. Loads neither astropy nor numba."""
    return EngineAbility(
        NAME,
        __version__,
        available=True,
        detail="part of acsrecipe",
        requirements=modes.REQUIREMENTS,
        groups=modes.GROUPS,
    )


@cache
def _installed(name: str) -> str:
    return version(name)


@dataclass(frozen=True)
class EmbeddedEngine:
    """The engine ``embedded``: calibrates in this process, with numpy and numba."""

    name: str = NAME
    version: str = __version__

    def calibrate(
        self,
        task: Task,
        folder: Path,
        *,
        threads: int,
        deadline: float | None,
        report: Callable[[str], None],
        cancel: threading.Event | None = None,
    ) -> Outcome:
        """Calibrate the exposures of one task in its attempt folder, and prove it.

        Parameters are those of :meth:`acsrecipe.engines.calacs.CalacsEngine.calibrate`. Deadline and cancel
        are looked at wherever a step begins, not within one.

        Raises
        ------
        EngineError
            E004 it failed or ran out of time, E010 to E013 its products do not prove success.
        InterruptedRunError
            It was cancelled.
        OutputError
            A product can't be written.
        """
        # What loading it takes is the engine's time, as it is of a program.
        started = time.monotonic()
        from acsrecipe.engines.embedded.pipeline import calibrate

        root = task.exposures[0] if len(task.exposures) == 1 else ""

        def listen(line: str) -> None:
            if cancel is not None and cancel.is_set():
                msg = "the embedded engine was stopped on request"
                raise InterruptedRunError(msg, where=task.id)
            if deadline is not None and time.monotonic() - started > deadline:
                msg = f"the embedded engine did not end within {deadline:g} s; it was at: {line.strip()}"
                raise EngineError(msg, where=task.id, hint="give it more time", code="E004")
            if not line.startswith(" "):
                report(" ".join(word for word in line.split() if word != root))

        tables = sorted(folder.glob("*_asn.fits"))
        try:
            calibrate(
                [folder / f"{exposure}_raw.fits" for exposure in task.exposures],
                folder / "ref",
                folder,
                association=tables[0] if tables else None,
                threads=threads,
                report=listen,
            )
        except EngineError as error:
            where = f"{error.where}: " if error.where and error.where != task.id else ""
            raise EngineError(where + error.message, where=task.id, hint=error.hint, code=error.code) from error
        except OSError as error:
            msg = f"the embedded engine could not read or write {error.filename or 'a file'}: {error.strerror or error}"
            raise OutputError(msg, where=task.id, hint="is there room on the disk?") from error
        except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError) as error:
            msg = f"the embedded engine failed: {type(error).__name__}: {error}"
            hint = "this should have been refused by the plan; please report it with the RAW header"
            raise EngineError(msg, where=task.id, hint=hint, code="E004") from error
        warnings = prove(task, folder)
        return Outcome(
            versions={"acsrecipe-embedded": self.version, "numpy": _installed("numpy"), "numba": _installed("numba")},
            details={
                "trailers": sorted(path.name for path in folder.glob("*.tra")),
                "seconds": round(time.monotonic() - started, 3),
            },
            warnings=warnings,
        )
