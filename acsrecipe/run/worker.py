"""The worker process: reads jobs from its parent, does them, and answers. Not for people."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from acsrecipe.errors import AcsRecipeError, EngineError
from acsrecipe.run.pool import Done, Report, receive, send


def main() -> int:
    """Serve until the parent closes the pipe."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not reach the pipe: standard output becomes standard error.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = sys.stdin.buffer
    from acsrecipe.run.work import perform

    while True:
        try:
            task, job = receive(jobs)
        except EOFError:
            return 0

        def report(text: str, task: str = task) -> None:
            send(answers, Report(task, text))

        try:
            done = Done(task, result=perform(job, report))
        except AcsRecipeError as error:
            done = Done(task, error=error)
        except Exception as error:
            import traceback

            traceback.print_exc()
            kind = type(error).__name__
            done = Done(task, error=EngineError(f"unexpected {kind}: {error}", where=task, code="E099"))
        send(answers, done)


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent goes, so that nothing works on for nobody."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, int(signal.SIGKILL), 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
