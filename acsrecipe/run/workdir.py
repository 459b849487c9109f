"""The folder of a run: attempts, published outputs, and the lock that keeps a second run out."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from acsrecipe import files
from acsrecipe.errors import IntegrityError, LockedError, OutputError
from acsrecipe.plan.model import Task
from acsrecipe.run.hashes import HashMemo, take_mark
from acsrecipe.run.ownership import FOLDERS

LONGEST = 850
"""Bytes of a run folder's path in which attempts can lie: CFITSIO, which calacs.e reads with, takes 980 for theirs."""

_LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")
"""Names that :mod:`acsrecipe.files` writes under before it gives the real one; a killed run leaves them."""


class RunFolder:
    """``DIR`` of ``acsrecipe run --output DIR``.

    ``products/`` and ``plots/`` hold complete outputs, ``logs/`` trailers, ``plan.json`` the plan,
    ``provenance.jsonl`` the log, and ``work/`` the attempts of tasks while they run.

    Parameters
    ----------
    root : Path
    verify : bool
        Read every output anew where its hash is asked for, instead of trusting inode, size and times.
    """

    def __init__(self, root: Path, *, verify: bool = False) -> None:
        self.root = root
        self.plan = root / "plan.json"
        self.journal = root / "provenance.jsonl"
        self.work = root / "work"
        self._verify = verify
        self._memo: HashMemo | None = None

    @property
    def memo(self) -> HashMemo:
        """The hashes of this folder's files, as far as remembered."""
        if self._memo is None:
            self._memo = HashMemo(self.root / ".hashes.json", trusted=not self._verify)
        return self._memo

    def prepare(self) -> None:
        """Make the folder and what it holds.

        Raises
        ------
        OutputError
            Where it can't be made, or is not writable.
        """
        try:
            above = self.root.absolute()
            while not above.exists():
                above = above.parent
            for folder in (self.root, self.work, *(self.root / name for name in FOLDERS)):
                if folder == self.work:
                    self._place_work()
                folder.mkdir(parents=True, exist_ok=True)
                if not os.access(folder, os.W_OK):
                    msg = "not writable"
                    raise PermissionError(0, msg, str(folder))
            new = self.root.absolute()
            while new != above:  # Its own content is synced when the log is opened.
                new = new.parent
                files.fsync_dir(new)
        except OSError as error:
            msg = f"the output folder can't be used: {error.strerror or error}"
            raise OutputError(
                msg,
                where=str(error.filename or self.root),
                hint="name another folder with --output",
                code="O001",
            ) from error

    def _place_work(self) -> None:
        """Have attempts elsewhere where this folder's path is too long for the programs that run in them.

        ``work`` is then a link to a folder of this user's under the system's folder for temporary files.
        """
        if self.work.is_symlink() and not self.work.is_dir():  # It was cleared away; what it held is made again.
            self.work.unlink()
        if len(os.fsencode(self.root.resolve())) > LONGEST and not self.work.exists():
            self.work.symlink_to(tempfile.mkdtemp(prefix="acsrecipe-"), target_is_directory=True)

    def leave(self) -> None:
        """Remove what only a run needs, where nothing is in it."""
        if self.work.is_symlink():
            with suppress(OSError):
                Path(os.path.realpath(self.work)).rmdir()
                self.work.unlink()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's kernel lock; it goes with the process, however that ends.

        Raises
        ------
        LockedError
            Naming the run that is at work here.
        OutputError
            The disk knows no locks.
        """
        path = self.root / ".lock"
        with files.writing(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            self._lock(descriptor)
            started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            holder = f"pid {os.getpid()} on {socket.gethostname()} since {started}\n".encode()
            with suppress(OSError):  # A full disk is told of by what needs it more.
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, holder, 0)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            for _ in range(5):  # Another run that only looks (refuse_second) is gone in no time.
                with suppress(BlockingIOError):
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                time.sleep(0.02)
            raise self._is_held(descriptor)
        except OSError as error:
            msg = f"this disk has no locks ({error.strerror or error}), so a second run could not be kept out"
            raise OutputError(
                msg, where=str(self.root), hint="name a folder on another disk with --output", code="O004"
            ) from error

    def refuse_second(self) -> None:
        """Raise ``LockedError`` where another run holds the folder; changes nothing, and holds nothing after."""
        try:
            descriptor = os.open(self.root / ".lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._is_held(descriptor) from None
        except OSError:
            return
        finally:
            os.close(descriptor)

    def _is_held(self, descriptor: int) -> LockedError:
        holder = ""
        for _ in range(10):  # Who has just taken the lock writes its name next.
            holder = os.pread(descriptor, 4096, 0).decode(errors="replace").strip()
            if holder:
                break
            time.sleep(0.02)
        msg = f"another run is at work here: {holder or 'unknown'}"
        return LockedError(
            msg, where=str(self.root), hint="wait for it, or give this one its own folder with --output", code="O002"
        )

    def free_space(self) -> int:
        """Give the bytes that are free for this user."""
        return min(shutil.disk_usage(self.root).free, shutil.disk_usage(self.work).free)

    def check_space(self, needed: int) -> None:
        """Refuse to start what can't fit.

        Raises
        ------
        OutputError
            Naming the bytes that are free and needed.
        """
        free = self.free_space()
        if free < needed:
            msg = f"{needed} bytes are needed and {free} are free ({needed / 1e6:.0f} MB and {free / 1e6:.0f} MB)"
            raise OutputError(
                msg,
                where=str(self.root),
                hint="free space, or name another folder with --output",
                code="O003",
            )

    def start_attempt(self, task: Task) -> Path:
        """Make a fresh folder for one attempt; its name is short and plain, for programs that need that."""
        folder = self.work / task.id.replace("/", "-") / uuid.uuid4().hex[:8]
        with files.writing(folder):
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir()
        files._point("workdir.attempt")
        return folder

    def describe(self, attempt: Path, outputs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Say where finished outputs will lie, as ``path`` from the folder of the run.

        Raises
        ------
        IntegrityError
            One was written to after it was checked: something of the task still works on it.
        """
        described = []
        for output in outputs:
            if "path" in output:  # A download: it is in the store, under its hash.
                described.append(dict(output))
                continue
            source = attempt / output["name"]
            if list(output["mark"]) != _late_mark(source):
                msg = f"{output['name']} changed after it was checked"
                raise IntegrityError(
                    msg, where=str(source), hint="does the engine or step leave a process behind?", code="O006"
                )
            target = self.root / output["folder"] / output["name"] if output["folder"] else source
            kept = {key: value for key, value in output.items() if key != "mark"}
            described.append({**kept, "path": str(target.relative_to(self.root))})
        return described

    def publish(
        self, attempt: Path, outputs: Sequence[dict[str, Any]], ours: Mapping[str, Collection[str]]
    ) -> list[dict[str, Any]]:
        """Give finished outputs their final names, durably; what stays in the attempt is only made durable.

        Parameters
        ----------
        attempt : Path
        outputs : sequence of dict
            As :meth:`describe` gives them.
        ours : mapping
            Path to every sha256 that runs in this folder published there: that may be replaced. Anything
            else of that name is the user's, and is kept aside.

        Returns
        -------
        list of dict
            The outputs, with ``kept_aside`` where something was.
        """
        published = []
        for output in outputs:
            source, target = attempt / output["name"], self.root / output["path"]
            if not target.is_relative_to(self.root):
                published.append(output)
                continue
            with files.writing(target):
                aside = {}
                if output["folder"]:
                    aside = self._make_room(target, output["sha256"], ours.get(output["path"], ()))
                    files._point("workdir.room")
                    if target.exists():
                        files.fsync_file(target)
                        files.fsync_dir(target.parent)
                    else:
                        files.publish_new(source, target)
                else:
                    files.fsync_file(source)
                    for folder in (attempt, attempt.parent, self.work):
                        files.fsync_dir(folder)
                self.memo.remember(target, take_mark(target), output["sha256"])
            published.append({**output, **aside})
        return published

    def _make_room(self, target: Path, wanted: str, ours: Collection[str]) -> dict[str, str]:
        """Clear the name of an output: drop what a run made here before, keep aside what none did."""
        if not os.path.lexists(target):
            return {}
        found = files.sha256_file(target) if target.is_file() and not target.is_symlink() else ""
        if found == wanted:
            return {}
        if found and found in ours:
            target.unlink()
            return {}
        number = 1
        while os.path.lexists(aside := target.with_name(f"{target.name}.kept-{number}")):
            number += 1
        target.rename(aside)
        files.fsync_dir(target.parent)
        return {"kept_aside": str(aside.relative_to(self.root))}

    def keep_logs(self, attempt: Path, task: Task) -> list[str]:
        """Keep what a failed task's programs said: ``logs/failed-...``, replaced when it fails again."""
        kept = []
        for source in sorted([*attempt.glob("*.log"), *attempt.glob("*.tra")]):
            target = self.root / "logs" / f"failed-{task.id.replace('/', '-')}-{source.name}"
            if source.is_file() and not source.is_symlink():
                with suppress(OSError):
                    source.replace(target)
                    kept.append(str(target.relative_to(self.root)))
        return kept

    def locate(self, output: Mapping[str, Any]) -> Path:
        """Say where an output that the log names lies."""
        return self.root / str(output["path"])

    def lacks(self, output: Mapping[str, Any]) -> str:
        """Say what is wrong with an output that the log names; nothing where it is as the log records."""
        path = self.locate(output)
        try:
            if path.is_symlink() or not path.is_file():
                return "is gone"
            same = path.stat().st_size == output["size"] and self.memo.sha256(path) == output["sha256"]
        except OSError:
            return "can't be read"
        return "" if same else "is not as it was left"

    def sweep(self, attempt: Path) -> None:
        """Remove an attempt that is not needed any more."""
        shutil.rmtree(attempt, ignore_errors=True)
        with suppress(OSError):
            attempt.parent.rmdir()

    def sweep_all(self, needed: Collection[Path]) -> list[Path]:
        """Remove what dead runs left behind, but for attempts that are needed.

        Returns
        -------
        list of Path
            Attempts in which something of a dead run still works; they are left to it, and to a later run.
        """
        alive = []
        for parent in self.work.iterdir():
            if parent.is_symlink() or not parent.is_dir():
                continue
            for attempt in parent.iterdir():
                if attempt in needed:
                    continue
                if is_in_use(attempt):
                    alive.append(attempt)
                else:
                    self.sweep(attempt)
            with suppress(OSError):
                parent.rmdir()
        for folder in (self.root, *(self.root / name for name in FOLDERS)):
            for path in folder.iterdir():
                if _LEFT_OVER.fullmatch(path.name):
                    with suppress(OSError):
                        path.unlink()
        return alive


def _late_mark(path: Path) -> list[int]:
    with suppress(OSError):
        return take_mark(path)
    return []


@contextmanager
def in_use(attempt: Path) -> Iterator[None]:
    """Mark an attempt as worked in, as long as this process lives; where folders can't be locked, nothing."""
    try:
        descriptor = os.open(attempt, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def is_in_use(attempt: Path) -> bool:
    """Say whether a worker, an engine, or anything that it started still works in an attempt.

    Workers lock the folder; a program and all its children share the lock of its log
    (:func:`acsrecipe.process.run_program`).
    """
    return any(_is_locked(path) for path in (attempt, *attempt.glob("*.log")))


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
