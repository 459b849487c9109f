"""The post-steps there are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from acsrecipe.errors import StepError
from acsrecipe.plan.model import Outcome, StepAbility, Task

STEPS = ("updatewcs", "compare-plot")


class Step(StepAbility, Protocol):
    """What a step is: a module, or any object, that declares its abilities as plain data and can be run."""

    def run(
        self,
        task: Task,
        folder: Path,
        *,
        deadline: float | None,
        report: Callable[[str], None],
        cancel: threading.Event | None = None,
    ) -> Outcome:
        """Do it in an attempt folder, and raise ``StepError`` where success can't be proven."""


def get_step(kind: str) -> Step:
    """Give a step by its name in a recipe; its heavy imports come only when it runs.

    Raises
    ------
    StepError
        S001: there is no such step.
    """
    match kind:
        case "updatewcs":
            from acsrecipe.steps import updatewcs

            return updatewcs
        case "compare-plot":
            from acsrecipe.steps import compare_plot

            return compare_plot
    msg = f"unknown step {kind!r}: expected {' or '.join(STEPS)}"
    raise StepError(msg, code="S001")
