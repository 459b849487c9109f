"""Where the HDUs of a FITS file lie, found by its headers alone, and whether the file is whole.

See the FITS standard 4.0, sections 3 and 4.4.1. What is not a plain, complete FITS file is named by what
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from acsrecipe.errors import PlanError
from acsrecipe.inputs.cards import BLOCK, CARD, keyword_of, read_cards
from acsrecipe.inputs.model import HduHeader, Value

ReadAt = Callable[[int, int], bytes]
"""Give up to ``size`` bytes from ``offset`` on: ``read_at(offset, size)``."""

FETCH_AGAIN = "fetch the file again, and compare its size with the archive's"

_MOST_HDUS = 1000
_MOST_BLOCKS = 1000
_AT_ONCE = 10 * BLOCK
_PRINTABLE = bytes(range(32, 127))
_KINDS = (
    (b"\x1f\x8b", "a gzip-compressed file", "unpack it: gunzip FILE"),
    (b"BZh", "a bzip2-compressed file", "unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ", "an xz-compressed file", "unpack it: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "a zstd-compressed file", "unpack it: unzstd FILE"),
    (b"\x1f\x9d", "a file packed by compress", "unpack it: uncompress FILE"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it: unzip FILE"),
    (b"\x89HDF", "an HDF5 file", "name the FITS file itself"),
)


@dataclass(frozen=True)
class Hdu:
    """One HDU and where it lies in its file.

    Attributes
    ----------
    header : HduHeader
    raw : bytes
        Its header's blocks as they are, padding included.
    start, data_start, end : int
        Offsets of header, data unit, and the next HDU.
    data_size : int
        Bytes of the data unit without its padding.
    """

    header: HduHeader
    raw: bytes
    start: int
    data_start: int
    data_size: int
    end: int

    @property
    def label(self) -> str:
        """``PRIMARY``, or ``SCI,1``."""
        return self.header.name if self.start == 0 else f"{self.header.name or 'unnamed'},{self.header.version}"

    def cards(self) -> list[bytes]:
        """Give the cards before END, as they are."""
        found = [self.raw[at : at + CARD] for at in range(0, len(self.raw), CARD)]
        return found[: next(n for n, card in enumerate(found) if card == _END)]


_END = b"END".ljust(CARD)


def scan(read_at: ReadAt, size: int, name: str) -> tuple[Hdu, ...]:
    """Find all HDUs of a FITS file of known size by its headers alone.

    Parameters
    ----------
    read_at : callable
        ``read_at(offset, size)``; asked for header blocks only.
    size : int
        Of the whole file, bytes.
    name : str
        For errors.

    Raises
    ------
    PlanError
        I003 to I009, as :func:`read_headers`.
    """
    _refuse_other_kinds(read_at(0, BLOCK), size, name)
    hdus: list[Hdu] = []
    at = 0
    while at < size:
        hdu = _scan_hdu(read_at, at, size, name, len(hdus))
        hdus.append(hdu)
        at = hdu.end
        if at > size:
            msg = f"is truncated: HDU {len(hdus) - 1} ({hdu.label}) should end at byte {at}, the file ends at {size}"
            raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I007")
        if len(hdus) > _MOST_HDUS:
            msg = f"has more than {_MOST_HDUS} HDUs, which no product of ACS has"
            raise PlanError(msg, where=name, code="I006")
    return tuple(hdus)


def refuse_cut(hdus: Sequence[Hdu], name: str) -> None:
    """Raise ``PlanError`` I007 where there are fewer extensions than NEXTEND in the primary header says."""
    expected = hdus[0].header.cards.get("NEXTEND")
    if isinstance(expected, int) and not isinstance(expected, bool) and len(hdus) - 1 < expected:
        msg = (
            f"is truncated: NEXTEND = {expected}, but {len(hdus) - 1} extensions are there, "
            f"up to {hdus[-1].label} at byte {hdus[-1].end}"
        )
        raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I007")


def _scan_hdu(read_at: ReadAt, start: int, size: int, name: str, number: int) -> Hdu:
    raw = _read_blocks(read_at, start, size, name, number)
    cards = [raw[at : at + CARD] for at in range(0, len(raw), CARD)]
    cards = cards[: cards.index(_END)]
    for place, card in enumerate(cards, 1):
        if card.translate(None, _PRINTABLE):
            odd = card.translate(None, _PRINTABLE)[0]
            msg = f"has a damaged header: card {place} of HDU {number} holds the byte 0x{odd:02x}, expected ASCII text"
            raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I006")
    values = read_cards(cards)
    data_size = _data_size(values, name, number)
    if values.get("ZIMAGE") is True or values.get("ZTABLE") is True:
        msg = f"is tile-compressed: HDU {number} is a table that stands for a compressed image"
        raise PlanError(msg, where=name, hint="unpack it: funpack FILE", code="I009")
    version = values.get("EXTVER", 1)
    header = HduHeader(
        name="PRIMARY" if number == 0 else str(values.get("EXTNAME") or "").strip().upper(),
        version=version if isinstance(version, int) else 1,
        cards=values,
    )
    data_start = start + len(raw)
    return Hdu(header, raw, start, data_start, data_size, data_start + -(-data_size // BLOCK) * BLOCK)


def _read_blocks(read_at: ReadAt, start: int, size: int, name: str, number: int) -> bytes:
    """Read the blocks of the header that begins at ``start``, up to the one that holds END."""
    raw = b""
    while len(raw) < _MOST_BLOCKS * BLOCK:
        more = read_at(start + len(raw), _AT_ONCE)
        if not raw and number and not more.startswith(b"XTENSION"):
            msg = f"has {size - start} bytes behind HDU {number - 1}, at byte {start}, that are no extension"
            raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I008")
        first = len(raw)
        raw += more[: len(more) // BLOCK * BLOCK]
        for at in range(first, len(raw), CARD):
            if raw[at : at + CARD] == _END:
                return raw[: (at // BLOCK + 1) * BLOCK]
        if len(more) < _AT_ONCE:
            msg = f"is truncated: the header of HDU {number}, from byte {start} on, has no END up to the end at {size}"
            raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I007")
    msg = f"has a damaged header: no END in the first {_MOST_BLOCKS * BLOCK} bytes of HDU {number}"
    raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I006")


def _data_size(values: Mapping[str, Value], name: str, number: int) -> int:
    """Compute the bytes of a data unit (FITS standard 4.0, equation 2)."""

    def count(keyword: str, default: int | None = None) -> int:
        value = values.get(keyword, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            msg = f"has a damaged header: {keyword} = {value!r} in HDU {number}, expected a whole number from 0 on"
            raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I006")
        return value

    bits = values.get("BITPIX")
    if bits not in (8, 16, 32, 64, -32, -64) or not isinstance(bits, int):
        msg = f"has a damaged header: BITPIX = {bits!r} in HDU {number}, expected 8, 16, 32, 64, -32 or -64"
        raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I006")
    axes = count("NAXIS")
    if not axes:
        return 0
    if axes > 999:
        msg = f"has a damaged header: NAXIS = {axes} in HDU {number}, expected at most 999"
        raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I006")
    pixels = 1
    for axis in range(1, axes + 1):
        pixels *= count(f"NAXIS{axis}")
    if number == 0:
        return abs(bits) // 8 * pixels
    return abs(bits) // 8 * count("GCOUNT", 1) * (count("PCOUNT", 0) + pixels)


def _refuse_other_kinds(head: bytes, size: int, name: str) -> None:
    if not size:
        msg = "is empty (0 bytes), expected a FITS file"
        raise PlanError(msg, where=name, hint=FETCH_AGAIN, code="I003")
    for magic, kind, hint in _KINDS:
        if head.startswith(magic):
            msg = f"is {kind}, expected a plain FITS file"
            raise PlanError(msg, where=name, hint=hint.replace("FILE", Path(name).name), code="I004")
    if keyword_of(head) == "SIMPLE" and head[8:10] == b"= ":
        if head[10:30].strip()[:1] != b"T":
            msg = f"says SIMPLE = {head[10:30].strip().decode('ascii', 'replace')}, expected T: it is not standard FITS"
            raise PlanError(msg, where=name, code="I005")
        return
    start = head.lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<")):
        kind, hint = "a web page (HTML or XML)", "the server sent an answer instead of the file: fetch it again"
    elif not head.strip(b"\0"):
        kind, hint = "all zeros", FETCH_AGAIN
    else:
        shown = head[:16].decode("ascii", "replace").replace("\ufffd", "?")
        kind, hint = f"of an unknown kind (it begins with {shown!r})", "name a FITS file, which begins with 'SIMPLE  ='"
    msg = f"is {kind}, expected a FITS file"
    raise PlanError(msg, where=name, hint=hint, code="I005")
