"""The step ``updatewcs``: give FLT and FLC files the distortion model of their references, with stwcs.

stwcs edits files in place, reads ``jref`` from the environment, and with ``use_db`` asks a service without a
timeout. So it runs in a child process, on copies that are ours, in an environment built from nothing, with a
deadline; and it is believed only when the headers say that it did what it should.

A reference path with a slash is made absolute by stwcs and then expanded again, so that ``$``, ``[`` or a blank
at the end of any folder's name misleads it. Hence an empty ``jref``, and links to the references, under their
bare names, beside the files while it runs.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from acsrecipe.errors import InterruptedRunError, PlanError, StepError
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.model import HduHeader, Value
from acsrecipe.plan.model import Outcome, Task
from acsrecipe.process import Finished, run_program
from acsrecipe.steps.updatewcs_child import NO_SERVICE

KIND = "updatewcs"
REFERENCES = ("IDCTAB", "NPOLFILE", "D2IMFILE")
NEEDS_RAW = False
REWRITES = True

LOG = "updatewcs.log"
SERVICE = "https://mast.stsci.edu/portal/astrometryDB/"
DEADLINE = 600.0
"""Seconds, where the run gives none."""

WCS_CARDS = ("WCSNAME", "IDCTAB", "CD1_1", "CD1_2", "CD2_1", "CD2_2")
"""What the log keeps of each SCI header, before and after."""

ADDED = {"NPOLFILE": "WCSDVARR", "D2IMFILE": "D2IMARR"}
"""HDUs that stwcs appends where these references are named."""


def outputs(rootname: str, suffixes: Sequence[str]) -> tuple[str, ...]:
    """Name what it makes: the calibrated files themselves, changed."""
    return tuple(f"{rootname}_{suffix}.fits" for suffix in suffixes)


def run(
    task: Task,
    folder: Path,
    *,
    deadline: float | None,
    report: Callable[[str], None],
    cancel: threading.Event | None = None,
) -> Outcome:
    """Update the WCS of the task's outputs, which lie in the folder as copies, in place.

    Parameters
    ----------
    task : Task
        ``outputs`` are the files; ``parameters`` may have ``use_db`` (False) and ``service`` (MAST's).
    folder : Path
        With ``ref/`` holding what IDCTAB, NPOLFILE and D2IMFILE name.
    deadline : float or None
        Seconds that it may take; None means 600.
    report : callable
    cancel : threading.Event, optional

    Returns
    -------
    Outcome
        ``details["wcs"][file]`` lists for each SCI header ``hdu``, ``before`` and ``after``, each with
        WCSNAME, IDCTAB and the CD matrix. Where nothing changed there is a warning.

    Raises
    ------
    StepError
        S010 a file or reference is not there, S011 stwcs failed, S012 the service does not answer,
        S013 the result does not prove success.
    InterruptedRunError
        It was cancelled.
    """
    names = [output.name for output in task.outputs if output.name.endswith(".fits")]
    before = {name: _read(task, folder / name, "S010") for name in names}
    for name in names:
        _check_references(task, folder, name, before[name][0].cards)
    use_db = bool(task.parameters.get("use_db", False))
    report(f"stwcs on {', '.join(names)}" + (", asking the astrometry database" if use_db else ""))
    with _linked(folder, before.values()):
        done = _start(task, folder, names, use_db=use_db, deadline=deadline, cancel=cancel)
    if done.ended == "cancelled":
        msg = f"updatewcs {done.describe()}"
        raise InterruptedRunError(msg, where=task.id)
    if not done.succeeded:
        raise _failure(task, done, use_db=use_db)
    report("checking the WCS")
    wcs: dict[str, list[dict[str, Any]]] = {}
    warnings = []
    for name in names:
        after = _read(task, folder / name, "S013")
        _prove(task, name, after)
        wcs[name] = _compare(before[name], after)
        if all(entry["before"] == entry["after"] for entry in wcs[name]):
            warnings.append(f"{name}: updatewcs changed nothing: WCSNAME, IDCTAB and the CD matrix are as they were")
    return Outcome(
        command=("python", "-m", "acsrecipe.steps.updatewcs_child", done.argv[-1]),
        exit_status=done.exit_status,
        versions={name: version(name) for name in ("stwcs", "astropy", "numpy")},
        details={"wcs": wcs, "use_db": use_db, "log": LOG, "seconds": round(done.seconds, 3)},
        warnings=tuple(warnings),
    )


def _start(
    task: Task,
    folder: Path,
    names: Sequence[str],
    *,
    use_db: bool,
    deadline: float | None,
    cancel: threading.Event | None,
) -> Finished:
    service = str(task.parameters.get("service") or SERVICE)
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": ".",
        "TMPDIR": ".",
        "LANG": "C.UTF-8",
        "jref": "",
        "ASTROMETRY_STEP_CONTROL": "on" if use_db else "off",
        "ASTROMETRY_SERVICE_URL": service,
        "RAISE_PIPELINE_ERRORS": "true",
        "OMP_NUM_THREADS": "1",
        # The child imports what its parent would: the versions in the record are those that ran.
        "PYTHONPATH": ":".join(str(Path(entry).resolve()) for entry in sys.path if ":" not in entry),
    }
    wanted = json.dumps({"files": list(names), "service": service, "use_db": use_db}, sort_keys=True)
    argv = [sys.executable, "-P", "-s", "-m", "acsrecipe.steps.updatewcs_child", wanted]
    seconds = DEADLINE if deadline is None else deadline
    try:
        return run_program(argv, cwd=folder, env=env, log=folder / LOG, deadline=seconds, cancel=cancel)
    except OSError as error:
        msg = f"can't start Python for stwcs: {error.strerror or error}"
        raise StepError(msg, where=task.id, code="S011") from error


def _failure(task: Task, done: Finished, *, use_db: bool) -> StepError:
    last = done.tail[-1] if done.tail else "it said nothing"
    if use_db and done.exit_status == NO_SERVICE and done.ended == "exited":
        hint = "try again later, or set use_db = false: the solution is then that of the IDCTAB alone"
        return StepError(f"the astrometry database {last}", where=task.id, hint=hint, code="S012")
    hint = f"its whole output is in {LOG}"
    if done.ended == "deadline" and use_db:
        hint = "stwcs waits for its services without end; try again later, or set use_db = false"
    return StepError(f"updatewcs {done.describe()}: {last}", where=task.id, hint=hint, code="S011")


def _read(task: Task, path: Path, code: str) -> tuple[HduHeader, ...]:
    try:
        return read_headers(path)
    except PlanError as error:
        msg = f"{path.name} {error.message}"
        raise StepError(msg, where=task.id, hint=error.hint, code=code) from error


def _named(value: Value) -> str:
    """Give the bare name of a reference; empty where the card is absent, blank or N/A."""
    text = str(value or "").strip()
    return "" if text.upper() in ("", "N/A") else text.rsplit("$", 1)[-1]


def _check_references(task: Task, folder: Path, name: str, primary: Mapping[str, Value]) -> None:
    if not _named(primary.get("IDCTAB")):
        msg = f"{name} names no IDCTAB, so there is no distortion model to give it"
        raise StepError(msg, where=task.id, hint="choose a CRDS context that has one for this exposure", code="S010")
    for keyword in REFERENCES:
        reference = _named(primary.get(keyword))
        if reference and not (folder / "ref" / reference).is_file():
            msg = f"{name} names {keyword} = {primary[keyword]!r}, which is not among the task's references"
            raise StepError(msg, where=task.id, hint="fetch it into the CRDS cache, and plan again", code="S010")


@contextmanager
def _linked(folder: Path, files: Iterable[tuple[HduHeader, ...]]) -> Iterator[None]:
    """Have the references that the files name beside them, for as long as stwcs runs."""
    named = {_named(headers[0].cards.get(keyword)) for headers in files for keyword in REFERENCES} - {""}
    links = [folder / name for name in sorted(named) if not (folder / name).is_symlink()]
    for link in links:
        link.symlink_to(Path("ref") / link.name)
    try:
        yield
    finally:
        for link in links:
            link.unlink()


def _prove(task: Task, name: str, headers: tuple[HduHeader, ...]) -> None:
    output = next(output for output in task.outputs if output.name == name)
    found = [f"{hdu.name},{hdu.version}" for hdu in headers[1:]]
    missing = [hdu for hdu in output.hdus if hdu not in found and hdu != "PRIMARY"]
    kinds = {hdu.name for hdu in headers}
    missing += [kind for key, kind in ADDED.items() if _named(headers[0].cards.get(key)) and kind not in kinds]
    if missing:
        msg = f"{name} has no HDU {', '.join(missing)} after updatewcs: found {', '.join(found)}"
        raise StepError(msg, where=task.id, hint=f"its whole output is in {LOG}", code="S013")
    for hdu in _science(headers):
        wcsname = str(hdu.cards.get("WCSNAME") or "").strip()
        if not wcsname:
            msg = f"{name}: SCI,{hdu.version} has no WCSNAME after updatewcs, expected IDC_ and the IDCTAB's name"
            raise StepError(msg, where=task.id, hint=f"its whole output is in {LOG}", code="S013")


def _science(headers: tuple[HduHeader, ...]) -> list[HduHeader]:
    return [hdu for hdu in headers if hdu.name == "SCI"]


def _compare(before: tuple[HduHeader, ...], after: tuple[HduHeader, ...]) -> list[dict[str, Any]]:
    old = {hdu.version: hdu.cards for hdu in _science(before)}
    return [
        {
            "hdu": f"SCI,{hdu.version}",
            "before": {card: old.get(hdu.version, {}).get(card) for card in WCS_CARDS},
            "after": {card: hdu.cards.get(card) for card in WCS_CARDS},
        }
        for hdu in _science(after)
    ]
