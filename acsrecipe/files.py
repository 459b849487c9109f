"""Make bytes durable, copy and hash files, and keep names inside their folder.

Nothing here knows what the files hold. Every function that writes either finishes or leaves nothing
under the name it was given; none of them follows a symbolic link when it writes, none makes a link to
what it copies. :func:`_point` is called at each durable point, for tests that kill or fail there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from acsrecipe.errors import IntegrityError, OutputError

CHUNK = 1 << 20
"""Bytes moved at a time: large enough to be fast, small enough to stay in a processor's cache."""

_NO_HARD_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,126}", re.ASCII)
_DEVICE_NAME = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.ASCII)


def _point(name: str) -> None:
    """Pass a durable point; does nothing unless a test replaces it."""


def fsync_dir(path: Path) -> None:
    """Make the names in a folder durable (after creating, renaming or removing one)."""
    with writing(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that its name holds the old bytes or all of the new ones, whatever happens.

    Raises
    ------
    OutputError
        The disk can't take it, or ``path`` is a symbolic link or a folder.
    """
    with writing(path):
        if path.is_symlink() or path.is_dir():
            kind = "a symbolic link" if path.is_symlink() else "a folder"
            msg = f"is {kind}, expected a plain file or nothing"
            raise OutputError(msg, where=str(path), hint="remove it, or name another file", code="F002")
        beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}.tmp")
        try:
            with create_new(beside) as out:
                write_all(out, data)
                _point("write_atomic.written")
                os.fsync(out)
            _point("write_atomic.synced")
            beside.replace(path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        _point("write_atomic.replaced")
        fsync_dir(path.parent)
        _point("write_atomic.durable")


def publish_new(source: Path, target: Path) -> None:
    """Move a finished file to a name that must not exist yet: complete, or not at all.

    The content is made durable first. The name is given with a hard link, which the kernel refuses
    where the name exists already; then the old name goes. Where the disk has no hard links it is a
    check and a rename, and on another disk the bytes are copied beside the target first. After a
    crash between the two steps both names are there and hold the same file; calling again finishes.

    Raises
    ------
    OutputError
        ``target`` exists with other content, ``source`` is no plain file, or the disk can't take it.
    """
    with writing(target):
        found = source.lstat()
        if not stat.S_ISREG(found.st_mode):
            msg = "is not a plain file, so it can't be published"
            raise OutputError(msg, where=str(source), code="F002")
        fsync_file(source)
        _point("publish_new.synced")
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            if not _same_file(source, target):
                raise _exists(target) from None
        except OSError as error:
            if error.errno == errno.EXDEV:
                _publish_from_other_disk(source, target)
            elif error.errno in _NO_HARD_LINKS:
                _publish_by_rename(source, target)
                return
            else:
                raise
        _point("publish_new.linked")
        fsync_dir(target.parent)
        _point("publish_new.durable")
        source.unlink(missing_ok=True)
        _point("publish_new.unlinked")


def _publish_by_rename(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise _exists(target)
    source.rename(target)
    _point("publish_new.renamed")
    fsync_dir(target.parent)
    _point("publish_new.durable")


def _publish_from_other_disk(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}.tmp")
    try:
        copy_file(source, beside)
        fsync_file(beside)
        _point("publish_new.copied")
        try:
            os.link(beside, target, follow_symlinks=False)
        except FileExistsError:
            raise _exists(target) from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _publish_by_rename(beside, target)
    finally:
        with suppress(OSError):
            beside.unlink()


def sha256_file(path: Path) -> str:
    """Hash a whole file: sha256, hexadecimal. Raises ``OSError`` where it can't be read."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_file(source: Path, target: Path) -> str:
    """Copy a plain file's bytes to a new file (never a link to it), hashing them on the way.

    Returns
    -------
    str
        sha256 of what was read, hexadecimal.

    Raises
    ------
    OutputError
        ``target`` exists (also as a dangling link), or the disk can't take it.
    IntegrityError
        ``source`` is no plain file, or changed while it was read.
    """
    digest = hashlib.sha256()
    with open_plain(source) as (descriptor, before), writing(target):
        try:
            with create_new(target) as out:
                copy_range(descriptor, out, before.st_size, digest, str(source))
                _point("copy_file.copied")
            refuse_changed(source, before, os.fstat(descriptor))
        except BaseException as error:
            if not isinstance(error, FileExistsError):
                with suppress(OSError):
                    target.unlink()
            raise
    return digest.hexdigest()


@contextmanager
def open_plain(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Open a plain file for reading and give its descriptor and status; a FIFO or device is refused, not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        msg = f"can't be read: {error.strerror or error}"
        raise IntegrityError(msg, where=str(path), code="F003") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            msg = "is not a plain file"
            raise IntegrityError(msg, where=str(path), code="F003")
        yield descriptor, found
    finally:
        os.close(descriptor)


@contextmanager
def create_new(path: Path) -> Iterator[int]:
    """Create a file that must not exist, not even as a link, with the permissions that the umask leaves."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of the bytes, however few the kernel takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def write_at(descriptor: int, data: bytes | memoryview, at: int) -> None:
    """Write all of the bytes at a place in a file, however few the kernel takes at a time; several threads may."""
    rest = memoryview(data)
    while rest:
        count = os.pwrite(descriptor, rest, at)
        rest, at = rest[count:], at + count


def copy_range(source: int, target: int, size: int, digest: hashlib._Hash, name: str) -> None:
    """Copy the next ``size`` bytes from one descriptor to another and into a digest; ``name`` is for errors."""
    buffer = memoryview(bytearray(min(CHUNK, max(size, 1))))
    left = size
    while left:
        try:
            count = os.readv(source, [buffer[: min(left, len(buffer))]])
        except OSError as error:
            msg = f"can't be read: {error.strerror or error}"
            raise IntegrityError(msg, where=name, code="F003") from error
        if not count:
            msg = f"ended {left} bytes early while it was read"
            raise IntegrityError(msg, where=name, code="F004")
        piece = buffer[:count]
        digest.update(piece)
        write_all(target, piece)
        left -= count


def refuse_changed(path: Path, before: os.stat_result, after: os.stat_result) -> None:
    """Raise ``IntegrityError`` where size or time of change differ between two looks at one file."""
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        msg = f"changed while it was read ({before.st_size} bytes before, {after.st_size} after)"
        raise IntegrityError(msg, where=str(path), hint="run again when nothing writes to it", code="F004")


def contained_path(root: Path, name: str) -> Path:
    """Give the path of ``name`` below ``root``, with every link resolved.

    Parameters
    ----------
    root : Path
        A folder; links on the way to it are followed.
    name : str
        Relative, ``/`` between its parts. ``..`` is allowed as long as it stays inside.

    Raises
    ------
    IntegrityError
        ``name`` is absolute, holds a control character, or leads outside, be it through a link.
    """
    if not name or name.startswith(("/", "~")) or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        msg = f"{name!r} is not a relative path inside {root}"
        raise IntegrityError(msg, code="F001")
    inside = os.path.realpath(root)
    try:
        reached = os.path.realpath(Path(inside) / name)
    except (OSError, ValueError) as error:
        msg = f"{name!r} can't be looked up inside {root}: {error}"
        raise IntegrityError(msg, code="F001") from error
    if os.path.commonpath([inside, reached]) != inside:
        msg = f"{name!r} leads outside {root}, to {reached}"
        raise IntegrityError(msg, hint="use a path inside that folder", code="F001")
    return Path(reached)


def safe_name(name: str) -> str:
    """Give back a bare file name that is harmless on any system and command line.

    Letters, digits, ``_ . + -`` in ASCII, at most 127, beginning with a letter, a digit or ``_``, and
    no name that stands for a device. Anything else raises ``IntegrityError``.
    """
    if not _PLAIN_NAME.fullmatch(name) or _DEVICE_NAME.fullmatch(name):
        msg = f"{name!r} is not a safe file name: expected 1 to 127 letters, digits or _ . + - and no folder"
        raise IntegrityError(msg, code="F001")
    return name


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the ``OSError`` of writing ``path`` into an ``OutputError`` that names it."""
    try:
        yield
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free some space, or choose another output folder" if full else None
        msg = f"can't be written: {error.strerror or error}"
        raise OutputError(msg, where=str(error.filename or path), hint=hint, code="F002") from error


def _exists(path: Path) -> OutputError:
    msg = "exists already, and is never overwritten"
    return OutputError(msg, where=str(path), hint="move it away, or choose another output folder", code="F002")


def _same_file(one: Path, other: Path) -> bool:
    first, second = one.lstat(), other.lstat()
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def fsync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
