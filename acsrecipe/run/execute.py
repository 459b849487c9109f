"""Follow a plan: which task when, what is kept from an earlier run, and what the log says of it.

The executor decides nothing about *what* is done; that is the plan's. It decides *when*: a task starts as
soon as those it follows have finished and a worker is free.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acsrecipe.errors import AcsRecipeError, InterruptedRunError, PlanError
from acsrecipe.files import write_atomic
from acsrecipe.inputs.crds_cache import CrdsSettings
from acsrecipe.inputs.wire import MastSettings
from acsrecipe.plan.downloads import FETCH
from acsrecipe.plan.model import Plan, Task, to_json
from acsrecipe.run.journal import Event, Finished, Journal, fold
from acsrecipe.run.pool import Done, LocalPool, Report
from acsrecipe.run.work import Job, Result
from acsrecipe.run.workdir import RunFolder

Observer = Callable[[Event], None]
"""Hears of every event of the log, and of ``progress`` events, which are not logged."""


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
    store : Path or None
        The folder of downloads.
    mast, crds : settings or None
        How to fetch what is not here; as many files at once as ``mast.connections``.
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
    store: Path | None = None
    mast: MastSettings | None = field(default=None, repr=False)
    crds: CrdsSettings | None = None


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


def run_plan(
    plan: Plan, options: RunOptions, *, observe: Observer | None = None, stop: threading.Event | None = None
) -> RunResult:
    """Do what a plan says.

    Parameters
    ----------
    plan : Plan
    options : RunOptions
    observe : callable, optional
        Hears of every event, in the calling thread.
    stop : threading.Event, optional
        Set it to interrupt the run: running tasks are ended, finished ones stay.

    Returns
    -------
    RunResult

    Raises
    ------
    PlanError
        The plan has findings that keep it from being run.
    OutputError, LockedError, IntegrityError
        The output folder can't be used, is in use, or its log was damaged.
    InterruptedRunError
        ``stop`` was set.
    """
    if not plan.runnable:
        blocking = [one for one in plan.findings if one.severity == "error"]
        raise PlanError(
            f"the plan can't be run: {blocking[0].message}"
            + (f" (and {len(blocking) - 1} more)" if len(blocking) > 1 else ""),
            where=blocking[0].where or None,
            hint=blocking[0].hint or "look at the findings of `acsrecipe plan`",
            code=blocking[0].code,
        )
    folder = RunFolder(options.output)
    folder.prepare()
    with folder.alone():
        journal = Journal(folder.journal)
        run = _Run(plan, options, folder, journal, observe or (lambda event: None), stop or threading.Event())
        try:
            return run.follow()
        finally:
            journal.close()


class _Run:
    """The state of one run while it goes on."""

    def __init__(
        self,
        plan: Plan,
        options: RunOptions,
        folder: RunFolder,
        journal: Journal,
        observe: Observer,
        stop: threading.Event,
    ) -> None:
        self.plan = plan
        self.options = options
        self.folder = folder
        self.journal = journal
        self.observe = observe
        self.stop = stop
        self.before = fold(journal.events)
        self.made: dict[str, Path] = {}
        self.finished: list[str] = []
        self.kept: list[str] = []
        self.failed: dict[str, BaseException] = {}
        self.skipped: list[str] = []
        self.warnings: list[str] = []
        self.attempts: dict[str, Path] = {}
        self.started: dict[str, float] = {}
        self.pools: list[LocalPool] = []

    def log(self, event: str, **fields: Any) -> None:
        self.observe(self.journal.append(event, **fields))

    def follow(self) -> RunResult:
        reasons = self._why_again()
        waiting = [task for task in self.plan.tasks if task.id in reasons]
        self.folder.check_space(sum(output.size for task in waiting if task.kind != FETCH for output in task.outputs))
        self.log(
            "run-started",
            command_line=list(self.options.command_line),
            versions=dict(self.options.versions),
            plan=self.plan.id,
            recipe={"name": self.plan.recipe, "file": self.plan.recipe_file, "sha256": self.plan.recipe_sha256},
            context=self.plan.context.name if self.plan.context else None,
            engine=self.plan.engine.model_dump() if self.plan.engine else None,
            tasks=len(self.plan.tasks),
        )
        write_atomic(self.folder.plan, to_json(self.plan).encode())
        for task in self.plan.tasks:
            if task.id not in reasons:
                self._keep(task, self.before.get(task.id))
        try:
            self._do(waiting, reasons)
        finally:
            for pool in self.pools:
                pool.stop() if self.stop.is_set() else pool.close()
        if self.stop.is_set():
            self._sweep()
            self.log("run-interrupted", finished=len(self.finished), kept=len(self.kept))
            msg = f"interrupted; {len(self.finished) + len(self.kept)} of {len(self.plan.tasks)} tasks are done"
            raise InterruptedRunError(
                msg,
                hint="run the same command again to go on from there",
            )
        self.log(
            "run-finished",
            succeeded=not self.failed and not self.skipped,
            finished=len(self.finished),
            kept=len(self.kept),
            failed=sorted(self.failed),
            skipped=self.skipped,
        )
        self._sweep()
        return RunResult(
            self.options.output,
            tuple(self.finished),
            tuple(self.kept),
            self.failed,
            tuple(self.skipped),
            tuple(self.warnings),
        )

    def _why_again(self) -> dict[str, str]:
        """Say of each task that has to run why; a task that is not in the answer is kept as it is."""
        reasons: dict[str, str] = {}
        for task in reversed(self.plan.tasks):
            before = self.before.get(task.id)
            if before is None:
                reasons[task.id] = "new"
            elif before.fingerprint != task.fingerprint:
                reasons[task.id] = "its recipe, inputs, references or engine changed"
            elif lost := [out["name"] for out in before.outputs if out["folder"] and not self.folder.still_holds(out)]:
                reasons[task.id] = f"{lost[0]} is not as it was left"
        for task in reversed(self.plan.tasks):
            # What a task passes on without publishing it is swept; it has to be made again for those that need it.
            for earlier in task.after:
                if task.id in reasons and earlier not in reasons and not self._has_all(earlier):
                    reasons[earlier] = f"{task.id} needs what it makes"
        for fetch in (task.id for task in self.plan.tasks if task.kind == FETCH):
            # What nothing will read is not fetched.
            users = [task.id for task in self.plan.tasks if fetch in task.after and task.id in reasons]
            reasons.pop(fetch, None)
            if users:
                reasons[fetch] = f"{users[0]} needs it" + (f", and {len(users) - 1} more" if len(users) > 1 else "")
        return reasons

    def _has_all(self, task: str) -> bool:
        before = self.before.get(task)
        return before is not None and all(self.folder.still_holds(output) for output in before.outputs)

    def _keep(self, task: Task, before: Finished | None) -> None:
        self.kept.append(task.id)
        for output in before.outputs if before else ():
            self.made[output["name"]] = self.folder.locate(output)
        self.observe({"event": "task-kept", "task": task.id})

    def _do(self, waiting: Sequence[Task], reasons: Mapping[str, str]) -> None:
        by_id = {task.id: task for task in waiting}
        pending = dict(by_id)
        running: dict[str, LocalPool] = {}
        pool, fetchers = self._make_pools(waiting)
        done = set(self.kept)
        while (pending or running) and not self.stop.is_set():
            for task in list(pending.values()):
                if any(earlier in self.failed or earlier in self.skipped for earlier in task.after):
                    del pending[task.id]
                    self.skipped.append(task.id)
                    self.log("task-skipped", task=task.id, because=list(task.after))
                elif self.failed and not self.options.keep_going:
                    del pending[task.id]
                    self.skipped.append(task.id)
                elif set(task.after) <= done and self._is_free(
                    mine := fetchers if task.kind == FETCH else pool, running
                ):
                    del pending[task.id]
                    running[task.id] = mine
                    self._start(mine, task, reasons[task.id])
            try:
                message = pool.messages.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(message, Report):
                self._progress(message)
                continue
            running.pop(message.task, None)
            if not self.stop.is_set():
                self._end(by_id[message.task], message)
                if message.task not in self.failed:
                    done.add(message.task)

    def _make_pools(self, waiting: Sequence[Task]) -> tuple[LocalPool, LocalPool]:
        """Make workers that compute and, as they wait for the network most of the time, others that fetch."""
        log = self.folder.root / "logs" / "workers.log"
        downloads = sum(task.kind == FETCH for task in waiting)
        connections = self.options.mast.connections if self.options.mast else 1
        size = max(1, min(self.options.jobs, len(waiting) - downloads))
        pool = LocalPool(size, environment=self.options.environment, log=log)
        size = max(1, min(connections, downloads))
        fetchers = LocalPool(size, environment=self.options.environment, log=log, messages=pool.messages)
        self.pools = [pool, fetchers]
        return pool, fetchers

    @staticmethod
    def _is_free(pool: LocalPool, running: Mapping[str, LocalPool]) -> bool:
        return sum(busy is pool for busy in running.values()) < pool.size

    def _start(self, pool: LocalPool, task: Task, reason: str) -> None:
        attempt = self.attempts[task.id] = self.folder.start_attempt(task)
        self.log(
            "task-started",
            task=task.id,
            kind=task.kind,
            exposures=list(task.exposures),
            attempt=attempt.name,
            reason=reason,
            fingerprint=task.fingerprint,
        )
        self.started[task.id] = time.monotonic()
        engine = task.engine.split(" ")[0] if task.engine else ""
        pool.submit(
            task.id,
            Job(
                task=task,
                folder=attempt.resolve(),
                base=self.options.base.resolve(),
                upstream={name: path.resolve() for name, path in self.made.items()},
                engine=engine,
                search_path=self.options.search_path,
                threads=self.options.threads,
                deadline=self.options.deadline,
                store=self.options.store,
                mast=self.options.mast if task.kind == FETCH else None,
                crds=self.options.crds if task.kind == FETCH else None,
            ),
        )

    def _progress(self, report: Report) -> None:
        if report.text and report.task in self.started:
            self.observe({"event": "progress", "task": report.task, "text": report.text})

    def _end(self, task: Task, message: Done) -> None:
        duration = round(time.monotonic() - self.started[task.id], 3)
        if message.error is not None:
            self._fail(task, message.error, duration)
            return
        result: Result = message.result
        earlier = {
            str(output["path"]): str(output["sha256"]) for state in self.before.values() for output in state.outputs
        }
        try:
            outputs = self.folder.publish(self.attempts[task.id], result.outputs, earlier)
        except AcsRecipeError as error:
            self._fail(task, error, duration)
            return
        for output in outputs:
            self.made[output["name"]] = self.folder.locate(output)
        outcome = result.outcome
        self.warnings += [f"{task.id}: {warning}" for warning in outcome.warnings]
        self.finished.append(task.id)
        self.log(
            "task-finished",
            task=task.id,
            kind=task.kind,
            exposures=list(task.exposures),
            fingerprint=task.fingerprint,
            engine=task.engine,
            duration=duration,
            exit_status=outcome.exit_status,
            command=list(outcome.command),
            inputs=list(result.inputs),
            references=list(result.references),
            outputs=outputs,
            versions=outcome.versions,
            details=outcome.details,
            warnings=list(outcome.warnings),
            **self._changes(task),
        )

    def _changes(self, task: Task) -> dict[str, Any]:
        """Gather the plan's header, reference and association changes that this task carried out."""
        if task.kind == "association":
            name = task.id.partition("/")[2]
            found = [one for one in self.plan.association_changes if one.association == name]
            return {"association_change": found[0].model_dump(mode="json")} if found else {}
        if task.kind != "calibrate":
            return {}
        files = {file.path for file in task.inputs}
        return {
            "header_changes": [c.model_dump(mode="json") for c in self.plan.header_changes if c.file in files],
            "reference_changes": [c.model_dump(mode="json") for c in self.plan.reference_changes if c.file in files],
        }

    def _fail(self, task: Task, error: BaseException, duration: float) -> None:
        self.failed[task.id] = error
        self.log(
            "task-failed",
            task=task.id,
            kind=task.kind,
            exposures=list(task.exposures),
            duration=duration,
            error=str(error),
            code=getattr(error, "code", None),
            exit_code=getattr(error, "exit_code", 1),
        )

    def _sweep(self) -> None:
        """Remove attempts, but for those that hold what an undone task needs when the run goes on."""
        done = {*self.finished, *self.kept}
        needed = {
            self.made[name].parent
            for task in self.plan.tasks
            if task.id not in done
            for name in task.parameters.get("files", ())
            if name in self.made
        }
        for parent in list(self.folder.work.iterdir()):
            for attempt in list(parent.iterdir()):
                if attempt not in needed:
                    self.folder.sweep(attempt)
