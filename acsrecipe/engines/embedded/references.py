"""Reference files: from a header's ``jref$name`` to mapped planes of the right chip, read once an association."""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.buffers import Buffers
from acsrecipe.engines.embedded.byteorder import stored
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.compiled import Flags, Image
from acsrecipe.engines.embedded.fitsfile import FitsFile, hdu_of, image_shape, open_fits, view
from acsrecipe.engines.embedded.frame import corner
from acsrecipe.errors import EngineError


@dataclass(frozen=True)
class Reference:
    """A reference file as the headers name it.

    Attributes
    ----------
    keyword, name : str
        ``DARKFILE`` and the header's spelling, ``jref$x_drk.fits``.
    pedigree, descrip : str
        Of its primary header; a pedigree that begins with DUMMY keeps the step from being done.
    """

    keyword: str
    name: str
    file: FitsFile
    pedigree: str
    descrip: str

    @property
    def is_dummy(self) -> bool:
        """Whether the file only stands for a reference that does not exist yet."""
        return self.pedigree.startswith("DUMMY")


@dataclass
class References:
    """The folder that ``jref$`` stands for, what was opened in it, and arrays to be used again."""

    folder: Path
    opened: dict[str, FitsFile] = field(default_factory=dict)
    buffers: Buffers = field(default_factory=Buffers)


def is_named(name: str) -> bool:
    """Whether a header's reference value names a file, rather than being blank or N/A."""
    return name.strip().lower() not in ("", "n/a")


def find_reference(references: References, primary: Cards, keyword: str, where: str) -> Reference | None:
    """Open the reference that a primary header names, or give None when it names none.

    Raises
    ------
    EngineError
        When the file does not exist or is no FITS file.
    """
    name = header.text(primary, keyword, "")
    if not is_named(name):
        return None
    bare = name.partition("$")[2] if "$" in name else name
    file = references.opened.get(bare)
    if file is None:
        path = references.folder / bare
        if not path.is_file():
            message = f"{keyword} names {name}, but there is no {bare} in {references.folder}"
            raise EngineError(message, where=where, hint="let CRDS sync the references, or correct the override")
        file = open_fits(path, role=f"{keyword} {name}")
        references.opened[bare] = file
    cards = file.hdus[0].cards
    return Reference(keyword, name, file, header.text(cards, "PEDIGREE", ""), header.text(cards, "DESCRIP", ""))


def need_reference(references: References, primary: Cards, keyword: str, switch: str, where: str) -> Reference:
    """Open a reference that a step can't do without; raises EngineError when the header names none."""
    found = find_reference(references, primary, keyword, where)
    if found is None:
        value = header.text(primary, keyword, "").strip() or "absent"
        message = f"{keyword} is {value}, but {switch} needs it"
        raise EngineError(message, where=where, hint=f"choose a {keyword} with CRDS or an override, or set {switch}")
    return found


def version_of_chip(reference: Reference, chip: int, *, planes: int = 3) -> int:
    """Find the EXTVER whose SCI header has that CCDCHIP.

    Parameters
    ----------
    planes : int
        Extensions per imset: 3 for (SCI, ERR, DQ), 1 for files of SCI only.

    Raises
    ------
    EngineError
        When no imset is of that chip.
    """
    count = header.integer(reference.file.hdus[0].cards, "NEXTEND", 3 if planes == 3 else 1) // planes
    for version in range(1, count + 1):
        hdu = hdu_of(reference.file, "SCI", version)
        if header.integer(hdu.cards, "CCDCHIP", 1) == chip:
            return version
    message = f"{reference.keyword} has no imset with CCDCHIP {chip} among its {count}"
    raise EngineError(message, where=str(reference.file.path))


@dataclass(frozen=True)
class Section:
    """The part of a reference imset that lies under a science image.

    Attributes
    ----------
    x, y : int
        Column and line of the reference under the science image's first pixel.
    same : bool
        Whether the two have the same corner and the same width: nothing to cut.
    """

    reference: Reference
    version: int
    x: int
    y: int
    same: bool
    shape: tuple[int, int]
    planes: dict[str, Plane] = field(default_factory=dict, compare=False, repr=False)

    def plane(self, name: str) -> Plane:
        """View the whole section of SCI, ERR or DQ, as it lies in the file or as one number all over (ny, nx)."""
        if name not in self.planes:
            hdu = hdu_of(self.reference.file, name, self.version)
            pixels = view(self.reference.file, hdu)
            if pixels is None:
                value = header.number(hdu.cards, "PIXVALUE", 0.0)
                self.planes[name] = np.broadcast_to(np.asarray(value, _native(name)), self.shape)
            else:
                ny, nx = self.shape
                self.planes[name] = pixels[self.y : self.y + ny, self.x : self.x + nx]
        return self.planes[name]


def _native(name: str) -> type[np.int16] | type[np.float32]:
    return np.int16 if name == "DQ" else np.float32


def section(reference: Reference, sci_cards: Cards, shape: tuple[int, int], chip: int, *, planes: int = 3) -> Section:
    """Find what part of a reference lies under a science image of that shape (ny, nx).

    Raises
    ------
    EngineError
        When the reference is binned otherwise, or does not cover the image.
    """
    version = version_of_chip(reference, chip, planes=planes)
    hdu = hdu_of(reference.file, "SCI", version)
    rows, columns = image_shape(reference.file, hdu)
    here, there = corner(sci_cards), corner(hdu.cards)
    same = here == there and shape[1] == columns
    x, y = (0, 0) if same else (here[0] - there[0], here[1] - there[1])
    if x < 0 or y < 0 or x + shape[1] > columns or y + shape[0] > rows:
        message = (
            f"{reference.keyword} {reference.name} [{version}] of {columns} x {rows} pixels does not cover the "
            f"image of {shape[1]} x {shape[0]} pixels that begins at its column {x + 1}, line {y + 1}"
        )
        raise EngineError(message, where=str(reference.file.path))
    return Section(reference, version, x, y, same, shape)


def stored_plane(part: Section, plane: str) -> Plane:
    """Give a section's SCI, ERR or DQ plane as stored pixels, (ny, nx) in C order.

    Where the file has them as float32 or int16, and the section is as wide as the file's image, they are a view
    of the mapped file (see `acsrecipe.engines.embedded.byteorder`).
    """
    return stored(np.ascontiguousarray(part.plane(plane), np.dtype(_native(plane)).newbyteorder(">")))


def plane_or(part: Section | None, name: str, own: Image | Flags) -> Plane:
    """Give a reference's plane; where there is none the frame's own stands in, not to be looked at."""
    return stored(own) if part is None else stored_plane(part, name)


# Linux 5.14 and later: map pages at once, rather than one after the other as they are looked at.
_POPULATE_READ = 22
_DONTNEED = 4


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Give the system's madvise, which Python's own calls without letting other threads run; None elsewhere."""
    if sys.platform != "linux":
        return None
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return cast("Callable[[int, int, int], int]", function)


def advise_pages(part: Section, planes: tuple[str, ...], first: int, last: int, *, wanted: bool) -> None:
    """Map the pages that hold some lines of a section's planes, or let go of them.

    Makes no difference to what is read: pages let go come back when looked at, and advice that the system does
    not know is none. Sections narrower than the file's image are left alone, for they are copied.
    """
    advise = _madvise()
    if advise is None or first >= last:
        return
    memory = part.reference.file.memory
    start_of_file = np.frombuffer(memory, np.uint8).ctypes.data
    for name in planes:
        hdu = hdu_of(part.reference.file, name, part.version)
        if len(hdu.shape) != 2 or hdu.shape[1] != part.shape[1]:
            continue
        line = hdu.shape[1] * abs(hdu.bitpix) // 8
        start = (hdu.offset + (part.y + first) * line) // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(hdu.offset + (part.y + last) * line, len(memory))
        if end > start:
            advise(start_of_file + start, end - start, _POPULATE_READ if wanted else _DONTNEED)


# Lines whose pages are in memory at a time.
WINDOW_LINES = 256


class Window:
    """Keeps in memory the pages of mapped references that belong to the lines worked on, and no others.

    Parameters
    ----------
    *planes : (Section or None, str ...)
        References, and which of their planes are looked at.
    """

    def __init__(self, *planes: tuple[Section | None, tuple[str, ...]]) -> None:
        self._planes = [(part, names) for part, names in planes if part is not None]
        self._first, self._last = 0, 0

    def move(self, line: int, lines: int) -> None:
        """Move on, in order, to a line of ``lines``; to ``lines`` itself when all are done."""
        if self._first <= line < self._last:
            return
        ahead = min(line + WINDOW_LINES, lines)
        for part, names in self._planes:
            advise_pages(part, names, self._first, self._last, wanted=False)
            advise_pages(part, names, line, ahead, wanted=True)
        self._first, self._last = line, ahead
