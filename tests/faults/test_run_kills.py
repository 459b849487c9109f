"""Rows 1 to 4 of the fault table: kills and lost power at every point of a run, and what the next run makes of it."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standins.small_run import (
    ROOTS,
    FakeStep,
    assert_tidy,
    content,
    finishes,
    in_child,
    killed_at,
    make_plan,
    run_and_kill,
    run_here,
    write_inputs,
)

from acsrecipe import files
from acsrecipe.plan.model import Plan

ONE = ROOTS[:1]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_inputs(folder)
    return folder


@pytest.fixture
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder in memory where there is one: to sync costs nothing there, and these tests sync thousands of times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path_factory.mktemp("disk")) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def plan(base: Path) -> Plan:
    return make_plan(base)


@pytest.fixture(scope="module")
def undisturbed(base: Path, plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    run_here(plan, base, folder)
    return content(folder)


@pytest.fixture(autouse=True)
def _inputs_untouched(base: Path):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in base.rglob("*") if path.is_file()}
    yield
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in base.rglob("*") if path.is_file()} == before


def test_a_kill_at_every_point_of_a_run_loses_nothing_and_repeats_nothing(quick, base, plan, undisturbed):
    points = 0
    while True:
        folder = quick / f"run{points}"
        if not run_and_kill(plan, base, folder, points + 1):
            break
        points += 1
        half_way = content(folder) if folder.exists() else {}
        assert {name: undisturbed[name] for name in half_way} == half_way, f"a half product after point {points}"
        run_here(plan, base, folder)
        assert content(folder) == undisturbed, f"after a kill at point {points}"
        assert set(finishes(folder).values()) == {1}, f"after a kill at point {points}: {finishes(folder)}"
        assert_tidy(folder)
        shutil.rmtree(folder)
    assert points > 80


def test_products_that_differ_from_attempt_to_attempt_are_never_taken_for_the_users(quick, base):
    plan = make_plan(base, roots=ONE)
    number = 1
    while run_and_kill(plan, base, folder := quick / f"run{number}", number, FakeStep(stamped=True)):
        run_here(plan, base, folder, FakeStep(stamped=True))
        assert_tidy(folder)
        assert set(finishes(folder).values()) == {1}
        number += 1
    assert number > 40


@settings(max_examples=60)
@given(first=st.integers(1, 60), second=st.integers(1, 60), stamped=st.booleans())
def test_two_kills_in_a_row_the_second_while_going_on(quick, base, first, second, stamped):
    plan = make_plan(base, roots=ONE)
    folder = quick / f"twice-{time.monotonic_ns()}" / "run"
    for number in (first, second):
        run_and_kill(plan, base, folder, number, FakeStep(stamped=stamped))
    run_here(plan, base, folder, FakeStep(stamped=stamped))
    assert_tidy(folder)
    assert set(finishes(folder).values()) == {1}
    if not stamped:
        fresh = folder.with_name("fresh")
        run_here(plan, base, fresh)
        assert content(folder) == content(fresh)
    shutil.rmtree(folder.parent)


def test_a_kill_while_products_of_another_recipe_are_replaced(quick, base, undisturbed):
    plan, other = make_plan(base, roots=ONE), make_plan(base, roots=ONE, rewrite="another")
    fresh = quick / "fresh"
    run_here(other, base, fresh)
    number = 1
    while True:
        folder = quick / f"run{number}"
        run_here(plan, base, folder)
        if not run_and_kill(other, base, folder, number):
            break
        run_here(other, base, folder)
        assert content(folder) == content(fresh)
        assert_tidy(folder)
        number += 1
    assert number > 15


class Disk:
    """What a disk holds for certain: records what is synced, and takes everything else back after a kill.

    A file keeps the bytes that it had when it was last synced; a folder keeps the names that it had when
    it was last synced. That is the worst that a loss of power may do.
    """

    def __init__(self, record: Path) -> None:
        self.record = record

    def watch(self) -> None:
        """In the child: note every sync."""
        fsync = os.fsync

        def noted(descriptor: int) -> None:
            fsync(descriptor)
            found = os.fstat(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            names = sorted(one.name for one in path.iterdir()) if path.is_dir() else None
            entry = {"inode": found.st_ino, "size": found.st_size, "path": str(path), "names": names}
            with self.record.open("a") as out:
                out.write(json.dumps(entry) + "\n")

        os.fsync = noted

    def lose_power(self, root: Path) -> None:
        """In the parent: take back what was not synced, below a folder that itself is certain."""
        sizes: dict[int, int] = {}
        names: dict[str, list[str]] = {}
        for line in self.record.read_text().splitlines() if self.record.exists() else ():
            entry = json.loads(line)
            sizes[entry["inode"]] = entry["size"]
            if entry["names"] is not None:
                names[entry["path"]] = entry["names"]
        for folder, folders, plain in os.walk(root, topdown=True):
            for name in [*folders, *plain]:
                path = Path(folder, name)
                if name not in names.get(folder, []):
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                    if name in folders:
                        folders.remove(name)
                elif path.is_file() and not path.is_symlink():
                    os.truncate(path, min(path.stat().st_size, sizes.get(path.stat().st_ino, 0)))


def test_power_that_goes_at_any_point_loses_no_committed_task(quick, base):
    plan = make_plan(base, roots=ONE)
    fresh = quick / "fresh"
    run_here(plan, base, fresh)
    number, kept = 1, 0
    while True:
        around = quick / f"disk{number}"
        around.mkdir()
        disk = Disk(quick / f"record{number}")

        def work(disk: Disk = disk, number: int = number, around: Path = around) -> None:
            disk.watch()
            files._point = killed_at(number)
            run_here(plan, base, around / "run")

        if in_child(work) == 0:
            break
        disk.lose_power(around)
        folder = around / "run"
        log = folder / "provenance.jsonl"
        committed = set(finishes(folder)) if log.exists() else set()
        result = run_here(plan, base, folder)
        assert committed == set(result.kept), f"after power went at point {number}"
        assert content(folder) == content(fresh)
        assert_tidy(folder)
        kept += len(committed)
        number += 1
    assert number > 40
    assert kept > 10


def _inject(pid: int, call: str, how: str, number: int, record: Path) -> None:
    """Have strace do something to the n-th system call of a stopped child, and let it go on."""
    what = ["-e", f"trace={call}", "-e", f"inject={call}:{how}:when={number}"]
    tracer = subprocess.Popen(["strace", "-q", "-o", record, *what, "-p", str(pid)], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 10
    while time.monotonic() < until and tracer.poll() is None:
        if "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.002)
    os.kill(pid, signal.SIGCONT)
    _TRACERS.append(tracer)


_TRACERS: list[subprocess.Popen[bytes]] = []


def _with_injection(work: Callable[[], object], call: str, how: str, number: int, record: Path) -> tuple[int, bool]:
    """Give the wait status of a child that does `work`, and whether something was done to it."""

    def stopped() -> None:
        os.kill(os.getpid(), signal.SIGSTOP)
        work()

    def after(pid: int) -> None:
        os.waitpid(pid, os.WUNTRACED)
        _inject(pid, call, how, number, record)

    record.unlink(missing_ok=True)
    status = in_child(stopped, after_fork=after)
    _TRACERS.pop().wait(timeout=10)
    return status, status == signal.SIGKILL or "INJECTED" in record.read_text()


@pytest.fixture(scope="module")
def strace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for what strace says; a skip where it can't tamper with system calls."""
    record = tmp_path_factory.mktemp("strace") / "record"
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    try:
        status, done = _with_injection(lambda: os.sync(), "sync", "signal=SIGKILL", 1, record)
    except OSError:
        status, done = 0, False
    if status != signal.SIGKILL or not done:
        pytest.skip("this machine does not let strace attach to a process")
    return record


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "linkat", "unlink", "unlinkat", "mkdir"])
def test_a_kill_at_every_kth_system_call_that_writes(quick, base, strace, call):
    plan = make_plan(base, roots=ONE)
    fresh = quick / "fresh"
    run_here(plan, base, fresh)
    number = 1
    while True:
        folder = quick / f"run{number}"
        status, done = _with_injection(partial(run_here, plan, base, folder), call, "signal=SIGKILL", number, strace)
        if not done:
            break
        assert status == signal.SIGKILL
        run_here(plan, base, folder)
        assert content(folder) == content(fresh), f"after a kill at {call} number {number}"
        assert set(finishes(folder).values()) == {1}
        assert_tidy(folder)
        number += 1
    assert number > {"rename": 1, "linkat": 2}.get(call, 3), f"only {number - 1} calls of {call}"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("write", "ENOSPC"),
        ("write", "EIO"),
        ("fsync", "EIO"),
        ("linkat", "EIO"),
        ("rename", "ENOSPC"),
        ("mkdir", "ENOSPC"),
    ],
)
def test_every_kth_call_that_fails_is_told_and_commits_nothing(quick, base, strace, call, error):
    """Rows 6 and 7: an error of the disk at any write; the task is not committed, and the next run finishes."""
    plan = make_plan(base, roots=ONE)
    fresh = quick / "fresh"
    run_here(plan, base, fresh)
    number, failed = 1, 0
    while True:
        folder = quick / f"run{number}"

        def work(folder: Path = folder) -> None:
            for problem in run_here(plan, base, folder).failed.values():
                raise problem

        status, done = _with_injection(work, call, f"error={error}", number, strace)
        if not done:
            break
        code = os.waitstatus_to_exitcode(status)
        # What may fail without harm: remembering hashes. Whatever else fails is an error of the disk.
        assert code in (0, 7), f"{error} at {call} number {number} gave {code}"
        failed += code == 7
        assert {name: content(fresh)[name] for name in content(folder)} == content(folder)
        run_here(plan, base, folder)
        assert content(folder) == content(fresh), f"after {error} at {call} number {number}"
        assert set(finishes(folder).values()) == {1}
        assert_tidy(folder)
        number += 1
    assert failed >= {"rename": 1}.get(call, 2)


def test_the_kernel_lets_a_child_die_with_its_parent():
    """What rows 9 and 18 of the hazards lean on: without it an orphan works on, in its dead attempt only."""
    assert ctypes.CDLL(None).prctl(2, ctypes.byref(ctypes.c_int()), 0, 0, 0) == 0
