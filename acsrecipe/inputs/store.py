"""What was downloaded, kept by content: each file once, under its sha256, for all runs of a user.

``objects/ab/abcd....fits`` holds the files, read-only; ``index/SERVER/NAME.json`` says which of them an
archive's file was; ``partial/`` what has come so far of a file that is on its way. A name in ``objects/``
is given when the whole content is there and verified, never before.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from acsrecipe import files
from acsrecipe.errors import ArchiveError, OutputError

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LARGEST_ENTRY = 1 << 16


@dataclass(frozen=True)
class Kept:
    """What the store knows of one file of an archive.

    Attributes
    ----------
    name : str
        Bare, of our own making: ``j9l960a7q_raw.fits``.
    source : str
        The address it came from, without any secret.
    size : int
        Bytes.
    sha256 : str
    etag : str
        What the server called this version of it, or empty.
    fetched : str
        When, ISO 8601, UTC.
    """

    name: str
    source: str
    size: int
    sha256: str
    etag: str = ""
    fetched: str = ""


@dataclass(frozen=True)
class Store:
    """The folder of downloads; it is made when the first file comes.

    Attributes
    ----------
    root : Path
        Absolute.
    """

    root: Path

    def path(self, sha256: str) -> Path:
        """Say where content lies, or would lie."""
        if not _SHA256.fullmatch(sha256):
            msg = f"{sha256!r} is not a sha256"
            raise ValueError(msg)
        return self.root / "objects" / sha256[:2] / f"{sha256}.fits"

    def find(self, server: str, name: str) -> Kept | None:
        """Give what is kept of a server's file; None where there is nothing, or its content is gone or cut."""
        entry = self._entry(server, name)
        try:
            with entry.open("rb") as file:
                said: Any = json.loads(file.read(_LARGEST_ENTRY))
            kept = Kept(**said)
            whole = self.path(kept.sha256).stat().st_size == kept.size and kept.name == name
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return kept if whole else None

    def names(self, server: str) -> tuple[str, ...]:
        """Name the files that are kept of a server."""
        folder = self.root / "index" / _label(server)
        try:
            return tuple(sorted(path.stem for path in folder.iterdir() if path.suffix == ".json"))
        except OSError:
            return ()

    def is_whole(self, kept: Kept) -> bool:
        """Read kept content and say whether it is what was stored; what is not is put aside."""
        path = self.path(kept.sha256)
        try:
            if files.sha256_file(path) == kept.sha256:
                return True
        except OSError:
            return False
        aside = self.root / "quarantine"
        with suppress(OSError):
            aside.mkdir(exist_ok=True)
            path.replace(aside / f"{kept.name}.{kept.sha256[:12]}.{time.time_ns()}")
        return False

    @contextmanager
    def locked(self, server: str, name: str, *, longest: float) -> Iterator[None]:
        """Be the only one who brings this file.

        Raises
        ------
        ArchiveError
            M009 another process has been at it for ``longest`` seconds.
        OutputError
            The store's folder can't be written.
        """
        path = self.root / "locks" / f"{_label(server)}-{files.safe_name(name)}"
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            until = time.monotonic() + longest
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        holder = os.pread(lock, 100, 0).decode(errors="replace").strip() or "another process"
                        msg = f"is being downloaded by {holder}, for more than {longest:.0f} s"
                        raise ArchiveError(msg, where=name, hint="wait for it, or end it", code="M009") from None
                    time.sleep(0.05)
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"process {os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(lock)

    def partial(self, server: str, name: str) -> Path:
        """Give the path at which a file is gathered; its folder is there when this returns."""
        path = self.root / "partial" / _label(server) / files.safe_name(name)
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def require_room(self, name: str, size: int) -> None:
        """Refuse to begin what can't fit: ``OutputError`` M008, naming the bytes needed and free."""
        with files.writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            status = os.statvfs(self.root)
        free = status.f_bavail * status.f_frsize
        if free < size:
            msg = f"{name} has {size / 1e6:.1f} MB, and {free / 1e6:.1f} MB are free"
            hint = "free some space, or name another folder for downloads: ACSRECIPE_CACHE"
            raise OutputError(msg, where=str(self.root), hint=hint, code="M008")

    def publish(self, part: Path, server: str, kept: Kept) -> Path:
        """Give verified content its name, then write down whose it is; what is there already stays."""
        path = self.path(kept.sha256)
        with files.writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or (path.exists() and not self.is_whole(kept)):
                path.unlink(missing_ok=True)
            if path.exists():
                part.unlink()
            else:
                part.chmod(0o444)
                files.publish_new(part, path)
            entry = self._entry(server, kept.name)
            entry.parent.mkdir(parents=True, exist_ok=True)
            if entry.is_symlink():
                entry.unlink()
            files.write_atomic(entry, json.dumps(asdict(kept), sort_keys=True).encode() + b"\n")
        return path

    def _entry(self, server: str, name: str) -> Path:
        return self.root / "index" / _label(server) / f"{files.safe_name(name)}.json"


def default_folder() -> Path:
    """Give the folder for downloads that the operating system's customs name."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("acsrecipe", appauthor=False)) / "archive"


def _label(server: str) -> str:
    """Name a server in a path: its host and port, and nothing that leads elsewhere."""
    host = urlsplit(server).netloc.rpartition("@")[2].lower()
    return re.sub(r"[^a-z0-9.-]", "_", host).strip(".") or "unknown"
