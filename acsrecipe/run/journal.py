"""The append-only event log of a run: ``provenance.jsonl``.

One JSON object a line. Each line carries the hash of the line before it, and ends with the hash of its own
bytes, so that an edited, removed or reordered line is found without writing it anew. A line is one ``write``
on a file opened for appending, then synced: after a crash at most the last line is torn, and a torn last
line is dropped on reading.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acsrecipe import files
from acsrecipe.errors import IntegrityError, OutputError, Where

GENESIS = "0" * 64
Event = dict[str, Any]

_SEAL = b',"hash":"'
_SEAL_LENGTH = len(_SEAL) + 64 + len(b'"}')


def _canonical(event: Event) -> bytes:
    return json.dumps(event, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def seal(event: Event) -> tuple[bytes, str]:
    """Write an event as a line, without its line feed, that ends with the sha256 of what stands before.

    Returns
    -------
    tuple of bytes, str
        The line, and the hash in it.
    """
    body = _canonical(event)
    digest = hashlib.sha256(body).hexdigest()
    return body[:-1] + _SEAL + digest.encode() + b'"}', digest


def _is_sealed(line: bytes) -> bool:
    body, tail = line[:-_SEAL_LENGTH], line[-_SEAL_LENGTH:]
    return (
        tail.startswith(_SEAL)
        and tail.endswith(b'"}')
        and hashlib.sha256(body + b"}").hexdigest().encode() == tail[len(_SEAL) : -2]
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """A log that is open for appending; continues one that is already there.

    Parameters
    ----------
    path : Path
        ``provenance.jsonl``.
    clock : callable, optional
        Gives the time stamp of an event, UTC, ISO 8601. Order is that of ``seq``, never that of the clock.

    Attributes
    ----------
    state : State
        What all its events come to, those of this run too.

    Raises
    ------
    IntegrityError
        Where the log that is there was damaged.
    OutputError
        Where it can't be written.
    """

    def __init__(self, path: Path, *, clock: Callable[[], str] = _now) -> None:
        self.path = path
        self.state = State()
        self._clock = clock
        self._broken = False
        self._count, self._previous = 0, GENESIS
        with files.writing(path):
            whole = 0
            if path.exists():
                _refuse_other(path)
                for event, end in _replay(path):
                    self.state.take(event)
                    self._count, self._previous, whole = self._count + 1, event["hash"], end
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._descriptor = os.open(path, flags, 0o666)
            if os.fstat(self._descriptor).st_size != whole:
                os.ftruncate(self._descriptor, whole)
        files.fsync_dir(path.parent)

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event, synced to the disk before this returns; give it back as written.

        Raises
        ------
        OutputError
            Where the disk did not take it; the log is then as it was.
        """
        entry: Event = {
            **fields,
            "seq": self._count,
            "time": self._clock(),
            "event": event,
            "previous": self._previous,
        }
        line, entry["hash"] = seal(entry)
        line += b"\n"
        try:
            self._write(line)
        except OSError as error:
            msg = f"the log could not take an event of {len(line)} bytes: {error.strerror or error}"
            raise OutputError(
                msg,
                where=str(self.path),
                hint="free space and run the same command again: what was finished is kept",
                code="J002",
            ) from error
        self.state.take(entry)
        self._count, self._previous = self._count + 1, entry["hash"]
        return entry

    def _write(self, line: bytes) -> None:
        if self._broken:
            msg = "an earlier event could not be written"
            raise OSError(msg)
        start = os.fstat(self._descriptor).st_size
        try:
            files._point("journal.before")
            written = os.write(self._descriptor, line)
            files._point("journal.written")
            if written != len(line):
                msg = f"only {written} of {len(line)} bytes could be written"
                raise OSError(msg)
            os.fsync(self._descriptor)
        except OSError:
            # Until the line is gone again nothing may follow it.
            self._broken = True
            os.ftruncate(self._descriptor, start)
            os.fsync(self._descriptor)
            self._broken = False
            raise
        files._point("journal.synced")

    def close(self) -> None:
        """Close the file; nothing is pending."""
        os.close(self._descriptor)


def read_journal(path: Path) -> list[Event]:
    """Read a log and check its chain.

    Raises
    ------
    IntegrityError
        Naming the line and the byte where it is not as it was written; a torn last line is no error.
    """
    return [event for event, _ in _replay(path)]


def _replay(path: Path) -> Iterator[tuple[Event, int]]:
    """Give each event with the byte at which the next one starts."""
    offset, previous = 0, GENESIS
    with path.open("rb") as file, _without_collector():
        for number, line in enumerate(file):
            # What has no line feed is a line that a crash cut short.
            if not line.endswith(b"\n"):
                return
            event, problem = _read_line(line[:-1], number, previous)
            if problem:
                msg = f"line {number + 1} (byte {offset}) {problem}"
                raise IntegrityError(
                    msg,
                    where=Where(str(path), number + 1),
                    hint="the log of this run can't be trusted; keep it for inspection and run into a new folder",
                    code="J001",
                )
            offset += len(line)
            previous = event["hash"]
            yield event, offset


@contextmanager
def _without_collector() -> Iterator[None]:
    """Spare the collector of cycles, which plain data has none of: it takes longer than all the reading."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_line(line: bytes, number: int, previous: str) -> tuple[Event, str]:
    """Read one line, or say what is wrong with it."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}, "is not JSON"
    if not isinstance(event, dict) or not _is_sealed(line):
        return {}, "was changed: its hash does not fit"
    if event.get("previous") != previous or event.get("seq") != number:
        return {}, "does not follow the line before it: one was removed, added or moved"
    return event, ""


@dataclass(frozen=True)
class Finished:
    """A task that finished: the fingerprint it had, and what it left."""

    fingerprint: str
    outputs: tuple[dict[str, Any], ...]
    event: Event = field(repr=False)


@dataclass
class State:
    """What a log comes to.

    Attributes
    ----------
    recipe : str
        Name of the recipe of the last run.
    finished : dict
        The last finished attempt of each task.
    published : dict
        Path to every sha256 that the runs of this log gave that name, or were about to give it: so a file
        that a killed run published before it could say that it had finished is known to be no user's.
    """

    recipe: str = ""
    finished: dict[str, Finished] = field(default_factory=dict)
    published: dict[str, set[str]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """Take in the next event."""
        kind = event["event"]
        if kind == "run-started":
            self.recipe = str(event["recipe"]["name"])
        if kind == "task-finished":
            self.finished[event["task"]] = Finished(event["fingerprint"], tuple(event["outputs"]), event)
        if kind in ("task-publishing", "task-finished"):
            for output in event["outputs"]:
                if "path" in output:
                    self.published.setdefault(output["path"], set()).add(output["sha256"])


def _refuse_other(path: Path) -> None:
    """Refuse a file that no log of ours can be the beginning of; its end must not be cut off as a torn line."""
    with path.open("rb") as file:
        start = file.readline(1 << 20)
    if start and not start.startswith(b"{") and not start.endswith(b"\n"):
        msg = "is there already, and is no log of acsrecipe"
        raise IntegrityError(msg, where=str(path), hint="name another folder with --output", code="J003")


def fold(events: Iterable[Event]) -> dict[str, Finished]:
    """Reduce a log to the last finished attempt of each task."""
    state = State()
    for event in events:
        state.take(event)
    return state.finished
