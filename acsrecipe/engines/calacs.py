"""The external calacs.e: find it, say what it can do, run it, and prove what it did.

Traps that shape this module (measured on calacs.e 10.5.0): arguments and reference paths of about 250
characters crash it; ``$ [ ] ,`` and blanks in a path mislead it; an inherited ``imclobber`` or ``jref``
changes what it does; it ends with status 0 when it did nothing. So it runs *in* the attempt folder, on bare
names, with a relative ``jref=ref/``, an environment built from nothing, and its products have to prove it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from acsrecipe.engines.proof import prove
from acsrecipe.engines.trailer import Progress, explain, meaningful_lines
from acsrecipe.errors import EngineError, InterruptedRunError
from acsrecipe.plan.model import EngineAbility, Outcome, Requirement, Task
from acsrecipe.process import Finished, run_program

NAME = "calacs"
PROGRAM = "calacs.e"
LOG = "calacs.log"

INSTALL = "install the conda-forge package hstcal, or let the embedded engine do it"

DEEPEST = 980
"""Bytes of the working folder's own path: CFITSIO puts it before a file's name, in 1025."""

CCD = (("DETECTOR", ("WFC", "HRC")),)

REQUIREMENTS = (
    Requirement(
        "DETECTOR",
        "calacs.e knows the detectors WFC, HRC and SBC only",
        allowed=("WFC", "HRC", "SBC"),
    ),
    Requirement(
        "BLEVCORR",
        "calacs.e can't go on without BLEVCORR, which also trims the overscan",
        allowed=("PERFORM", "COMPLETE"),
        when=CCD,
    ),
    Requirement(
        "DARKTIME",
        "without DARKTIME calacs.e silently scales the dark by 0",
        at_least=0.0,
        when=(("DARKCORR", ("PERFORM",)), *CCD),
    ),
)
"""What calacs.e can't do, or does wrongly without saying so."""

_NAME = re.compile(r"[a-z0-9]{9}_[a-z0-9]{3,4}\.fits")
_VERSION = re.compile(r"\d+\.\d+\S*(?: \([\w-]+\))?")


def find(search_path: str) -> Path | None:
    """Find calacs.e in the absolute folders of a search path (``PATH``); None where it is not.

    Relative folders don't count: what runs must not depend on where the user stands.
    """
    folders = [folder for folder in search_path.split(":") if folder.startswith("/")]
    found = shutil.which(PROGRAM, path=":".join(folders)) if folders else None
    return Path(found) if found else None


def ability(search_path: str) -> EngineAbility:
    """Say whether calacs.e is here, in which version, and what it needs; never raises."""
    executable = find(search_path)
    if executable is None:
        return _absent(f"{PROGRAM} is not on the search path; {INSTALL}")
    try:
        version = read_version(executable)
    except EngineError as error:
        return _absent(error.message)
    return EngineAbility(NAME, version, available=True, detail=str(executable), requirements=REQUIREMENTS)


def _absent(detail: str) -> EngineAbility:
    return EngineAbility(NAME, "", available=False, detail=detail, requirements=REQUIREMENTS)


def read_version(executable: Path) -> str:
    """Ask calacs.e for its version, as it stamps it into CAL_VER: ``10.5.0 (16-Mar-2026)``.

    Raises
    ------
    EngineError
        E001: it does not start, or does not answer as calacs.e does.
    """
    with tempfile.TemporaryDirectory(prefix="acsrecipe-") as folder:
        done = _start([str(executable), "--version"], Path(folder), threads=1, deadline=20.0)
    answer = done.tail[0].strip() if done.tail else ""
    if not done.succeeded or not _VERSION.fullmatch(answer):
        shown = f"; it said {done.tail[-1]!r}" if done.tail else ""
        msg = f"{executable} does not give its version: it {done.describe()}{shown}"
        raise EngineError(msg, hint="is it complete? " + INSTALL, code="E001")
    return answer


@dataclass(frozen=True)
class CalacsEngine:
    """The engine ``calacs``.

    Parameters
    ----------
    executable : Path
        Absolute.
    version : str, optional
        As it says itself; asked for where it is not given.
    """

    executable: Path
    version: str = ""
    name: str = NAME

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
        """Calibrate the exposures of one task in its attempt folder.

        One exposure is calibrated as ``<rootname>_raw.fits``, which gives the same bytes as its row of a
        dithered association; a CR-SPLIT or RPT-OBS group as its staged association.

        Parameters
        ----------
        task : Task
        folder : Path
            Staged inputs under their bare names, and ``ref/`` with the references.
        threads : int
            For the CTE correction.
        deadline : float or None
            Seconds that it may take.
        report : callable
            Told, in a few words, where it is.
        cancel : threading.Event, optional
            Set from elsewhere to stop it.

        Raises
        ------
        EngineError
            E002 the input is not staged as it must be, or too deep, E003 calacs.e can't be started, E004 it failed,
            E005 it was killed with SIGKILL, E010 to E013 it did not prove its success.
        InterruptedRunError
            It was cancelled.
        """
        _refuse_deep(task, folder)
        name = _input_name(task, folder)
        version = self.version or read_version(self.executable)
        argv = [str(self.executable), "--nthreads", str(max(1, threads)), name]
        progress = Progress(report, several=len(task.exposures) > 1)
        done = _start(
            argv, folder, threads=threads, deadline=deadline, progress=progress, cancel=cancel, log=LOG, where=task.id
        )
        if done.ended == "cancelled":
            msg = f"{PROGRAM} {done.describe()}"
            raise InterruptedRunError(msg, where=task.id)
        lines = meaningful_lines(done.tail)
        if not done.succeeded:
            raise _failure(task, done, lines)
        try:
            skipped = prove(task, folder)
        except EngineError as error:
            said = "\n".join(f"    {line}" for line in lines)
            msg = f"{PROGRAM} {done.describe()}, but {error.message}; its last lines:\n{said}"
            raise EngineError(
                msg,
                where=task.id,
                hint=explain(done.tail) or error.hint,
                code=error.code,
            ) from error
        return Outcome(
            command=(PROGRAM, *argv[1:]),
            exit_status=done.exit_status,
            versions={NAME: version},
            details={
                "executable": str(self.executable),
                "log": LOG,
                "trailers": sorted(path.name for path in folder.glob("*.tra")),
                "trailer": list(lines),
                "calacs_warnings": progress.warnings,
                "seconds": round(done.seconds, 3),
            },
            warnings=skipped,
        )


def _refuse_deep(task: Task, folder: Path) -> None:
    length = len(os.fsencode(folder.resolve()))
    if length > DEEPEST:
        msg = f"the attempt folder's path has {length} bytes; calacs.e's CFITSIO takes {DEEPEST}: {folder}"
        raise EngineError(msg, where=task.id, hint="choose an output folder with a shorter path", code="E002")


def _input_name(task: Task, folder: Path) -> str:
    combined = any(output.name.partition("_")[0] not in task.exposures for output in task.outputs)
    if len(task.exposures) == 1 and not combined:
        what, found = "a RAW", [f"{task.exposures[0]}_raw.fits"]
    else:
        what, found = "one association", sorted(path.name for path in folder.glob("*_asn.fits"))
    if len(found) != 1 or not (folder / found[0]).is_file():
        msg = f"expected {what} in the attempt folder, found {', '.join(found) if len(found) > 1 else 'none'}"
        raise EngineError(msg, where=task.id, code="E002")
    if not _NAME.fullmatch(found[0]):
        msg = f"{found[0]!r} is not a name that calacs.e can be given: expected nine letters or digits and _raw or _asn"
        raise EngineError(msg, where=task.id, code="E002")
    return found[0]


def _start(
    argv: list[str],
    folder: Path,
    *,
    threads: int,
    deadline: float | None,
    progress: Progress | None = None,
    cancel: threading.Event | None = None,
    log: str = "",
    where: str | None = None,
) -> Finished:
    # HOME and TMPDIR are relative as well: the folder's own path may be long, or hold a "$".
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": ".",
        "TMPDIR": ".",
        "LANG": "C",
        "jref": "ref/",
        "OMP_NUM_THREADS": str(max(1, threads)),
    }
    try:
        return run_program(
            argv,
            cwd=folder,
            env=env,
            log=folder / log if log else None,
            deadline=deadline,
            on_line=progress.take if progress else None,
            cancel=cancel,
        )
    except OSError as error:
        msg = f"{argv[0]} can't be started: {error.strerror or error}"
        raise EngineError(msg, where=where, hint=INSTALL, code="E003") from error


def _failure(task: Task, done: Finished, lines: tuple[str, ...]) -> EngineError:
    said = "\n".join(f"    {line}" for line in lines) or "    (it said nothing)"
    hint = explain(done.tail)
    if hint is None and done.ended == "killed":
        hint = "calacs.e crashed, or the machine ran out of memory; its whole output is in " + LOG
    if hint is None and done.ended == "deadline":
        hint = "give it more time, or more threads; the CTE correction takes minutes for a full frame"
    # SIGKILL from elsewhere is what the kernel does where memory runs out: the run may try that once more.
    code = "E005" if done.ended == "killed" and done.exit_status == 137 else "E004"
    return EngineError(f"{PROGRAM} {done.describe()}; its last lines:\n{said}", where=task.id, hint=hint, code=code)
