"""Fill a CRDS cache from a server: ask, fetch and verify in a process apart, which is ended when it stalls."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from acsrecipe.environment import PASSED_ON
from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_cache import REFERENCE_NAME, CrdsCache, CrdsSettings, identify, open_cache, verify_reference
from acsrecipe.inputs.model import FileIdentity, Observed

_MARGIN = 15.0
_LONGEST_LINE = 2**20


@dataclass(frozen=True)
class Heard:
    """What came of asking a server for rules.

    Attributes
    ----------
    context : str
        The name of the context, empty where the server could not be asked.
    observed : tuple of Observed
    """

    context: str
    observed: tuple[Observed, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far the fetching of references is.

    Attributes
    ----------
    event : str
        ``kept`` (was there, whole), ``bytes``, ``fetched``, ``quarantined``, ``retry``, ``waiting`` or
        ``failed``.
    name : str
        The reference, empty while waiting for the cache's lock.
    done, size : int
        Bytes of this file.
    note : str
        Why it is tried again, put aside, or has failed; or who holds the lock.
    """

    event: str
    name: str = ""
    done: int = 0
    size: int = 0
    note: str = ""


def sync_rules(settings: CrdsSettings, asked: str) -> Heard:
    """Ask the server, and have a context's ACS rules in the cache: about 24 small files.

    A named context whose rules are in the cache is good without its server; ``latest`` is not, as
    only the server can say what that is.

    Raises
    ------
    ArchiveError
        Where the server can't give what is needed and the cache has not got it.
    """
    context, observed = "", []
    for event in _follow(settings, {"do": "rules", "asked": asked}):
        kind = event["event"]
        if kind == "context":
            context = str(event["name"])
        elif kind == "unheard":
            message = (
                f"the CRDS server {settings.server} can't be asked: {event['why']}; {asked} is taken from the cache"
            )
            hint = "its list of bad files may have grown since"
            observed.append(Observed("C011", "warning", message, hint=hint))
        elif kind == "quarantined":
            message = f"{event['name']} in the CRDS cache {event['why']}; it was put aside and fetched again"
            observed.append(Observed("C012", "note", message, file=str(event["path"])))
    return Heard(context, tuple(observed))


def fetch_references(
    settings: CrdsSettings, names: Iterable[str], report: Callable[[Progress], None] | None = None
) -> dict[str, FileIdentity]:
    """Have reference files in the cache, each verified by size and sha1.

    Parameters
    ----------
    settings : CrdsSettings
    names : iterable of str
        Bare names; ``N/A`` is passed over.
    report : callable, optional
        Told of progress.

    Returns
    -------
    dict
        Each name's path, size and sha1.

    Raises
    ------
    ArchiveError
        Naming every file that could not be had, and why. Those that could stay.
    """
    wanted = sorted({name for name in names if name and name != "N/A"})
    for name in wanted:
        if not REFERENCE_NAME.fullmatch(name):
            msg = f"{name[:80]!r} is not the plain name of a reference"
            raise ArchiveError(msg, code="C006")
    cache = open_cache(settings)
    wrong = {name: what for name in wanted if (what := _fault(cache, name))}
    if wrong and not settings.online:
        raise _missing(settings, cache, wrong)
    failed = {}
    if wrong:
        for event in _follow(settings, {"do": "references", "names": sorted(wrong)}):
            if event["event"] == "failed":
                failed[str(event["name"])] = str(event["why"])
            if report is not None and event["event"] != "end":
                report(_progress(event))
        cache = open_cache(settings)
    if failed:
        listed = "\n  ".join(failed.values())
        count = f"{len(failed)} of {len(wanted)} references"
        hint = "run the same command again: what is whole is kept"
        msg = f"{count} could not be had:\n  {listed}"
        raise ArchiveError(msg, where=settings.server, hint=hint, code="C023")
    found = {name: identify(cache, name) for name in wanted}
    return {name: file for name, file in found.items() if file is not None}


def _fault(cache: CrdsCache, name: str) -> str:
    found = identify(cache, name)
    return verify_reference(found) if found is not None else "is not there"


def _missing(settings: CrdsSettings, cache: CrdsCache, wrong: dict[str, str]) -> ArchiveError:
    listed = "\n  ".join(f"{name} {what}" for name, what in wrong.items())
    hint = (
        "without --offline they are fetched"
        if settings.server
        else "give a CRDS server (CRDS_SERVER_URL) to fetch them"
    )
    msg = f"{len(wrong)} references are not in the CRDS cache, or not whole:\n  {listed}"
    return ArchiveError(msg, where=str(cache.root), hint=hint, code="C026")


def _progress(event: dict[str, Any]) -> Progress:
    return Progress(
        event=str(event["event"]),
        name=str(event.get("name", "")),
        done=int(event.get("done", event.get("size", 0) if event["event"] in ("kept", "fetched") else 0)),
        size=int(event.get("size", 0)),
        note=str(event.get("why") or event.get("holder") or ""),
    )


def _follow(settings: CrdsSettings, job: dict[str, object]) -> Iterator[dict[str, Any]]:
    """Run the fetching process, and give its events; end it where it falls silent."""
    patience = settings.patience
    deadline = patience.connect + patience.silence + _MARGIN
    told = json.dumps({**job, "settings": dataclasses.asdict(settings)}).encode() + b"\n"
    with tempfile.TemporaryFile() as complaints:
        child = subprocess.Popen(  # our own module
            # -P: a module in the folder that the user stands in is not ours.
            [sys.executable, "-P", "-m", "acsrecipe.inputs.crds_fetch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            start_new_session=True,
            # No token and no setting of another program reaches it; what it is to do comes through the pipe.
            env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
        )
        assert child.stdin is not None  # noqa: S101
        assert child.stdout is not None  # noqa: S101
        try:
            with contextlib.suppress(BrokenPipeError):  # it ended already; what it said on stderr tells why
                child.stdin.write(told)
                child.stdin.close()
            for line in _lines(child.stdout, deadline, settings):
                event = json.loads(line)
                if event["event"] == "error":
                    told_where, told_hint = event["where"] or None, event["hint"] or None
                    raise ArchiveError(event["message"], where=told_where, hint=told_hint, code=event["code"] or None)
                if event["event"] == "end":
                    child.wait(timeout=_MARGIN)
                    return
                yield event
            complaints.seek(0)
            last = complaints.read()[-2000:].decode(errors="replace").strip().rsplit("\n", 1)[-1]
            msg = f"the process that fetches from CRDS ended early: {last or 'without a word'}"
            raise ArchiveError(msg, where=settings.server, code="C027")
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            child.stdout.close()


def _lines(stream: IO[bytes], deadline: float, settings: CrdsSettings) -> Iterator[bytes]:
    """Give whole lines as they come; raise where none comes for the deadline."""
    pending = b""
    since = time.monotonic()
    while True:
        ready, _, _ = select.select([stream], [], [], max(0.0, since + deadline - time.monotonic()))
        if not ready:
            msg = f"the CRDS server made no progress for {deadline:.0f} s"
            hint = "run the same command again: what is whole is kept"
            raise ArchiveError(msg, where=settings.server, hint=hint, code="C028")
        chunk = os.read(stream.fileno(), 65536)
        if not chunk:
            return
        *whole, pending = (pending + chunk).split(b"\n")
        if whole:
            since = time.monotonic()
        if len(pending) > _LONGEST_LINE:
            msg = "the process that fetches from CRDS says what is not an event"
            raise ArchiveError(msg, where=settings.server, code="C027")
        yield from whole
