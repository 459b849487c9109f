"""Follow a plan: which task when, what is kept from an earlier run, and what the log says of it.

The executor decides nothing about *what* is done; that is the plan's. It decides *when*: a task starts as
soon as those it follows have finished and a worker is free. Only it publishes, and only it writes the log.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acsrecipe.errors import AcsRecipeError, EngineError, InterruptedRunError, PlanError
from acsrecipe.files import write_atomic
from acsrecipe.plan.downloads import FETCH
from acsrecipe.plan.model import Plan, Task, to_json
from acsrecipe.run.journal import Event, Journal
from acsrecipe.run.options import RunOptions as RunOptions
from acsrecipe.run.options import RunResult as RunResult
from acsrecipe.run.ownership import find_left_over, refuse_foreign, refuse_other_recipe, refuse_own_inputs
from acsrecipe.run.pool import WORKER_DIED, Done, LocalPool, Message, Pool, Report, Worked
from acsrecipe.run.reasons import why_again
from acsrecipe.run.schedule import Schedule, find_makers, find_users
from acsrecipe.run.space import bytes_needed, explain_full_disk
from acsrecipe.run.stamp import make_stamp
from acsrecipe.run.work import Job, Result
from acsrecipe.run.workdir import RunFolder

Observer = Callable[[Event], None]
"""Hears of every event of the log, and of ``progress``, ``note`` and ``task-kept`` events, which are not logged."""

MakePool = Callable[[int, "queue.Queue[Message]"], Pool]
"""Makes workers: how many, and where their messages go."""

OUT_OF_MEMORY = "E005"
"""Code of an engine that was killed with SIGKILL, which is what the kernel does where memory runs out."""


def run_plan(
    plan: Plan,
    options: RunOptions,
    *,
    observe: Observer | None = None,
    stop: threading.Event | None = None,
    make_pool: MakePool | None = None,
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
    make_pool : callable, optional
        Makes workers other than processes of this machine.

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
    folder = RunFolder(options.output, verify=options.verify)
    refuse_own_inputs(plan, options.base, options.output)
    refuse_foreign(options.output)
    folder.prepare()
    with folder.alone():
        journal = Journal(folder.journal)
        run = _Run(plan, options, folder, journal, observe or (lambda event: None), stop or threading.Event())
        try:
            return run.follow(make_pool or run.make_local_pool)
        finally:
            journal.close()
            folder.memo.save()
            folder.leave()


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
        self.plan_id = plan.id
        self.options = options
        self.folder = folder
        self.journal = journal
        self.observe = observe
        self.stop = stop
        self.tasks = {task.id: task for task in plan.tasks}
        self.before = dict(journal.state.finished)
        self.makers = find_makers(plan.tasks)
        self.users = find_users(plan.tasks, self.makers)
        self.made: dict[str, dict[str, dict[str, Any]]] = {}
        self.finished: list[str] = []
        self.kept: list[str] = []
        self.failed: dict[str, BaseException] = {}
        self.skipped: list[str] = []
        self.warnings: list[str] = []
        self.attempts: dict[str, Path] = {}
        self.started: dict[str, float] = {}
        self.running: dict[str, Pool] = {}
        self.worked: set[str] = set()
        self.again: dict[str, str] = {}
        self.overdue: set[str] = set()
        self.pools: list[Pool] = []
        self.messages: queue.Queue[Message] = queue.Queue()
        self.limit = 1

    def log(self, event: str, **fields: Any) -> None:
        self.observe(self.journal.append(event, **fields))

    def make_local_pool(self, size: int, messages: queue.Queue[Message]) -> Pool:
        log = self.folder.root / "logs" / "workers.log"
        return LocalPool(size, environment=self.options.environment, log=log, messages=messages)

    def follow(self, make_pool: MakePool) -> RunResult:
        refuse_other_recipe(self.journal.state.recipe, self.plan, self.folder.root)
        reasons = why_again(self.plan, self.before, self.makers, self.folder.lacks)
        self._sweep_dead(reasons)
        waiting = [task for task in self.plan.tasks if task.id in reasons]
        self.folder.check_space(bytes_needed(waiting, self.options.jobs))
        self.log(
            "run-started",
            command_line=list(self.options.command_line),
            versions=dict(self.options.versions),
            plan=self.plan_id,
            recipe={"name": self.plan.recipe, "file": self.plan.recipe_file, "sha256": self.plan.recipe_sha256},
            context=self.plan.context.name if self.plan.context else None,
            engine=self.plan.engine.model_dump() if self.plan.engine else None,
            tasks=len(self.plan.tasks),
        )
        write_atomic(self.folder.plan, to_json(self.plan).encode())
        ended = False
        try:
            self._do(reasons, make_pool)
            ended = not self.stop.is_set()
        finally:
            for pool in self.pools:
                pool.close() if ended else pool.stop()
        if not ended:
            self._sweep_done()
            self.log("run-interrupted", finished=len(self.finished), kept=len(self.kept))
            msg = f"interrupted; {len(self.finished) + len(self.kept)} of {len(self.plan.tasks)} tasks are done"
            raise InterruptedRunError(msg, hint="run the same command again to go on from there")
        self.log(
            "run-finished",
            succeeded=not self.failed and not self.skipped,
            finished=len(self.finished),
            kept=len(self.kept),
            failed=sorted(self.failed),
            skipped=self.skipped,
        )
        self._sweep_done()
        if left := find_left_over(self.journal.state.published, self.plan, self.folder.root):
            some = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
            self.warnings.append(f"{some}: of an earlier plan, and not of this one; it is still there")
        return RunResult(
            self.options.output,
            tuple(self.finished),
            tuple(self.kept),
            self.failed,
            tuple(self.skipped),
            tuple(self.warnings),
        )

    def _do(self, reasons: Mapping[str, str], make_pool: MakePool) -> None:
        # A kept task that follows one that runs is looked at when that has ended: it is kept only if what it
        # read came out the same. All others are kept now.
        affected = set(reasons)
        for one in self.plan.tasks:
            if one.kind != FETCH and any(name in affected for name in one.after):
                affected.add(one.id)
            if one.id not in affected:
                self._keep(one)
        schedule = Schedule([task for task in self.plan.tasks if task.id in affected])
        pool, fetchers = self._make_pools([task for task in self.plan.tasks if task.id in affected], make_pool)
        while len(schedule) and not self.stop.is_set():
            for mine, fetching in ((pool, False), (fetchers, True)):
                while self._is_free(mine) and (task := schedule.next(fetching=fetching)) is not None:
                    reason = self.again.get(task.id) or reasons.get(task.id) or self._reads_other(task)
                    if reason:
                        self._start(mine, task, reason, schedule)
                    else:
                        self._keep(task)
                        schedule.finish(task.id)
            if len(schedule):
                self._hear(schedule)

    def _make_pools(self, waiting: Sequence[Task], make_pool: MakePool) -> tuple[Pool, Pool]:
        """Make workers that compute and, as they wait for the network most of the time, others that fetch."""
        downloads = sum(task.kind == FETCH for task in waiting)
        connections = self.options.mast.connections if self.options.mast else 1
        pool = make_pool(max(1, min(self.options.jobs, len(waiting) - downloads)), self.messages)
        fetchers = make_pool(max(1, min(connections, downloads)), self.messages) if downloads else pool
        self.pools = [pool] if fetchers is pool else [pool, fetchers]
        self.limit = pool.size
        return pool, fetchers

    def _is_free(self, pool: Pool) -> bool:
        most = min(self.limit, pool.size) if pool is self.pools[0] else pool.size
        mine = [task for task, busy in self.running.items() if busy is pool]
        # What is only being hashed keeps no worker; but a slow disk must not let that pile up.
        return sum(task not in self.worked for task in mine) < most and len(mine) < 2 * most

    def _keep(self, task: Task) -> None:
        self.kept.append(task.id)
        before = self.before.get(task.id)
        self.made[task.id] = {output["name"]: output for output in before.outputs} if before else {}
        self.observe({"event": "task-kept", "task": task.id})

    def _reads_other(self, task: Task) -> str:
        """Say which file a task that finished earlier would now read with other content; nothing if none."""
        before = self.before[task.id]
        read = {str(file["path"]).rsplit("/", 1)[-1]: file["sha256"] for file in before.event["inputs"]}
        for name, maker in self.makers[task.id].items():
            output = self.made.get(maker, {}).get(name)
            if output is not None and output["sha256"] != read.get(name):
                return f"{name}, which it reads, was made anew and differs"
        return ""

    def _start(self, pool: Pool, task: Task, reason: str, schedule: Schedule) -> None:
        self.started[task.id] = time.monotonic()
        try:
            attempt = self.attempts[task.id] = self.folder.start_attempt(task)
        except AcsRecipeError as error:
            self._fail(task, error, schedule)
            return
        self.log(
            "task-started",
            task=task.id,
            kind=task.kind,
            exposures=list(task.exposures),
            attempt=attempt.name,
            reason=reason,
            fingerprint=task.fingerprint,
        )
        self.running[task.id] = pool
        made = {
            name: self.folder.locate(self.made[maker][name])
            for name, maker in self.makers[task.id].items()
            if name in self.made.get(maker, {})
        }
        pool.submit(
            task.id,
            Job(
                task=task,
                folder=attempt.resolve(),
                base=self.options.base.resolve(),
                upstream={name: path.resolve() for name, path in made.items()},
                engine=task.engine.split(" ")[0] if task.engine else "",
                search_path=self.options.search_path,
                threads=self.options.threads,
                deadline=self.options.deadline,
                store=self.options.store,
                mast=self.options.mast if task.kind == FETCH else None,
                crds=self.options.crds if task.kind == FETCH else None,
                known=self.folder.memo.known((self.options.base / one.path).resolve() for one in task.references),
                stamp=make_stamp(self.plan, self.plan_id, task, self.options.revision) if task.stamp else None,
            ),
        )

    def _hear(self, schedule: Schedule) -> None:
        """Wait a moment for what workers say, and act on it."""
        try:
            message = self.messages.get(timeout=0.1)
        except queue.Empty:
            self._end_overdue()
            return
        if isinstance(message, Report):
            if message.text and message.task in self.running:
                self.observe({"event": "progress", "task": message.task, "text": message.text})
        elif isinstance(message, Worked):
            self.worked.add(message.task)
        elif self.running.pop(message.task, None) is not None and not self.stop.is_set():
            self._end(self.tasks[message.task], message, schedule)
            self.worked.discard(message.task)

    def _end_overdue(self) -> None:
        """End the workers of tasks that did not keep their deadline themselves."""
        if self.options.deadline is None:
            return
        latest = time.monotonic() - self.options.deadline - self.options.late
        for name, pool in self.running.items():
            # A task whose work is done is only being hashed, while its worker is at another one.
            if self.started[name] < latest and name not in self.overdue | self.worked:
                self.overdue.add(name)
                pool.end(name)

    def _end(self, task: Task, message: Done, schedule: Schedule) -> None:
        if message.error is not None:
            error = message.error
            if task.id in self.overdue:
                msg = f"did not end within {self.options.deadline:g} s, and its worker was ended"
                error = EngineError(msg, where=task.id, hint="give it more time with --deadline", code="E006")
            elif self._may_try_again(task, error):
                self._try_again(task, error, schedule)
                return
            self._fail(task, error, schedule)
            return
        attempt, result = self.attempts[task.id], message.result
        try:
            outputs = self.folder.describe(attempt, result.outputs)
            named = [{"path": one["path"], "sha256": one["sha256"]} for one in outputs if one["folder"]]
            if named:
                # From here on these files are ours, even if we die before we can say that the task finished.
                self.log("task-publishing", task=task.id, attempt=attempt.name, outputs=named)
            outputs = self.folder.publish(attempt, outputs, self.journal.state.published)
        except AcsRecipeError as error:
            self._fail(task, error, schedule)
            return
        self._finish(task, result, outputs)
        schedule.finish(task.id)
        self._sweep_after(task)

    def _finish(self, task: Task, result: Result, outputs: list[dict[str, Any]]) -> None:
        outcome = result.outcome
        self.log(
            "task-finished",
            task=task.id,
            kind=task.kind,
            exposures=list(task.exposures),
            fingerprint=task.fingerprint,
            engine=task.engine,
            duration=self._duration(task),
            exit_status=outcome.exit_status,
            command=list(outcome.command),
            inputs=list(result.inputs),
            references=self._remember(result.references),
            outputs=outputs,
            versions=outcome.versions,
            details=outcome.details,
            warnings=list(outcome.warnings),
            asked=task.model_dump(mode="json"),
            **self._changes(task),
        )
        self.made[task.id] = {output["name"]: output for output in outputs}
        self.warnings += [f"{task.id}: {warning}" for warning in outcome.warnings]
        self.finished.append(task.id)

    def _remember(self, references: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Keep the hashes of references for the tasks to come; the log gets them without how the files looked."""
        for one in references:
            if "mark" in one:
                path, mark = one["mark"]
                self.folder.memo.remember(Path(path), mark, one["sha256"])
        return [{key: value for key, value in one.items() if key != "mark"} for one in references]

    def _changes(self, task: Task) -> dict[str, Any]:
        """Gather the plan's header, reference and association changes that this task carried out."""
        if task.kind == "association":
            name = task.id.partition("/")[2]
            found = [one for one in self.plan.association_changes if one.association == name]
            return {"association_change": found[0].model_dump(mode="json")} if found else {}
        if not task.edits:
            return {}
        files = {file.path for file in task.inputs}
        return {
            "header_changes": [c.model_dump(mode="json") for c in self.plan.header_changes if c.file in files],
            "reference_changes": [c.model_dump(mode="json") for c in self.plan.reference_changes if c.file in files],
        }

    def _may_try_again(self, task: Task, error: BaseException) -> bool:
        """Only what fewer tasks at once can heal is tried again, and only once."""
        return getattr(error, "code", None) in (WORKER_DIED, OUT_OF_MEMORY) and task.id not in self.again

    def _try_again(self, task: Task, error: BaseException, schedule: Schedule) -> None:
        if task.id not in self.worked:  # One that was being hashed went with the one that was worked at.
            self.limit = max(1, self.limit - 1)
        self.log("task-retried", task=task.id, duration=self._duration(task), error=str(error), at_once=self.limit)
        self.folder.sweep(self.attempts.pop(task.id))
        self.again[task.id] = f"its worker or engine was killed; tried once more, {self.limit} at once"
        schedule.put_back(task.id)

    def _fail(self, task: Task, error: BaseException, schedule: Schedule) -> None:
        attempt = self.attempts.get(task.id)
        logs = self.folder.keep_logs(attempt, task) if attempt is not None else []
        error = explain_full_disk(error, task, self.folder)
        if logs and isinstance(error, AcsRecipeError):
            said = f"what its programs said is in {', '.join(str(self.folder.root / log) for log in logs)}"
            error.hint = f"{error.hint}; {said}" if error.hint else said
        if attempt is not None:
            self.folder.sweep(self.attempts.pop(task.id))
        self.failed[task.id] = error
        self.log(
            "task-failed",
            task=task.id,
            kind=task.kind,
            exposures=list(task.exposures),
            duration=self._duration(task),
            error=str(error),
            code=getattr(error, "code", None),
            exit_code=getattr(error, "exit_code", 1),
            logs=logs,
        )
        self._skip(schedule.give_up(task.id), [task.id])
        if not self.options.keep_going:
            self._skip(schedule.give_up_all(), [task.id])

    def _skip(self, tasks: Sequence[Task], because: Sequence[str]) -> None:
        for task in tasks:
            self.skipped.append(task.id)
            self.log("task-skipped", task=task.id, because=list(because))

    def _duration(self, task: Task) -> float:
        return round(time.monotonic() - self.started[task.id], 3)

    def _sweep_dead(self, reasons: Mapping[str, str]) -> None:
        """Remove what dead runs left, but for files that a task of this run is going to read."""
        needed = set()
        for reader, files in self.makers.items():
            for name, maker in files.items():
                if reader in reasons and maker not in reasons and maker in self.before:
                    needed |= {
                        self.folder.locate(one).parent for one in self.before[maker].outputs if one["name"] == name
                    }
        for attempt in self.folder.sweep_all(needed):
            text = f"something of an earlier run still works in {attempt}; what it makes there is not used"
            self.warnings.append(text)
            self.observe({"event": "note", "text": text})

    def _is_needed(self, maker: str) -> bool:
        """Whether a task that is not done reads what `maker` did not publish."""
        done = {*self.finished, *self.kept}
        return any(reader not in done for reader in self.users.get(maker, ()))

    def _sweep_after(self, task: Task) -> None:
        """Remove the attempts that nobody needs any more now that a task has finished."""
        for name in {task.id, *self.makers[task.id].values()}:
            if name in self.attempts and not self._is_needed(name):
                self.folder.sweep(self.attempts.pop(name))

    def _sweep_done(self) -> None:
        """Remove attempts, but for those that hold what an undone task needs when the run goes on."""
        needed = {
            self.folder.locate(output).parent
            for name in (*self.finished, *self.kept)
            if self._is_needed(name)
            for output in self.made[name].values()
            if not output["folder"]
        }
        self.folder.sweep_all(needed)
