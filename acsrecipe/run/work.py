"""Doing one task in its attempt folder: stage, work, prove, hash. Runs inside a worker process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acsrecipe.errors import IntegrityError, OutputError
from acsrecipe.files import copy_file, fsync_file, sha256_file, writing
from acsrecipe.plan.model import ARCHIVED, Outcome, PlannedFile, Task
from acsrecipe.run.hashes import Mark, take_mark
from acsrecipe.run.reference_files import Known, StagedReferences, stage_references
from acsrecipe.run.stamp import Original, Stamp, sha256_of_original, stamp_product

if TYPE_CHECKING:
    # Only fetching needs the network: every other worker starts sooner without.
    from acsrecipe.inputs.crds_cache import CrdsSettings
    from acsrecipe.inputs.wire import MastSettings


@dataclass(frozen=True)
class Job:
    """All that a worker needs to do a task: plain data that can be pickled.

    Attributes
    ----------
    task : Task
    folder : Path
        The attempt's own, empty folder.
    base : Path
        What relative paths of the plan are relative to: the recipe's folder.
    upstream : mapping
        Where files that earlier tasks made lie, by name.
    engine : str
        Name of the engine, for calibrations.
    search_path : str
        Where external programs are looked for.
    threads : int
        Processors that the task may use.
    deadline : float or None
        Seconds that it may take.
    store : Path or None
        The folder of downloads.
    mast, crds : settings or None
        How to fetch what is not here. They may hold a token: a job is never logged.
    known : mapping
        Hashes of its references, as far as a run before, or another worker, has read them.
    stamp : Stamp or None
        What its products say of how they were made.
    """

    task: Task
    folder: Path
    base: Path
    upstream: Mapping[str, Path] = field(default_factory=dict)
    engine: str = ""
    search_path: str = ""
    threads: int = 1
    deadline: float | None = None
    store: Path | None = None
    mast: MastSettings | None = None
    crds: CrdsSettings | None = None
    stamp: Stamp | None = None
    known: Known = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What came of a job: the files that went in and came out, and what the engine or step said."""

    inputs: tuple[dict[str, Any], ...]
    references: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    outcome: Outcome


@dataclass(frozen=True)
class Remainder:
    """A task whose work is done and proven: what is left is to read what was made, and to have it on the disk.

    A worker does that in the background, so that the next task need not wait for it.
    """

    job: Job
    inputs: tuple[dict[str, Any], ...]
    references: StagedReferences
    outcome: Outcome
    originals: Mapping[str, Original]

    def finish(self) -> Result:
        """Hash the outputs, and make them durable while that lasts; wait for the hashes of references.

        Raises
        ------
        IntegrityError
            A reference is not what the plan saw, or a staged input was written to.
        OutputError
            The disk did not take an output.
        """
        outputs = [self._describe(self.job.folder / output.name, output.folder) for output in self.job.task.outputs]
        outputs += [self._describe(path, "logs") for path in sorted(self.job.folder.glob("*.tra"))]
        inputs = tuple({key: _settle(value) for key, value in one.items()} for one in self.inputs)
        return Result(inputs, self.references.verified(), tuple(outputs), self.outcome)

    def _describe(self, path: Path, folder: str) -> dict[str, Any]:
        mark = take_mark(path)
        original = self.originals.get(path.name)
        with ThreadPoolExecutor(2) as pool:
            # Publishing syncs as well, and means it: this is to begin early, beside the hashing.
            synced = pool.submit(fsync_file, path)
            before = pool.submit(sha256_of_original, path, original) if original else None
            found = {"name": path.name, "folder": folder, "size": mark[2], "sha256": sha256_file(path), "mark": mark}
            with writing(path):
                synced.result()
            return {**found, "sha256_unstamped": before.result()} if before else found


def perform(job: Job, report: Callable[[str], None]) -> Result:
    """Do a task in its folder, from the beginning to the end: :func:`begin`, and what that leaves."""
    with ThreadPoolExecutor(1) as behind:
        return begin(job, report, behind)()


def begin(job: Job, report: Callable[[str], None], behind: Executor) -> Callable[[], Result]:
    """Do the work of a task in its folder, and prove and stamp what came of it.

    Parameters
    ----------
    job : Job
    report : callable
        Told how far it is.
    behind : Executor
        Of one thread, in which files are hashed while the engine works.

    Returns
    -------
    callable
        What is left to do, once, in any thread: see :meth:`Remainder.finish`.

    Raises
    ------
    IntegrityError
        An input is no longer what the plan saw.
    EngineError, StepError
        The work failed, or its success could not be proven.
    OutputError
        The disk did not take it.
    """
    if job.task.kind == "fetch":
        from acsrecipe.run.fetch import fetch_task

        result = fetch_task(job, report)
        return lambda: result
    report("staging")
    inputs = (*(_stage(job, file, behind) for file in job.task.inputs), *_stage_upstream(job))
    with stage_references(job.task.references, job.base, job.folder, job.known, behind) as staged:
        outcome = _work(job, report)
        report("checking")
        return Remainder(job, inputs, staged, outcome, _stamp_outputs(job)).finish


def _work(job: Job, report: Callable[[str], None]) -> Outcome:
    match job.task.kind:
        case "association" | "take":
            return Outcome()
        case "calibrate":
            from acsrecipe.engines.catalogue import get_engine

            engine = get_engine(job.engine, job.search_path)
            return engine.calibrate(job.task, job.folder, threads=job.threads, deadline=job.deadline, report=report)
        case kind:
            from acsrecipe.steps.catalogue import get_step

            return get_step(kind).run(job.task, job.folder, deadline=job.deadline, report=report)


def _stage(job: Job, file: PlannedFile, behind: Executor) -> dict[str, Any]:
    """Bring one delivered file into the attempt folder, edited on the way; never a link to what is edited.

    What is staged for an engine is hashed while that works: that hash is still a ``Future``.
    """
    from acsrecipe.inputs.association import write_filtered
    from acsrecipe.inputs.header import stage_edited

    name = file.path.rsplit("/", 1)[-1]
    source = _locate(job, file, name)
    expected = source.stem if file.path.startswith(ARCHIVED) else file.sha256
    target = job.folder / name
    rows = job.task.parameters.get("rows")
    edits = job.task.edits.get(name, ())
    staged: dict[str, Any] = {}
    if file.role == "ASN" and rows is not None:
        found = sha256_file(source)
        target = job.folder / _staged_name(job.task, name)
        write_filtered(source, target, rows)
        # At once: calacs.e writes into its table.
        staged["sha256_staged"] = sha256_file(target)
    elif edits:
        found = stage_edited(source, target, edits)
        later = job.task.kind == "calibrate" and file.role == "RAW"
        staged["sha256_staged"] = (
            behind.submit(_hash_staged, target, take_mark(target)) if later else sha256_file(target)
        )
    elif job.task.kind in ("calibrate", "take"):
        found = copy_file(source, target)
    else:
        found = sha256_file(source)
        with writing(target):
            target.symlink_to(source.resolve())
    if expected and found != expected:
        msg = f"changed since the plan was made: its sha256 is {found[:12]}..., the plan saw {expected[:12]}..."
        raise IntegrityError(
            msg,
            where=file.path,
            hint="make the plan again and look at it before running",
            code="W001",
        )
    return {"role": file.role, "path": file.path, "sha256": found, **staged}


def _hash_staged(path: Path, mark: Mark) -> str:
    """Hash a staged file while an engine reads it; what is hashed must be what was staged."""
    digest = sha256_file(path)
    if take_mark(path) != mark:
        msg = "was written to while the engine read it, so nobody can say what it was calibrated from"
        raise IntegrityError(msg, where=str(path), hint="does anything else write there?", code="O006")
    return digest


def _settle(value: object) -> object:
    return value.result() if isinstance(value, Future) else value


def _locate(job: Job, file: PlannedFile, name: str) -> Path:
    """Say where a delivered file lies: in its folder, or, under its sha256, among the downloads."""
    if not file.path.startswith(ARCHIVED):
        return job.base / file.path
    from acsrecipe.inputs.store import Store

    store = Store(job.store) if job.store is not None else None
    kept = store.find(file.source, name) if store is not None and not file.sha256 else None
    sha256 = file.sha256 or (kept.sha256 if kept is not None and kept.size == file.size else "")
    if store is None or not sha256 or not store.path(sha256).is_file():
        msg = "is not among the downloads any more"
        hint = "make the plan again: it will be fetched"
        raise IntegrityError(msg, where=file.path, hint=hint, code="W004")
    return store.path(sha256)


def _staged_name(task: Task, name: str) -> str:
    """Name the staged association: an association task's own output name, else as delivered."""
    return task.outputs[0].name if task.kind == "association" else name


def _stage_upstream(job: Job) -> tuple[dict[str, Any], ...]:
    """Bring in what earlier tasks made: a copy for a step that changes it, else a link to read through."""
    made = {output.name for output in job.task.outputs}
    staged = []
    for name in job.task.parameters.get("files", ()):
        source = job.upstream[name]
        if name in made:
            found = copy_file(source, job.folder / name)
        else:
            found = sha256_file(source)
            with writing(job.folder / name):
                (job.folder / name).symlink_to(source.resolve())
        staged.append({"role": "product", "path": name, "sha256": found})
    return tuple(staged)


def _stamp_outputs(job: Job) -> dict[str, Original]:
    """Check that all outputs are there, and stamp products; give how to read those as they were before."""
    originals = {}
    for output in job.task.outputs:
        path = job.folder / output.name
        if not path.is_file() or path.is_symlink():
            msg = f"{output.name} was not made"
            raise OutputError(msg, where=job.task.id, hint="look at the trailer in the log", code="W003")
        if job.stamp is not None and output.folder == "products":
            originals[output.name] = stamp_product(path, job.stamp)
    return originals
