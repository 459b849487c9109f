"""FITS files as the engine needs them: where each HDU is, its cards, its pixels as a view of the mapped file.

Only what ACS files use: images of two axes, or of none with NPIX1, NPIX2 and PIXVALUE standing for a
constant image, and binary tables of fixed-size columns. Nothing is copied or converted until asked for.
"""

from __future__ import annotations

import hashlib
import math
import mmap
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.byteorder import decode, encode, stored
from acsrecipe.engines.embedded.cards import BLOCK, CARD, Cards
from acsrecipe.engines.embedded.compiled import Lines, bound
from acsrecipe.errors import EngineError
from acsrecipe.files import copy_range, write_all, write_at

_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_COLUMNS = {"L": "S", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S"}


@dataclass(frozen=True)
class Hdu:
    """One header and data unit of a mapped file.

    Attributes
    ----------
    name, version : str, int
        EXTNAME in upper case (empty for the primary) and EXTVER.
    cards : list of str
        All cards but END, as in the file.
    offset, size : int
        Bytes of the data unit, without its padding.
    bitpix, shape
        Of the image, (ny, nx); ``()`` when there is no data unit.
    """

    name: str
    version: int
    cards: Cards
    offset: int
    size: int
    bitpix: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class FitsFile:
    """A file mapped read-only, with its HDUs."""

    path: Path
    hdus: tuple[Hdu, ...]
    memory: mmap.mmap = field(repr=False)


def open_fits(path: Path, *, role: str = "file") -> FitsFile:
    """Map a FITS file and walk through its headers.

    Raises
    ------
    EngineError
        When the file is absent, no FITS file, or shorter than its headers say.
    """
    try:
        with path.open("rb") as stream:
            memory = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        message = f"{role} does not exist"
        raise EngineError(message, where=str(path)) from None
    except ValueError:
        message = f"{role} is empty, expected a FITS file"
        raise EngineError(message, where=str(path)) from None
    hdus: list[Hdu] = []
    offset, end = 0, len(memory)
    while offset < end:
        if memory[offset : offset + 8] not in (b"SIMPLE  ", b"XTENSION"):
            if hdus:
                break
            message = f"{role} begins with {memory[:8]!r}, expected a FITS file's SIMPLE card"
            raise EngineError(message, where=str(path))
        lines, offset = _read_cards(memory, offset, path)
        hdus.append(_describe(lines, offset, path))
        offset += -(-hdus[-1].size // BLOCK) * BLOCK
    last = hdus[-1]
    if last.offset + last.size > end:
        message = f"{role} is cut short: {end} bytes, but its headers ask for {last.offset + last.size}"
        raise EngineError(message, where=str(path), hint="fetch or copy it again")
    return FitsFile(path, tuple(hdus), memory)


def _read_cards(memory: mmap.mmap, offset: int, path: Path) -> tuple[Cards, int]:
    lines: Cards = []
    while True:
        block = memory[offset : offset + BLOCK]
        if len(block) < BLOCK:
            message = "the header has no END card"
            raise EngineError(message, where=str(path), hint="the file is cut short; fetch or copy it again")
        offset += BLOCK
        for start in range(0, BLOCK, CARD):
            card = block[start : start + CARD].decode("latin-1")
            if card.startswith("END     "):
                while lines and not lines[-1].strip():
                    lines.pop()
                return lines, offset
            lines.append(card)


def _describe(lines: Cards, offset: int, path: Path) -> Hdu:
    where = str(path)
    bitpix = header.integer(lines, "BITPIX", where=where)
    axes = [header.integer(lines, f"NAXIS{n + 1}", where=where) for n in range(header.integer(lines, "NAXIS"))]
    size = 0
    if axes:
        size = abs(bitpix) // 8 * header.integer(lines, "GCOUNT", 1)
        size *= int(np.prod(axes, dtype=np.int64)) + header.integer(lines, "PCOUNT", 0)
    name = header.text(lines, "EXTNAME", "").upper()
    version = header.integer(lines, "EXTVER", 1)
    return Hdu(name, version, lines, offset, size, bitpix, tuple(reversed(axes)))


def hdu_of(fits: FitsFile, name: str, version: int) -> Hdu:
    """Find an extension by EXTNAME and EXTVER; raises EngineError when it is not there."""
    for hdu in fits.hdus[1:]:
        if hdu.name == name and hdu.version == version:
            return hdu
    message = f"there is no extension [{name},{version}]"
    raise EngineError(message, where=str(fits.path))


def image_shape(fits: FitsFile, hdu: Hdu) -> tuple[int, int]:
    """Give (ny, nx) of an image, stored or constant."""
    if len(hdu.shape) == 2:
        return hdu.shape[0], hdu.shape[1]
    if not hdu.shape:
        where = f"{fits.path}[{hdu.name},{hdu.version}]"
        return header.integer(hdu.cards, "NPIX2", where=where), header.integer(hdu.cards, "NPIX1", where=where)
    message = f"has {len(hdu.shape)} axes, expected 2"
    raise EngineError(message, where=f"{fits.path}[{hdu.name},{hdu.version}]")


def view(fits: FitsFile, hdu: Hdu) -> NDArray[Any] | None:
    """Give the pixels as they lie in the file, big-endian (ny, nx); None when the image is a constant."""
    if len(hdu.shape) != 2:
        return None
    count = hdu.shape[0] * hdu.shape[1]
    return np.frombuffer(fits.memory, dtype=_TYPES[hdu.bitpix], count=count, offset=hdu.offset).reshape(hdu.shape)


def pixels(
    fits: FitsFile, hdu: Hdu, dtype: type[np.float32] | type[np.int16], buffers: Buffers | None = None
) -> NDArray[Any]:
    """Read a whole image, scaled by BSCALE and BZERO, as a native array (ny, nx).

    A constant image takes one of the buffers; without them it takes no memory, and can't be written to.
    """
    stored = view(fits, hdu)
    shape = image_shape(fits, hdu)
    if stored is None:
        value = header.number(hdu.cards, "PIXVALUE", where=f"{fits.path}[{hdu.name},{hdu.version}]")
        if buffers is None:
            # One number that looks like an image, and can only be read.
            return np.broadcast_to(np.asarray(value, dtype), shape)
        constant = buffers.take(shape, dtype)
        constant.fill(value)
        return constant
    scale, zero = header.number(hdu.cards, "BSCALE", 1.0), header.number(hdu.cards, "BZERO", 0.0)
    if dtype is np.float32 and scale == 1.0 and hdu.bitpix == 16:
        result = np.empty(shape, np.float32)
        decode(stored.view(np.uint16), np.float32(zero), result)
        return result
    if scale != 1.0 or zero != 0.0:
        return (stored.astype(np.float64) * scale + zero).astype(dtype)
    return stored.astype(dtype)


@dataclass(frozen=True)
class Undecoded:
    """Pixels (ny, nx) that become numbers while they are worked on: stored integers and what is added to them."""

    plane: NDArray[Any]
    zero: np.float32


def undecoded_pixels(fits: FitsFile, hdu: Hdu) -> Undecoded:
    """Give an image's pixels as they lie in the file, where that takes no more than adding BZERO; else decoded."""
    plane = view(fits, hdu)
    scale, zero = header.number(hdu.cards, "BSCALE", 1.0), header.number(hdu.cards, "BZERO", 0.0)
    if plane is None or hdu.bitpix != 16 or scale != 1.0:
        # Adding -0 changes no number, not even -0 itself.
        return Undecoded(np.ascontiguousarray(pixels(fits, hdu, np.float32)), np.float32(-0.0))
    return Undecoded(stored(plane), np.float32(zero))


def table(fits: FitsFile, hdu: Hdu) -> dict[str, NDArray[Any]]:
    """Read a binary table as columns in native byte order; text columns hold bytes.

    Raises
    ------
    EngineError
        When a column has a format other than fixed-size L, A, B, I, J, K, E, D.
    """
    where = f"{fits.path}[{hdu.name or 1}]"
    names, formats, offsets = [], [], []
    position = 0
    for n in range(1, header.integer(hdu.cards, "TFIELDS", where=where) + 1):
        spelt = header.text(hdu.cards, f"TFORM{n}", where=where)
        match = re.fullmatch(r"(\d*)([LABIJKED])", spelt.strip())
        if match is None:
            message = f"column {n} has TFORM {spelt}, expected one of nL, nA, nB, nI, nJ, nK, nE, nD"
            raise EngineError(message, where=where)
        repeat, letter = int(match[1] or 1), match[2]
        kind = f"S{repeat}" if letter in "AL" else _COLUMNS[letter]
        item = np.dtype(kind if letter in "AL" or repeat == 1 else (kind, (repeat,)))
        if item.itemsize:
            names.append(header.text(hdu.cards, f"TTYPE{n}", where=where).upper())
            formats.append(item)
            offsets.append(position)
        position += item.itemsize
    layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": hdu.shape[1]})
    rows = np.frombuffer(fits.memory, dtype=layout, count=hdu.shape[0], offset=hdu.offset)
    columns: dict[str, NDArray[Any]] = {}
    for n, name in enumerate(names, 1):
        column = np.ascontiguousarray(rows[name])
        columns[name] = column.astype(column.dtype.newbyteorder("="))
        zero = header.number(hdu.cards, f"TZERO{n}", 0.0)
        if zero:
            columns[name] = columns[name] + zero
    return columns


@dataclass(frozen=True)
class Part:
    """An HDU to be written: its header, in blocks, and the shape and type of its pixels, if it has any."""

    block: bytes
    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.uint8))

    @property
    def size(self) -> int:
        """Bytes of the data unit, without its padding."""
        return math.prod(self.shape) * self.dtype.itemsize if self.shape else 0


class Unfinished:
    """A file whose pixels are written first, as they come, and its headers last.

    Parameters
    ----------
    path : Path
        Must not exist.
    draft : sequence of Part
        HDUs as they will be; of the headers, only the length counts.

    Raises
    ------
    EngineError
        When the file exists already: the engine never overwrites.
    """

    def __init__(self, path: Path, draft: Sequence[Part]) -> None:
        self._draft = draft
        self._offsets: list[int] = []
        end = 0
        for part in draft:
            self._offsets.append(end + len(part.block))
            end += len(part.block) + -(-part.size // BLOCK) * BLOCK
        try:
            self._stream = path.open("x+b", buffering=0)
        except FileExistsError:
            message = "product exists already"
            raise EngineError(message, where=str(path), hint="choose an empty output folder") from None
        self._path, self._beside = path, path.with_name(f"{path.name}.moved")
        self._stream.truncate(end)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the file; nothing is left of one that could not be finished."""
        self._stream.close()
        if kind is not None:
            self._path.unlink(missing_ok=True)
            self._beside.unlink(missing_ok=True)

    def lines_of(self, number: int, plane: NDArray[Any], at_once: int) -> Lines:
        """Give what writes lines of an HDU's image, at most some at once; several threads may write.

        ``plane`` is native and in C order: the whole image, or ``n`` lines, of which ``j % n`` is the image's ``j``.
        """
        native = stored(plane)
        encoded = np.empty((at_once, native.shape[1]), native.dtype)
        convert = bound(encode, native, encoded)
        offset, size = self._offsets[number], native[0].nbytes

        def write(first: int, last: int) -> None:
            convert(first, last)
            self._write(encoded[: last - first].data.cast("B"), offset + first * size)

        return write

    def finish(self, parts: Sequence[Part]) -> None:
        """Write the headers; where one has another length than in the draft, or no pixels now, move the rest."""
        as_drafted = [(len(part.block), part.shape) for part in self._draft]
        if [(len(part.block), part.shape) for part in parts] == as_drafted:
            for part, offset in zip(parts, self._offsets, strict=True):
                self._write(memoryview(part.block), offset - len(part.block))
            return
        source = self._stream.fileno()
        with self._beside.open("xb", buffering=0) as moved:
            for part, offset in zip(parts, self._offsets, strict=True):
                write_all(moved.fileno(), part.block)
                os.lseek(source, offset, os.SEEK_SET)
                copy_range(source, moved.fileno(), part.size, hashlib.sha256(), str(self._path))
                write_all(moved.fileno(), b"\0" * (-part.size % BLOCK))
        self._beside.replace(self._path)

    def _write(self, data: memoryview, offset: int) -> None:
        try:
            write_at(self._stream.fileno(), data, offset)
        except OSError as error:
            error.filename = str(self._path)
            raise
