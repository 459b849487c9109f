"""Runs that take milliseconds: a plan of tiny tasks, done by the real executor, folder, log, staging and proof of
outputs; only the steps' own work is made up. Each run is done in a forked child, which may be killed."""

from __future__ import annotations

import hashlib
import os
import queue
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from acsrecipe import files
from acsrecipe.errors import AcsRecipeError
from acsrecipe.plan.model import Outcome, Output, Plan, PlannedFile, Task, fingerprint
from acsrecipe.run.execute import RunOptions, RunResult, run_plan
from acsrecipe.run.journal import read_journal
from acsrecipe.run.pool import Done, Message, Report
from acsrecipe.run.work import Job, perform
from acsrecipe.run.worker import explain

ROOTS = ("j00000aaq", "j00000bbq")
OK, FAILED, WRONG = 0, 7, 99


class FakeStep:
    """Makes each output of a task from its inputs' bytes, its parameters and, where asked, of the moment."""

    def __init__(self, size: int = 0, stamped: bool = False, hook: Callable[[Task], None] | None = None) -> None:
        self.size, self.stamped, self.hook = size, stamped, hook

    def run(self, task: Task, folder: Path, *, deadline: float | None, report: Callable[[str], None]) -> Outcome:
        report("working")
        if self.hook:
            self.hook(task)
        read = [folder / file.path.rsplit("/", 1)[-1] for file in task.inputs]
        read += [folder / name for name in task.parameters.get("files", ())]
        text = "".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in read)
        stamp = f" at {time.time_ns()}" if self.stamped else ""
        for output in task.outputs:
            said = f"{output.name} by {task.kind} with {task.parameters.get('text')} of {text}{stamp}\n".encode()
            path = folder / output.name
            path.unlink(missing_ok=True)
            with files.writing(path):
                path.write_bytes(said + b"." * self.size)
        return Outcome(details={"text": text})


class InlinePool:
    """Does each job at once, in the driver's own thread."""

    def __init__(self, size: int, messages: queue.Queue[Message]) -> None:
        self.size, self.messages = size, messages

    def submit(self, task: str, job: Job) -> None:
        try:
            self.messages.put(Done(task, result=perform(job, lambda text: self.messages.put(Report(task, text)))))
        except AcsRecipeError as error:
            self.messages.put(Done(task, error=error))
        except Exception as error:
            self.messages.put(Done(task, error=explain(error, task)))

    def end(self, task: str) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


def write_inputs(base: Path, roots: Iterable[str] = ROOTS) -> None:
    """The files that the tasks read: what must never change."""
    (base / "data").mkdir(parents=True)
    for root in roots:
        (base / "data" / f"{root}_raw.fits").write_bytes(f"raw of {root}\n".encode() * 20)


def make_plan(
    base: Path, *, roots: Iterable[str] = ROOTS, make: str = "a", rewrite: str = "b", size: int = 100
) -> Plan:
    """Three tasks an exposure: one makes a file for the second only, which publishes it, and the third draws it."""
    tasks: list[Task] = []
    before: dict[str, str] = {}
    for root in roots:
        raw, flt = f"data/{root}_raw.fits", f"{root}_flt.fits"
        content = (base / raw).read_bytes()
        planned = PlannedFile(role="RAW", path=raw, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        chain = (
            Task(
                id=f"make/{root}",
                kind="make",
                exposures=(root,),
                inputs=(planned,),
                outputs=(Output(name=flt, folder="", size=size),),
                parameters={"text": make},
            ),
            Task(
                id=f"rewrite/{root}",
                kind="rewrite",
                exposures=(root,),
                after=(f"make/{root}",),
                outputs=(Output(name=flt, folder="products", size=size),),
                parameters={"text": rewrite, "files": [flt]},
            ),
            Task(
                id=f"draw/{root}",
                kind="draw",
                exposures=(root,),
                after=(f"rewrite/{root}",),
                outputs=(Output(name=f"{root}.png", folder="plots", size=size),),
                parameters={"files": [flt]},
            ),
        )
        for task in chain:
            before[task.id] = fingerprint(task, before)
            tasks.append(task.model_copy(update={"fingerprint": before[task.id]}))
    return Plan(
        recipe="small",
        recipe_file="recipe.toml",
        recipe_sha256="0" * 64,
        context=None,
        engine=None,
        association_changes=(),
        header_changes=(),
        reference_changes=(),
        tasks=tuple(tasks),
        products=(),
        findings=(),
    )


def run_here(plan: Plan, base: Path, output: Path, step: FakeStep | None = None, **how: Any) -> RunResult:
    """Run a plan in this process."""
    from acsrecipe.steps import catalogue

    real = catalogue.get_step
    catalogue.get_step = lambda kind: step or FakeStep()  # type: ignore[assignment,return-value]
    try:
        return run_plan(plan, RunOptions(base=base, output=output, **how), make_pool=InlinePool)
    finally:
        catalogue.get_step = real


def in_child(work: Callable[[], object], *, after_fork: Callable[[int], None] | None = None) -> int:
    """Do something in a forked child; give its wait status: an exit code times 256, or the signal that ended it.

    0 where it returned, the exit code of an error of ours, 99 where anything else was raised.
    """
    child = os.fork()
    if child == 0:
        code = WRONG
        try:
            work()
            code = OK
        except AcsRecipeError as error:
            code = error.exit_code
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    if after_fork is not None:
        after_fork(child)
    return os.waitpid(child, 0)[1]


def killed_at(number: int) -> Callable[[str], None]:
    """A ``_point`` hook that kills its process at the point of that number, counted from 1."""
    passed = 0

    def point(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return point


def run_and_kill(plan: Plan, base: Path, output: Path, number: int, step: FakeStep | None = None) -> bool:
    """Run in a child that is killed at the point of that number; False where it got to its end before."""

    def work() -> None:
        files._point = killed_at(number)
        run_here(plan, base, output, step)

    status = in_child(work)
    assert status in (0, signal.SIGKILL), status
    return status != 0


def content(folder: Path) -> dict[str, bytes]:
    """Products and plots by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("products", "plots")
        for path in sorted((folder / part).glob("*"))
    }


def finishes(output: Path) -> Counter[str]:
    """How often each task finished, as the log says; reading it checks its chain."""
    return Counter(
        event["task"] for event in read_journal(output / "provenance.jsonl") if event["event"] == "task-finished"
    )


def assert_tidy(output: Path) -> None:
    """Nothing half there: no attempt, no temporary file, nothing kept aside; and the plan is whole."""
    from acsrecipe.plan.model import from_json

    assert list((output / "work").iterdir()) == []
    left = [path.name for path in output.rglob("*") if path.name.endswith(".tmp") or ".kept-" in path.name]
    assert left == []
    from_json((output / "plan.json").read_text())
