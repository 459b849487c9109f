"""What a run needs of the disk, and what to say when there was not enough."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from acsrecipe.errors import AcsRecipeError, EngineError, OutputError, StepError
from acsrecipe.plan.downloads import FETCH
from acsrecipe.plan.model import Task
from acsrecipe.run.workdir import RunFolder

LOG_BYTES = 1 << 20
"""For logs, trailers, the plan and the run's own log, a task."""

NEARLY_FULL = 0.05
"""A disk with less than this share of what a task needs left, after it failed, was full."""


def scratch_of(task: Task) -> int:
    """Give the bytes that a task needs beside its published outputs while it runs.

    Staged copies of its inputs, what it passes on without publishing it, and, as programs write a file
    beside the one that it takes the place of, each output once more.
    """
    if task.kind == FETCH:
        return 0
    return left_of(task) + sum(output.size for output in task.outputs) + LOG_BYTES


def left_of(task: Task) -> int:
    """Give the bytes that a task whose work is done has beside its published outputs."""
    hidden = sum(output.size for output in task.outputs if not output.folder)
    return sum(max(0, file.size) for file in task.inputs) + hidden


def bytes_needed(tasks: Sequence[Task], jobs: int) -> int:
    """Give the bytes that tasks need at most at once: all published outputs, and scratch for those that run."""
    published = sum(output.size for task in tasks for output in task.outputs if output.folder)
    most = max(1, jobs)
    # While a worker is at one task, what another made is still being hashed, with all that it has in its attempt.
    left = heapq.nlargest(most, (left_of(task) for task in tasks)) if len(tasks) > most else []
    return published + sum(heapq.nlargest(most, (scratch_of(task) for task in tasks))) + sum(left)


def explain_full_disk(error: BaseException, task: Task, folder: RunFolder) -> BaseException:
    """Turn an error that a full disk explains into one that says so, with the bytes; give others back."""
    if not isinstance(error, AcsRecipeError) or task.kind == FETCH:
        return error
    free = folder.free_space()
    needed = sum(output.size for output in task.outputs if output.folder) + scratch_of(task)
    told = isinstance(error, OutputError) and "free some space" in (error.hint or "")
    if not told and not (isinstance(error, EngineError | StepError | OutputError) and free < NEARLY_FULL * needed):
        return error
    return OutputError(
        f"{error.message}; {task.id} needs about {needed} bytes in {folder.root}, where {free} are free",
        where=error.where,
        hint="free space and run the same command again: what was finished is kept",
        code=error.code if told else "O003",
    )
