"""The folder of a run: attempts, published outputs, and the lock that keeps a second run out."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from acsrecipe.errors import LockedError, OutputError
from acsrecipe.files import fsync_dir, publish_new, sha256_file
from acsrecipe.plan.model import Task

FOLDERS = ("products", "plots", "logs")


class RunFolder:
    """``DIR`` of ``acsrecipe run --output DIR``.

    ``products/`` and ``plots/`` hold complete outputs, ``logs/`` trailers, ``plan.json`` the plan,
    ``provenance.jsonl`` the log, and ``work/`` the attempts of tasks while they run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan = root / "plan.json"
        self.journal = root / "provenance.jsonl"
        self.work = root / "work"

    def prepare(self) -> None:
        """Make the folder and what it holds.

        Raises
        ------
        OutputError
            Where it can't be made, or is not writable.
        """
        try:
            for folder in (self.root, self.work, *(self.root / name for name in FOLDERS)):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.root, os.W_OK):
                msg = "not writable"
                raise PermissionError(msg)
        except OSError as error:
            msg = f"the output folder can't be used: {error.strerror or error}"
            raise OutputError(
                msg,
                where=str(self.root),
                hint="name another folder with --output",
                code="O001",
            ) from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder's kernel lock; it goes with the process, however that ends.

        Raises
        ------
        LockedError
            Naming the run that is at work here.
        """
        descriptor = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 4096, 0).decode(errors="replace").strip()
                msg = f"another run is at work here: {holder or 'unknown'}"
                raise LockedError(
                    msg,
                    where=str(self.root),
                    hint="wait for it, or give this one its own folder with --output",
                    code="O002",
                ) from None
            os.ftruncate(descriptor, 0)
            started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            os.pwrite(descriptor, f"pid {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)

    def check_space(self, needed: int) -> None:
        """Refuse to start what can't fit.

        Raises
        ------
        OutputError
            Naming the bytes that are free and needed.
        """
        free = shutil.disk_usage(self.root).free
        if free < needed:
            msg = f"{needed / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are free"
            raise OutputError(
                msg,
                where=str(self.root),
                hint="free space, or name another folder with --output",
                code="O003",
            )

    def start_attempt(self, task: Task) -> Path:
        """Make a fresh folder for one attempt; its name is short and plain, for programs that need that."""
        parent = self.work / task.id.replace("/", "-")
        parent.mkdir(exist_ok=True)
        folder = parent / uuid.uuid4().hex[:8]
        folder.mkdir()
        return folder

    def publish(
        self, attempt: Path, outputs: Sequence[dict[str, Any]], earlier: dict[str, str]
    ) -> list[dict[str, Any]]:
        """Give finished outputs their final names; what stays in the attempt is named by its path there.

        Parameters
        ----------
        attempt : Path
        outputs : sequence of dict
            ``name``, ``folder``, ``size``, ``sha256`` of each file.
        earlier : dict
            Name to sha256 of what this run itself published before: it may be replaced. Anything else of
            that name is the user's, and is kept aside.
        """
        published = []
        for output in outputs:
            source = attempt / output["name"]
            if not output["folder"]:
                published.append({**output, "path": str(source.relative_to(self.root))})
                continue
            target = self.root / output["folder"] / output["name"]
            kept = self._make_room(target, output["sha256"], earlier.get(str(target.relative_to(self.root)), ""))
            if not target.exists():
                publish_new(source, target)
            published.append({**output, "path": str(target.relative_to(self.root)), **kept})
        return published

    def _make_room(self, target: Path, wanted: str, ours: str) -> dict[str, str]:
        """Clear the name of an output: drop what this run made before, keep aside what it did not."""
        if not target.exists() and not target.is_symlink():
            return {}
        found = sha256_file(target) if target.is_file() and not target.is_symlink() else ""
        if found == wanted:
            return {}
        if found and found == ours:
            target.unlink()
            return {}
        number = 1
        while (aside := target.with_name(f"{target.name}.kept-{number}")).exists():
            number += 1
        target.rename(aside)
        fsync_dir(target.parent)
        return {"kept_aside": str(aside.relative_to(self.root))}

    def locate(self, output: dict[str, Any]) -> Path:
        """Say where an output that the log names lies."""
        return self.root / str(output["path"])

    def still_holds(self, output: dict[str, Any]) -> bool:
        """Say whether an output that the log names is there, with the content that the log records."""
        path = self.locate(output)
        return path.is_file() and path.stat().st_size == output["size"] and sha256_file(path) == output["sha256"]

    def sweep(self, attempt: Path) -> None:
        """Remove an attempt that is not needed any more."""
        shutil.rmtree(attempt, ignore_errors=True)
        with suppress(OSError):
            attempt.parent.rmdir()
