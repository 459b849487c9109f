"""Bring one file of an archive into the store: whole, verified, once; or say why not.

A file is gathered under a name of its own, resumed only where the server proves that it still is the same
version, counted, opened as FITS up to its last byte, and only then published. See docs/archives.md.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acsrecipe import files
from acsrecipe.errors import AcsRecipeError, ArchiveError, IntegrityError, PlanError
from acsrecipe.inputs.header import refuse_damaged
from acsrecipe.inputs.layout import Hdu, refuse_cut, scan
from acsrecipe.inputs.store import Kept, Store
from acsrecipe.inputs.wire import (
    AbsentError,
    AccessError,
    Client,
    LastingError,
    LateError,
    MastSettings,
    PassingError,
    RangeError,
    explain,
    patiently,
    read_content_range,
    strong_etag,
)

_CHECKPOINT = 8 << 20
"""Bytes after which what has come is written down, so that a run that is killed need not begin anew."""
_MOST_UNKNOWN = 4 << 30
_BEAT = 0.2
AGAIN = "run the same command again: what is whole is kept"
HOW_TO_IDENTIFY = (
    "exclusive-access data need your MAST token: set MAST_API_TOKEN, or keep it in the keyring as astroquery does; "
    "make one at https://auth.mast.stsci.edu/token"
)


@dataclass(frozen=True)
class Wanted:
    """A file to be had.

    Attributes
    ----------
    name : str
        Of our own making: ``j9l960a7q_raw.fits``.
    source : str
        Its address.
    size : int
        As the archive lists it; -1 unknown.
    seen : str
        What the plan saw of it (see :func:`digest_seen`), or empty.
    exclusive : bool
        Whether it is not public, so that the token is needed.
    """

    name: str
    source: str
    size: int = -1
    seen: str = ""
    exclusive: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a file is: bytes of it that are here, its size, seconds since it began, and what went wrong so far."""

    name: str
    done: int
    size: int
    seconds: float
    note: str = ""

    def __str__(self) -> str:
        """Give ``12.3 of 34.1 MB, 5.2 MB/s, 4 s left``."""
        if self.note:
            return f"{self.name}: {self.note}"
        rate = self.done / self.seconds if self.seconds > 0 else 0.0
        text = f"{self.name} {self.done / 1e6:.1f} of {self.size / 1e6:.1f} MB"
        if rate > 0 and self.seconds > 1:
            text += f", {rate / 1e6:.1f} MB/s, {max(0, self.size - self.done) / rate:.0f} s left"
        return text


Report = Callable[[Progress], None]


def fetch(
    wanted: Wanted, settings: MastSettings, store: Store, report: Report | None = None, client: Client | None = None
) -> Kept:
    """Have a file in the store.

    Parameters
    ----------
    wanted : Wanted
    settings : MastSettings
    store : Store
    report : callable, optional
        Told of bytes and of attempts that failed.
    client : Client, optional
        Whose connections to use.

    Returns
    -------
    Kept
        The file that was there, whole, or has been brought.

    Raises
    ------
    ArchiveError
        M003 it is not public; M004 the archive has it no longer; M005 it could not be had; M006 what the server
        sent is not the file; M009 another process has been at it too long; M011 offline.
    IntegrityError
        M010 it is not what the plan saw. (It is kept all the same: a new plan will see it.)
    OutputError
        The store can't take it.
    """
    files.safe_name(wanted.name)
    tell = report or (lambda progress: None)
    with store.locked(settings.server, wanted.name, longest=settings.patience.lock):
        kept = store.find(settings.server, wanted.name)
        if kept is not None and _is_wanted(kept, wanted, store) and store.is_whole(kept):
            tell(Progress(wanted.name, kept.size, kept.size, 0.0))
            return kept
        if settings.offline:
            msg = "is not among the files downloaded before, and --offline forbids to fetch it"
            raise ArchiveError(msg, where=wanted.name, hint="run without --offline", code="M011")
        part = store.partial(settings.server, wanted.name)
        store.require_room(wanted.name, max(0, wanted.size))
        attempt = _Attempt(wanted, settings, client or Client(settings), part, tell)
        try:
            patiently(attempt.run, settings.patience, attempt.until, attempt.note)
            hdus = attempt.verify()
        except LastingError as error:
            raise as_archive_error(error, wanted) from error
        finally:
            if client is None:
                attempt.client.close()
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kept = Kept(wanted.name, wanted.source, attempt.length, attempt.digest.hexdigest(), attempt.etag, now)
        found = digest_seen(wanted.name, hdus, kept.sha256)
        path = store.publish(part, settings.server, kept)
        _forget(part)
    if wanted.seen and found != wanted.seen:
        msg = "changed in the archive since the plan was made: its headers are not those that the plan saw"
        raise IntegrityError(msg, where=str(path), hint="make the plan again and look at it", code="M010")
    return kept


def digest_seen(name: str, hdus: Sequence[Hdu], sha256: str) -> str:
    """Give the hash of what a plan sees of a file before it is here.

    Of an exposure, its header blocks (its DATE among them, so another delivery gives another hash); of an ASN
    file, which is read whole, its sha256; of an SPT file, nothing.
    """
    kind = name[10:13]
    if kind == "asn":
        return sha256
    if kind == "spt":
        return ""
    digest = hashlib.sha256()
    for hdu in hdus:
        digest.update(hdu.raw)
    return digest.hexdigest()


def scan_file(path: Path) -> tuple[Hdu, ...]:
    """Scan a file of the store; raises ``PlanError`` where it is no whole FITS file, ``OSError`` where it is gone."""
    with files.open_plain(path) as (descriptor, status):
        hdus = scan(lambda offset, size: os.pread(descriptor, size, offset), status.st_size, path.name)
    refuse_cut(hdus, path.name)
    return hdus


def _is_wanted(kept: Kept, wanted: Wanted, store: Store) -> bool:
    if wanted.size >= 0 and kept.size != wanted.size:
        return False
    if not wanted.seen:
        return True
    try:
        return digest_seen(kept.name, scan_file(store.path(kept.sha256)), kept.sha256) == wanted.seen
    except (AcsRecipeError, OSError):
        return False


class _Attempt:
    """What has come of one file so far, over all attempts."""

    def __init__(self, wanted: Wanted, settings: MastSettings, client: Client, part: Path, tell: Report) -> None:
        self.wanted, self.settings, self.client, self.part, self.tell = wanted, settings, client, part, tell
        self.began = time.monotonic()
        self.until = self.began + settings.deadline
        self.length, self.digest, self.etag = _resume(part, wanted)
        self.told = 0.0

    def note(self, text: str) -> None:
        self.tell(Progress(self.wanted.name, self.length, self.wanted.size, self.seconds(), text))

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def run(self) -> None:
        """Ask for what is missing, and take it."""
        if not self.etag:
            self._restart("")  # nothing would tell one version from the next
        headers = {"Range": f"bytes={self.length}-", "If-Range": self.etag} if self.length else {}
        with self.client.get(
            self.wanted.source, headers, exclusive=self.wanted.exclusive, until=self.until
        ) as response:
            size = self._expect(response)
            with files.writing(self.part):
                descriptor = self._open()
                try:
                    self._take(response, descriptor, size)
                finally:
                    os.close(descriptor)
        if self.length != size >= 0:
            msg = f"the connection broke off after {self.length} of {size} bytes"
            raise PassingError(msg)

    def verify(self) -> tuple[Hdu, ...]:
        """Look at what has come: a whole FITS file, to the last byte, or :class:`LastingError`."""
        try:
            hdus = scan_file(self.part)
            refuse_damaged(self.part)
            return hdus
        except PlanError as error:
            _forget(self.part)
            msg = f"what the server sent {error.message}"
            raise _NotTheFileError(msg) from error

    def _expect(self, response: Any) -> int:
        """Say how large the whole file will be; begin anew where the server gives it from its start."""
        etag = strong_etag(response)
        if response.status_code == 206:
            begin, _, total = read_content_range(response.headers.get("Content-Range", ""))
            if self.etag and begin == self.length and etag == self.etag and total in (self.wanted.size, -1):
                return self.wanted.size
            self._restart("")
            msg = "the file changed between two attempts; it is begun anew"
            raise PassingError(msg)
        if response.status_code != 200:
            self._restart("")
            msg = f"the server answers {response.status_code} to a request to go on"
            raise PassingError(msg)
        self._restart(etag)
        kind = str(response.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        if kind in ("text/html", "application/json", "text/xml", "application/xml"):
            msg = f"the server sent a page instead of the file ({kind})"
            raise _NotTheFileError(msg)
        said = response.headers.get("Content-Length", "")
        size = int(said) if said.isdigit() else -1
        if self.wanted.size >= 0 and size >= 0 and size != self.wanted.size:
            msg = f"the server sends {size} bytes, the archive lists {self.wanted.size}"
            raise _NotTheFileError(msg)
        return max(size, self.wanted.size)

    def _restart(self, etag: str) -> None:
        self.length, self.digest, self.etag = 0, hashlib.sha256(), etag
        _forget(self.part)

    def _open(self) -> int:
        """Open the gathered file for going on at ``length``, never through a link."""
        if self.part.is_symlink() or not self.length:
            self.part.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.part, flags, 0o666)
        os.ftruncate(descriptor, self.length)
        os.lseek(descriptor, self.length, os.SEEK_SET)
        return descriptor

    def _take(self, response: Any, descriptor: int, size: int) -> None:
        import requests
        import urllib3

        most = (size if size >= 0 else _MOST_UNKNOWN) - self.length
        head = b"" if not self.length else b"SIMPLE  ="
        checked = self.length
        try:
            for chunk in self.client.body(response, most, self.until):
                if len(head) < 9:
                    head += chunk[: 9 - len(head)]
                    _refuse_other_kinds(head, response)
                files.write_all(descriptor, chunk)
                self.digest.update(chunk)
                self.length += len(chunk)
                if self.length - checked >= _CHECKPOINT:
                    checked = self.length
                    self._checkpoint(descriptor)
                if time.monotonic() - self.told >= _BEAT:
                    self.told = time.monotonic()
                    self.tell(Progress(self.wanted.name, self.length, size, self.seconds()))
            self.tell(Progress(self.wanted.name, self.length, size, self.seconds()))
        except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
            self._checkpoint(descriptor)
            msg = f"{explain(error)} after {self.length} of {size} bytes"
            raise PassingError(msg) from error
        except (PassingError, LateError):
            self._checkpoint(descriptor)
            raise
        except LastingError as error:
            _forget(self.part)
            raise _NotTheFileError(str(error)) from error
        if self.length != size >= 0:
            self._checkpoint(descriptor)

    def _checkpoint(self, descriptor: int) -> None:
        """Write down how much has come and what it hashes to; without a version to ask for, nothing can go on."""
        if not self.etag:
            return
        os.fsync(descriptor)
        said = {
            "source": self.wanted.source,
            "size": self.wanted.size,
            "etag": self.etag,
            "length": self.length,
            "sha256": self.digest.hexdigest(),
        }
        with suppress(AcsRecipeError):  # it only saves time
            files.write_atomic(_notes(self.part), json.dumps(said).encode())


class _NotTheFileError(LastingError):
    """What the server sends is not the file that was asked for."""


def _resume(part: Path, wanted: Wanted) -> tuple[int, hashlib._Hash, str]:
    """Say how much of an earlier download can be gone on with: what its notes say, if it still hashes to that."""
    digest = hashlib.sha256()
    try:
        said = json.loads(_notes(part).read_bytes()[:65536])
        length, etag = int(said["length"]), str(said["etag"])
        if (said["source"], said["size"]) != (wanted.source, wanted.size) or not etag or not 0 < length < wanted.size:
            return 0, digest, ""
        with files.open_plain(part) as (descriptor, _):
            left = length
            while left and (chunk := os.read(descriptor, min(left, files.CHUNK))):
                digest.update(chunk)
                left -= len(chunk)
        if left == 0 and digest.hexdigest() == said["sha256"] and not part.is_symlink():
            return length, digest, etag
    except (OSError, ValueError, KeyError, TypeError, AcsRecipeError):
        pass
    return 0, hashlib.sha256(), ""


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _forget(part: Path) -> None:
    for path in (part, _notes(part)):
        with suppress(OSError):
            path.unlink()


def _refuse_other_kinds(head: bytes, response: Any) -> None:
    expected = b"SIMPLE  ="
    if expected.startswith(head[:9]):
        return
    kind = str(response.headers.get("Content-Type", ""))[:60]
    if head.lstrip()[:1] in (b"<", b"{"):
        msg = f"the server sent a page instead of the file ({kind or 'of no named kind'})"
    else:
        msg = f"what the server sends is no FITS file: it begins with {head[:9]!r}"
    raise LastingError(msg)


def as_archive_error(error: LastingError, wanted: Wanted) -> ArchiveError:
    """Say for people why a file can't be had, and what to do."""
    if isinstance(error, AccessError):
        return ArchiveError(str(error), where=wanted.name, hint=HOW_TO_IDENTIFY, code="M003")
    if isinstance(error, AbsentError):
        msg = f"the archive lists it, but {error}"
        return ArchiveError(
            msg, where=wanted.name, hint="make the plan again; the archive may have moved it", code="M004"
        )
    if isinstance(error, RangeError):
        msg = f"its headers can't be read without the whole file: {error}"
        hint = "`acsrecipe fetch RECIPE` downloads first what the recipe names; then plan"
        return ArchiveError(msg, where=wanted.name, hint=hint, code="M007")
    if isinstance(error, _NotTheFileError):
        hint = f"nothing of it was kept; if it stays so, tell the archive; then {AGAIN}"
        return ArchiveError(str(error), where=wanted.name, hint=hint, code="M006")
    msg = f"could not be downloaded: {error}"
    return ArchiveError(msg, where=wanted.name, hint=AGAIN, code="M005")
