"""Threads that share the columns of an exposure, tell how far they are, and stop when asked.

The kernels release the GIL, so plain threads compute side by side, and their number is an argument: nothing is
set for the whole process, and several exposures may be corrected at once.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from acsrecipe.errors import InterruptedRunError

AT_ONCE = 16  # columns a thread takes; between two blocks it looks whether it shall stop
TICK = 0.1  # seconds between looks of the calling thread

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class CteProgress:
    """How far a correction is.

    Attributes
    ----------
    amp, direction : str
        What is corrected now; "serial" or "parallel".
    fraction : float
        Of all columns, in both directions, that are done.
    seconds_left : float or None
        An estimate; None as long as no column is done.
    """

    amp: str
    direction: str
    fraction: float
    seconds_left: float | None = None


Report = Callable[[CteProgress], None]
Cancelled = Callable[[], bool]


class Workers:
    """`threads` threads for one exposure of `columns` columns (all amps, both directions); a context manager."""

    def __init__(self, threads: int, columns: int, report: Report | None, cancelled: Cancelled | None) -> None:
        self._threads = max(1, threads)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="cte")
        self._columns = columns
        self._report = report
        self._cancelled = cancelled
        self._stop = threading.Event()
        self._before = 0  # columns of amps that are finished
        self._amp = self._direction = ""
        self._begun = self._part = self._inverting = time.monotonic()  # all, this amp and direction, its inversion

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the threads: at the end of their blocks, when there was an error or Ctrl-C."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def begin(self, amp: str, direction: str) -> None:
        """Say whose columns come next."""
        self._amp, self._direction = amp, direction
        self._tell(0)

    def spread(
        self, columns: int, task: Callable[[int, int], Answer], *, size: int = AT_ONCE, counts: bool = False
    ) -> list[Answer]:
        """Run ``task(first, last)`` on every block of `size` columns; give the answers in the order of columns.

        Parameters
        ----------
        counts : bool
            Whether these columns are what the progress is counted in. It is told in any case, so that a listener may
            stop the work by raising an error.

        Raises
        ------
        InterruptedRunError
            The run was cancelled.
        """
        if counts:
            self._inverting = time.monotonic()
        starts = range(0, columns, size)
        answers: dict[int, Answer] = {}
        turns = itertools.count()  # next() is atomic under the GIL

        def labour() -> None:
            while not self._stop.is_set():
                turn = next(turns)
                if turn >= len(starts):
                    return
                answers[turn] = task(starts[turn], min(starts[turn] + size, columns))

        waiting: set[Future[None]] = {self._pool.submit(labour) for _ in range(self._threads)}
        while waiting:
            done, waiting = wait(waiting, timeout=TICK, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
            if self._cancelled is not None and self._cancelled():
                message = "the CTE correction was cancelled"
                raise InterruptedRunError(message)
            if counts:
                self._tell(min(len(answers) * size, columns), columns)
            else:
                self._tell(0)
        if counts:
            self._before += columns
            self._part = time.monotonic()
        return [answers[turn] for turn in range(len(starts))]

    def _tell(self, columns: int, of: int = 0) -> None:
        if self._report is not None:
            left = self._estimate(columns, of)
            self._report(CteProgress(self._amp, self._direction, (self._before + columns) / self._columns, left))

    def _estimate(self, columns: int, of: int) -> float | None:
        """Seconds that are left, from `columns` of the `of` columns of this part, and from the parts before it.

        A part is smoothed, which is not counted in columns, and then inverted. So the parts that are finished say
        how long one takes; the first one has to be estimated from itself.
        """
        now = time.monotonic()
        inverted = (now - self._inverting) * (of - columns) / columns if columns else 0.0
        if self._before:
            pace = (self._part - self._begun) / self._before
            return max(pace * (self._columns - self._before) - (now - self._part), inverted)
        if not columns:
            return None
        whole = (now - self._part) + inverted
        return whole * self._columns / of - (now - self._part)
