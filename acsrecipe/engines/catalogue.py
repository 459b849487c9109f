"""The engines there are: what each can do, as plain data for the plan, and the engine itself for the run."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from acsrecipe.engines import calacs, embedded_engine
from acsrecipe.errors import EngineError
from acsrecipe.plan.model import EngineAbility, Outcome, Task

ENGINES = (calacs.NAME, embedded_engine.NAME)
"""In the order in which ``auto`` tries them."""


class Engine(Protocol):
    """Calibrates the exposures of a task in an attempt folder, and proves it."""

    @property
    def name(self) -> str:
        """As recipes call it."""

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
        """Calibrate, and raise ``EngineError`` where success can't be proven."""


def abilities(search_path: str) -> tuple[EngineAbility, ...]:
    """Say of every engine whether it is here and what it can do; loads neither astropy nor numba.

    Parameters
    ----------
    search_path : str
        Where external programs are looked for, as in ``PATH``.
    """
    return (calacs.ability(search_path), embedded_engine.ability())


def get_engine(name: str, search_path: str = "") -> Engine:
    """Give an engine by the name that a plan has for it.

    Raises
    ------
    EngineError
        E001: there is no such engine, or its program is not on the search path.
    """
    match name.partition(" ")[0]:
        case calacs.NAME:
            executable = calacs.find(search_path)
            if executable is None:
                msg = f"{calacs.PROGRAM} is not on the search path"
                raise EngineError(msg, hint=calacs.INSTALL, code="E001")
            return calacs.CalacsEngine(executable, calacs.read_version(executable))
        case embedded_engine.NAME:
            return embedded_engine.EmbeddedEngine()
    msg = f"unknown engine {name!r}: expected {' or '.join(ENGINES)}"
    raise EngineError(msg, code="E001")
