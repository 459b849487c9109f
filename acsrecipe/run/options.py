"""How a run is done, as opposed to what; and how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acsrecipe.inputs.crds_cache import CrdsSettings
from acsrecipe.inputs.wire import MastSettings

LATE = 60.0
"""Seconds after a task's deadline at which its worker is ended, if it did not keep the deadline itself."""


@dataclass(frozen=True)
class RunOptions:
    """How to run, as opposed to what: nothing here changes the content of a product.

    Attributes
    ----------
    base : Path
        The recipe's folder; relative paths of the plan start there.
    output : Path
        The run's folder.
    jobs : int
        Tasks at once.
    threads : int
        Processors that one task may use.
    environment : mapping
        The workers' whole environment.
    search_path : str
        Where external programs are looked for.
    command_line : sequence of str
        For the log.
    versions : mapping
        Of everything that touches the data, for the log.
    keep_going : bool
        Whether tasks that don't depend on a failed one go on.
    deadline : float or None
        Seconds that one task may take.
    late : float
        Seconds that it gets beyond that before its worker is ended.
    verify : bool
        Read every output of an earlier run anew, instead of trusting inode, size and times of change.
    store : Path or None
        The folder of downloads.
    mast, crds : settings or None
        How to fetch what is not here; as many files at once as ``mast.connections``.
    revision : str
        The recipe's git revision, for the stamps of products; empty where there is none.
    """

    base: Path
    output: Path
    jobs: int = 1
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    search_path: str = ""
    command_line: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    keep_going: bool = True
    deadline: float | None = None
    late: float = LATE
    verify: bool = False
    store: Path | None = None
    mast: MastSettings | None = field(default=None, repr=False)
    crds: CrdsSettings | None = None
    revision: str = ""


@dataclass(frozen=True)
class RunResult:
    """How a run ended: by task id, what finished now, was kept, failed, or could not start."""

    output: Path
    finished: tuple[str, ...]
    kept: tuple[str, ...]
    failed: Mapping[str, BaseException]
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def succeeded(self) -> bool:
        """Whether every task of the plan is done."""
        return not self.failed and not self.skipped
