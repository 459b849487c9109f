"""How many tasks run at once, and with how many threads each: never more in all than the processors that are there."""

from __future__ import annotations

import os


def count_processors() -> int:
    """Count the processors that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def share_processors(processors: int, *, jobs: int | None, threads: int | None, calibrations: int) -> tuple[int, int]:
    """Share the processors among exposures.

    Calibrations at once times threads of each is at most `processors`, or `jobs` where more than that were asked for.

    Parameters
    ----------
    processors : int
    jobs : int or None
        Tasks at once, as asked for with ``-j``: that many, and threads give way.
    threads : int or None
        Threads of a calibration, as the recipe's ``[calibrate]`` asks for: without `jobs`, tasks give way.
    calibrations : int
        In the plan.

    Returns
    -------
    (int, int)
        Tasks at once, threads of each.

    Examples
    --------
    >>> share_processors(8, jobs=None, threads=None, calibrations=4)
    (8, 2)
    >>> share_processors(8, jobs=None, threads=4, calibrations=4)
    (2, 4)
    >>> share_processors(8, jobs=4, threads=4, calibrations=4)
    (4, 2)
    """
    if jobs is None:
        jobs = max(1, processors // threads) if threads and calibrations else processors
    most = max(1, processors // max(1, min(jobs, calibrations)))
    return jobs, min(threads or most, most)
