"""The references of a task in its attempt folder: linked there at once, and hashed while the engine works.

Nothing that was made with a reference is published before its hash is known to be right, so reading a gigabyte
needs no time of its own where there is a second processor.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acsrecipe.errors import EngineError, IntegrityError
from acsrecipe.files import CHUNK, writing
from acsrecipe.plan.model import PlannedReference
from acsrecipe.run.hashes import Mark, take_mark

REFERENCES = "ref"
"""Sub-folder of an attempt that holds its references; calacs gets it as a relative ``jref=ref/``."""

Known = Mapping[str, tuple[Mark, str]]
"""Path to what the file was like when it was hashed, and its sha256."""


@dataclass
class StagedReferences:
    """References that are linked into an attempt, and being hashed."""

    known: Known = field(default_factory=dict)
    waiting: list[tuple[PlannedReference, Future[tuple[str, str]], Mark, Path]] = field(default_factory=list)

    def verified(self) -> tuple[dict[str, Any], ...]:
        """Wait for the hashes, computing meanwhile those not begun yet, and describe each reference for the log.

        Raises
        ------
        IntegrityError
            W001: one is not what the plan saw.
        """
        found: dict[str, dict[str, Any]] = {}
        # The last ones first: from the other end than the thread that is at it.
        own = {
            source: _hash(source, mark, self.known)
            for _, future, mark, source in reversed(self.waiting)
            if future.cancel()
        }
        for reference, future, mark, source in self.waiting:
            sha256, sha1 = own[source] if future.cancelled() else future.result()
            for kind, wanted, digest in (("sha256", reference.sha256, sha256), ("sha1", reference.sha1, sha1)):
                if wanted and digest and digest != wanted:
                    raise _changed(reference, f"its {kind} is {digest[:12]}..., the plan saw {wanted[:12]}...")
            if take_mark(source) != mark:
                raise _changed(reference, "it was written to while it was in use")
            found[reference.keyword] = {
                "keyword": reference.keyword,
                "name": reference.name,
                "path": reference.path,
                "sha256": sha256,
                "mark": [str(source), mark],
            }
        return tuple(found.values())

    def give_up(self) -> None:
        """Hash no more: nobody is going to ask."""
        for _, future, _, _ in self.waiting:
            future.cancel()


@contextmanager
def stage_references(
    references: Sequence[PlannedReference], base: Path, folder: Path, known: Known, behind: Executor
) -> Iterator[StagedReferences]:
    """Link references under their bare names, and hash them behind the body of the ``with``, and after it.

    An error of the body gives way to that of a reference which is not what the plan saw: it explains it.

    Parameters
    ----------
    references : sequence of PlannedReference
    base, folder : Path
        Where their paths start, and the attempt folder.
    known : mapping
        Hashes that need not be computed again.
    behind : Executor
        Of one thread: so what a task before is still hashing is not hashed twice.
    """
    links = folder / REFERENCES
    with writing(links):
        links.mkdir()
    staged = StagedReferences(known)
    try:
        for reference in references:
            source = (base / reference.path).resolve()
            if not source.is_file():
                msg = f"{reference.keyword} {reference.name} is no longer there"
                raise EngineError(msg, where=str(source), code="W002")
            mark = take_mark(source)
            if mark[2] != reference.size and (reference.sha256 or reference.sha1):
                raise _changed(reference, f"it has {mark[2]} bytes, the plan saw {reference.size}")
            link = links / reference.name
            if not link.is_symlink():
                with writing(link):
                    link.symlink_to(source)
            staged.waiting.append((reference, behind.submit(_hash, source, mark, known), mark, source))
        try:
            yield staged
        except Exception:
            staged.verified()
            raise
    except BaseException:
        staged.give_up()
        raise


def _changed(reference: PlannedReference, how: str) -> IntegrityError:
    return IntegrityError(
        f"{reference.keyword} changed since the plan was made: {how}",
        where=reference.path,
        hint="make the plan again and look at it before running",
        code="W001",
    )


_hashed: dict[str, tuple[Mark, tuple[str, str]]] = {}
"""What this process has hashed: a reference serves many exposures."""

_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
"""Who finds a file being hashed by another thread waits for it."""


def _hash(source: Path, mark: Mark, known: Known) -> tuple[str, str]:
    """Give sha256 and sha1 of a file; the sha1 is empty where an earlier task compared it."""
    name = str(source)
    with _turns[name]:
        if name in _hashed and _hashed[name][0] == mark:
            return _hashed[name][1]
        if name in known and list(known[name][0]) == mark:
            return known[name][1], ""
        one, other = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
        with source.open("rb", buffering=0) as file:
            while piece := file.read(CHUNK):
                one.update(piece)
                other.update(piece)
        _hashed[name] = mark, (one.hexdigest(), other.hexdigest())
        return _hashed[name][1]
