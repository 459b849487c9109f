"""The append-only event log of a run: ``provenance.jsonl``.

One JSON object a line. Each line carries the hash of the line before it and its own, so that an edited,
removed or reordered line is found. A line is one ``write`` on a file opened for appending, then synced:
after a crash at most the last line is torn, and a torn last line is dropped on reading.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from acsrecipe.errors import IntegrityError, OutputError, Where
from acsrecipe.files import fsync_dir

GENESIS = "0" * 64
Event = dict[str, Any]


def _canonical(event: Event) -> bytes:
    return json.dumps(event, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _hash(event: Event) -> str:
    return hashlib.sha256(_canonical({key: value for key, value in event.items() if key != "hash"})).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """A log that is open for appending; continues one that is already there.

    Parameters
    ----------
    path : Path
        ``provenance.jsonl``.
    clock : callable, optional
        Gives the time stamp of an event, UTC, ISO 8601.

    Raises
    ------
    IntegrityError
        Where the log that is there was damaged.
    """

    def __init__(self, path: Path, *, clock: Callable[[], str] = _now) -> None:
        self.path = path
        self.events: list[Event] = []
        self._clock = clock
        whole = 0
        if path.exists():
            self.events, whole = _replay(path)
            if path.stat().st_size != whole:
                os.truncate(path, whole)
        self._previous = self.events[-1]["hash"] if self.events else GENESIS
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fsync_dir(path.parent)

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event, synced to the disk before this returns; give it back as written.

        Raises
        ------
        OutputError
            Where the disk did not take it.
        """
        entry: Event = {
            **fields,
            "seq": len(self.events),
            "time": self._clock(),
            "event": event,
            "previous": self._previous,
        }
        entry["hash"] = _hash(entry)
        line = _canonical(entry) + b"\n"
        start = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                msg = f"only {written} of {len(line)} bytes of an event could be written"
                raise OSError(msg)
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, start)
            msg = f"the log could not be written: {error.strerror or error}"
            raise OutputError(
                msg,
                where=str(self.path),
                hint="free space and run the same command again: what was finished is kept",
            ) from error
        self.events.append(entry)
        self._previous = entry["hash"]
        return entry

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
    return _replay(path)[0]


def _replay(path: Path) -> tuple[list[Event], int]:
    data = path.read_bytes()
    events: list[Event] = []
    offset, previous = 0, GENESIS
    lines = data.split(b"\n")
    # What follows the last line feed is a line that a crash cut short, or nothing.
    for number, line in enumerate(lines[:-1], 1):
        problem = ""
        event: Event = {}
        try:
            event = json.loads(line)
        except ValueError:
            problem = "is not JSON"
        if not problem and (not isinstance(event, dict) or event.get("hash") != _hash(event) or _canonical(event) != line):
            problem = "was changed: its hash does not fit"
        if not problem and (event.get("previous") != previous or event.get("seq") != len(events)):
            problem = "does not follow the line before it: one was removed, added or moved"
        if problem:
            msg = f"line {number} (byte {offset}) {problem}"
            raise IntegrityError(
                msg,
                where=Where(str(path), number),
                hint="the log of this run can't be trusted; keep it for inspection and run into a new folder",
                code="J001",
            )
        events.append(event)
        previous = event["hash"]
        offset += len(line) + 1
    return events, offset


@dataclass(frozen=True)
class Finished:
    """A task that finished: the fingerprint it had, and what it left."""

    fingerprint: str
    outputs: tuple[dict[str, Any], ...]
    event: Event = field(repr=False)


def fold(events: Iterable[Event]) -> dict[str, Finished]:
    """Reduce a log to the state it describes: the last finished attempt of each task."""
    state: dict[str, Finished] = {}
    for event in events:
        if event["event"] == "task-finished":
            state[event["task"]] = Finished(event["fingerprint"], tuple(event["outputs"]), event)
    return state
