"""The worker process: reads jobs from its parent, does them, and answers. Not for people."""

from __future__ import annotations

import errno
import os
import signal
import sys

from acsrecipe.errors import AcsRecipeError, EngineError, OutputError, StepError
from acsrecipe.process import die_with_parent
from acsrecipe.run.pool import Done, Report, receive, send

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def main() -> int:
    """Serve until the parent closes the pipe."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # So that what a task started is ended on the way out, with its whole process group.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    # What libraries print must not reach the pipe: standard output becomes standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = sys.stdin.buffer
    from acsrecipe.run.work import perform
    from acsrecipe.run.workdir import in_use

    while True:
        try:
            task, job = receive(jobs)
        except EOFError:
            return 0

        def report(text: str, task: str = task) -> None:
            send(answers, Report(task, text))

        try:
            with in_use(job.folder):
                done = Done(task, result=perform(job, report))
        except AcsRecipeError as error:
            done = Done(task, error=error)
        except Exception as error:
            import traceback

            traceback.print_exc()
            done = Done(task, error=explain(error, task))
        send(answers, done)


def explain(error: Exception, task: str) -> AcsRecipeError:
    """Turn what nobody expected into an error for people: of the disk where it is full, else of the engine or step."""
    if isinstance(error, OSError) and error.errno in FULL:
        msg = f"can't be written: {error.strerror}"
        return OutputError(msg, where=str(error.filename or task), hint="free some space", code="O005")
    step = task.partition("/")[0] not in ("association", "calibrate", "fetch", "stamp", "take")
    return (StepError if step else EngineError)(
        f"unexpected {type(error).__name__}: {error}", where=task, hint="workers.log has the details", code="E099"
    )


if __name__ == "__main__":
    sys.exit(main())
