"""FITS headers as bytes: read them without their data, edit those of a staged copy.

astropy is not used: reading the headers of a RAW file this way takes milliseconds, and an edit can't
touch what it does not name.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from acsrecipe import files
from acsrecipe.errors import PlanError
from acsrecipe.inputs.cards import pack, refuse_structural, set_value
from acsrecipe.inputs.checksum import ALL_ONES, keep_checksum, ones_sum
from acsrecipe.inputs.layout import FETCH_AGAIN, Hdu, refuse_cut, scan
from acsrecipe.inputs.model import HduHeader, Value

Edit = tuple[str, str, Value]
"""HDU (``PRIMARY``, ``SCI`` for each SCI, ``SCI,1``), keyword, new value."""


def read_headers(path: Path, *, complete: bool = True) -> tuple[HduHeader, ...]:
    """Read the headers of all HDUs, and nothing else, and check that the file is whole.

    Parameters
    ----------
    path : Path
        A plain, uncompressed FITS file.
    complete : bool
        Also refuse a file with fewer extensions than its NEXTEND says (cut between two HDUs).

    Raises
    ------
    PlanError
        I001 not there or not readable; I002 no plain file; I003 empty; I004 compressed; I005 not FITS;
        I006 a header that breaks the standard; I007 truncated; I008 bytes behind the last HDU;
        I009 tile-compressed.
    """
    descriptor, status = _open(path)
    try:
        hdus = scan(lambda offset, size: os.pread(descriptor, size, offset), status.st_size, str(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)
    if complete:
        refuse_cut(hdus, str(path))
    return tuple(hdu.header for hdu in hdus)


def refuse_damaged(path: Path) -> None:
    """Read the HDUs that have a CHECKSUM, and raise ``PlanError`` I012 where it does not hold."""
    descriptor, status = _open(path)
    try:
        hdus = scan(lambda offset, size: os.pread(descriptor, size, offset), status.st_size, str(path))
        for hdu in (hdu for hdu in hdus if hdu.header.cards.get("CHECKSUM")):
            total = 0
            for at in range(hdu.start, hdu.end, files.CHUNK):
                total = ones_sum(os.pread(descriptor, min(files.CHUNK, hdu.end - at), at), total)
            if total not in (0, ALL_ONES):
                msg = f"is damaged: the CHECKSUM of {hdu.label} does not hold, so its bytes are not those written"
                raise PlanError(msg, where=str(path), hint=FETCH_AGAIN, code="I012")
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def read_whole(path: Path, most: int) -> bytes:
    """Read all of a plain file of at most ``most`` bytes; raises ``PlanError`` I001, I002 or I006."""
    descriptor, status = _open(path)
    try:
        if status.st_size > most:
            msg = f"has {status.st_size} bytes, expected at most {most}"
            raise PlanError(msg, where=str(path), code="I006")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def stage_edited(source: Path, target: Path, edits: Sequence[Edit]) -> str:
    """Copy a FITS file with edited header cards, every other byte as it was.

    The value of an existing card changes in its place (the first of repeated ones), its comment stays;
    a new keyword goes before END, and the header grows by a block only where it must. A CHECKSUM card
    is kept valid: see :func:`acsrecipe.inputs.checksum.keep_checksum`.

    Parameters
    ----------
    source : Path
        Only read.
    target : Path
        Must not exist; complete when this returns, absent when it raises.
    edits : sequence of (hdu, keyword, value)
        ``hdu`` is ``PRIMARY``, a name for all HDUs of that name, or ``SCI,1``.

    Returns
    -------
    str
        sha256 of the source, as read.

    Raises
    ------
    PlanError
        As :func:`read_headers`; I010 an edit that a card can't hold; I011 there is no such HDU.
    OutputError
        The target exists, or the disk can't take it.
    IntegrityError
        The source changed while it was copied.
    """
    descriptor, before = _open(source)
    try:
        hdus = scan(lambda offset, size: os.pread(descriptor, size, offset), before.st_size, str(source))
        headers = edit(hdus, edits, str(source))
        digest = hashlib.sha256()
        with files.writing(target):
            try:
                with files.create_new(target) as out:
                    for hdu, header in zip(hdus, headers, strict=True):
                        digest.update(hdu.raw)
                        files.write_all(out, header)
                        os.lseek(descriptor, hdu.data_start, os.SEEK_SET)
                        files.copy_range(descriptor, out, hdu.end - hdu.data_start, digest, str(source))
                files.refuse_changed(source, before, os.fstat(descriptor))
            except BaseException as error:
                if not isinstance(error, FileExistsError):
                    with suppress(OSError):
                        target.unlink()
                raise
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def edit(hdus: Sequence[Hdu], edits: Sequence[Edit], name: str) -> tuple[bytes, ...]:
    """Give each HDU's header blocks after the edits; those of HDUs not named are the same bytes.

    Raises
    ------
    PlanError
        I010, I011 as :func:`stage_edited`.
    """
    changed: dict[int, list[bytes]] = {}
    for wanted, keyword, value in edits:
        numbers = [0] if wanted == "PRIMARY" else _matching(hdus, wanted)
        if not numbers:
            labels = " ".join(hdu.label for hdu in hdus)
            msg = f"has no HDU {wanted!r} in which to set {keyword}: found {labels}"
            raise PlanError(msg, where=name, code="I011")
        for number in numbers:
            cards = changed.setdefault(number, hdus[number].cards())
            try:
                refuse_structural(keyword)
                set_value(cards, keyword, value)
            except PlanError as error:
                msg = f"{keyword} in {hdus[number].label}: {error.message}"
                raise PlanError(msg, where=name, hint=error.hint, code=error.code) from None
    headers = [hdu.raw for hdu in hdus]
    for number, cards in changed.items():
        if cards != hdus[number].cards():
            keep_checksum(hdus[number].raw, cards)
            headers[number] = pack(cards)
    return tuple(headers)


def _matching(hdus: Sequence[Hdu], wanted: str) -> list[int]:
    return [n for n, hdu in enumerate(hdus) if n and wanted in (hdu.label, hdu.header.name)]


def diff_headers(old: Mapping[str, Value], new: Mapping[str, Value]) -> tuple[tuple[str, Value, Value], ...]:
    """List (keyword, old, new) where two headers say different things, in the order of the cards; None is absent."""
    keywords = [*old, *(keyword for keyword in new if keyword not in old)]
    changes = [(keyword, old.get(keyword), new.get(keyword)) for keyword in keywords]
    return tuple(change for change in changes if (type(change[1]), change[1]) != (type(change[2]), change[2]))


def _open(path: Path) -> tuple[int, os.stat_result]:
    """Open a plain file for reading; look first, so that nothing else is ever opened or waited for."""
    try:
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            return descriptor, os.fstat(descriptor)
    except OSError as error:
        raise _unreadable(path, error) from error
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe (FIFO)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    kind = next((text for test, text in kinds if test(found.st_mode)), "no plain file")
    msg = f"is {kind}, expected a FITS file"
    raise PlanError(msg, where=str(path), code="I002")


def _unreadable(path: Path, error: OSError) -> PlanError:
    msg = f"can't be read: {error.strerror or error}"
    return PlanError(msg, where=str(path), code="I001")
