"""The worker process: reads jobs from its parent, does them, and answers. Not for people."""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

from acsrecipe.errors import AcsRecipeError, EngineError, OutputError, StepError
from acsrecipe.process import die_with_parent
from acsrecipe.run.pool import Done, Message, Report, Worked, receive, send

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
    from acsrecipe.run.work import begin
    from acsrecipe.run.workdir import in_use

    # What is imported stays: it need not be looked through for cycles again and again.
    gc.freeze()
    gc.enable()
    turn = threading.Lock()

    def answer(message: Message) -> None:
        with turn:
            send(answers, message)

    behind, finishing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
    try:
        while True:
            try:
                task, job = receive(jobs)
            except EOFError:
                return 0
            with ExitStack() as folder:
                folder.enter_context(in_use(job.folder))
                try:
                    finish = begin(job, partial(_report, answer, task), behind)
                except Exception as error:
                    folder.close()
                    answer(Done(task, error=_known(error, task)))
                    continue
                held = folder.pop_all()
            # What is left (hashes of what was made) is done behind the work of the next task.
            answer(Worked(task))
            finishing.submit(_finish, answer, task, finish, held)
    finally:
        # Nobody waits for an answer any more.
        for pool in (behind, finishing):
            pool.shutdown(wait=False, cancel_futures=True)


def _report(answer: Callable[[Message], None], task: str, text: str) -> None:
    answer(Report(task, text))


def _finish(answer: Callable[[Message], None], task: str, finish: Callable[[], Any], held: ExitStack) -> None:
    """Do what is left of a task, let go of its folder, and say how it ended."""
    with held:
        try:
            done = Done(task, result=finish())
        except Exception as error:
            done = Done(task, error=_known(error, task))
    try:
        answer(done)
    except Exception as error:
        # Without an answer the run would wait for ever.
        answer(Done(task, error=_known(error, task)))


def _known(error: Exception, task: str) -> AcsRecipeError:
    if isinstance(error, AcsRecipeError):
        return error
    traceback.print_exception(error)
    return explain(error, task)


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
