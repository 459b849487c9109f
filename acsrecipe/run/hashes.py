"""Hashes of files, remembered as long as the files are untouched: a cache, which may be lost at any time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from acsrecipe.errors import OutputError
from acsrecipe.files import sha256_file, write_atomic

Mark = list[int]
"""Device, inode, size, times of change of content and of status: what no write leaves as it was."""


class HashMemo:
    """Remembers the sha256 of files of one folder between runs.

    Parameters
    ----------
    path : Path
        The cache's own file; one that is not there, or makes no sense, is an empty one.
    trusted : bool
        False to read every file anew, once, whatever is remembered.
    """

    def __init__(self, path: Path, *, trusted: bool = True) -> None:
        self._path = path
        self._known: dict[str, tuple[Mark, str]] = {}
        self._changed = False
        if trusted:
            with suppress(OSError, ValueError, TypeError, AttributeError):
                data = json.loads(path.read_bytes())
                self._known = {str(name): (list(mark), str(digest)) for name, (mark, digest) in data.items()}

    def sha256(self, path: Path) -> str:
        """Give the sha256 of a file: remembered where inode, size and times are as they were, else read."""
        mark = take_mark(path)
        name = str(path)
        known = self._known.get(name)
        if known is not None and known[0] == mark:
            return known[1]
        digest = sha256_file(path)
        if take_mark(path) == mark:
            self.remember(path, mark, digest)
        return digest

    def remember(self, path: Path, mark: Mark, digest: str) -> None:
        """Take a hash that was computed elsewhere, of the file as `mark` describes it."""
        self._known[str(path)] = (mark, digest)
        self._changed = True

    def known(self, paths: Iterable[Path]) -> dict[str, tuple[Mark, str]]:
        """Give what is remembered of some files, whether or not they still are as they were."""
        return {str(path): self._known[str(path)] for path in paths if str(path) in self._known}

    def save(self) -> None:
        """Write what is known of files that are still there; a cache that can't be written is none."""
        if self._changed:
            kept = {name: value for name, value in self._known.items() if Path(name).exists()}
            with suppress(OutputError):
                write_atomic(self._path, json.dumps(kept).encode())
            self._changed = False


def take_mark(path: Path) -> Mark:
    """Take what tells a file from what it was before: see :data:`Mark`."""
    found = path.stat()
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
