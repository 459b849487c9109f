"""Where pixels are: amplifiers, overscans, and the part of a chip that a readout covers.

Two frames of a chip are used. The *chip* frame has the illuminated pixels only; the *raw* frame has the physical
overscan columns left and right, and the virtual overscan rows on the side away from the amplifiers (the top of chip 2,
the bottom of chip 1). All positions count from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

PRESCAN = 24
"""Physical overscan columns on each side."""
VIRTUAL = 20
"""Virtual overscan rows."""
OLD_PRESCAN = 22
"""Physical overscan columns that a subarray from before 2016 keeps."""


@dataclass(frozen=True)
class Geometry:
    """The size of a detector: that of flight, or a small one that runs in no time."""

    amp_nx: int
    amp_ny: int

    @property
    def chip_shape(self) -> tuple[int, int]:
        """(ny, nx) of the illuminated pixels of one chip."""
        return self.amp_ny, 2 * self.amp_nx

    @property
    def raw_shape(self) -> tuple[int, int]:
        """(ny, nx) of one chip with its overscans."""
        return self.amp_ny + VIRTUAL, 2 * (self.amp_nx + PRESCAN)


FULL = Geometry(2048, 2048)
MINI = Geometry(128, 96)


@dataclass(frozen=True)
class Window:
    """The part of a chip's raw frame that is read out.

    Attributes
    ----------
    chip : int
        1 (amplifiers A, B) or 2 (C, D).
    amps : str
        The amplifiers that read it, left to right: two, or one for the whole window.
    x0, y0 : int
        First column and row, in the raw frame of the chip.
    nx, ny : int
        Size.
    """

    chip: int
    amps: str
    x0: int
    y0: int
    nx: int
    ny: int
    geometry: Geometry

    @property
    def ltv(self) -> tuple[int, int]:
        """LTV1, LTV2: from 1-based chip pixels to 1-based pixels of the window."""
        return PRESCAN - self.x0, _first_lit_row(self.chip) - self.y0

    @property
    def trim(self) -> tuple[int, int, int, int]:
        """TRIMX1, TRIMX2, TRIMY1, TRIMY2: overscan columns left and right, rows below and above."""
        ny, nx = self.geometry.chip_shape
        left, below = (max(0, value) for value in self.ltv)
        right = max(0, self.x0 + self.nx - (PRESCAN + nx))
        above = max(0, self.y0 + self.ny - (_first_lit_row(self.chip) + ny))
        return left, right, below, above

    @property
    def lit(self) -> tuple[slice, slice]:
        """The illuminated pixels that are read, as a section of the chip frame."""
        left, right, below, above = self.trim
        x, y = -min(0, self.ltv[0]), -min(0, self.ltv[1])
        return slice(y, y + self.ny - below - above), slice(x, x + self.nx - left - right)

    @property
    def raw(self) -> tuple[slice, slice]:
        """The window as a section of the raw frame."""
        return slice(self.y0, self.y0 + self.ny), slice(self.x0, self.x0 + self.nx)

    @property
    def bias_sections(self) -> tuple[int, int, int, int]:
        """BIASSECTA1, A2, B1, B2, 1-based: the six overscan columns next to the image; 1, 1 where there are none.

        With 0 in place of 1 calacs finds no pixels and falls back to the default level.
        """
        left, right, _, _ = self.trim
        leading = (left - 5, left) if left else (1, 1)
        trailing = (self.nx - right + 1, self.nx - right + 6) if right else (1, 1)
        return *leading, *trailing

    def amp_columns(self) -> tuple[tuple[str, slice], ...]:
        """Each amplifier with the columns of the raw frame (not of the window) that it reads."""
        if len(self.amps) == 1:
            return ((self.amps, slice(0, self.geometry.raw_shape[1])),)
        half = PRESCAN + self.geometry.amp_nx
        return (self.amps[0], slice(0, half)), (self.amps[1], slice(half, 2 * half))


def _first_lit_row(chip: int) -> int:
    return VIRTUAL if chip == 1 else 0


def chip_of(amp: str) -> int:
    """Give the chip that an amplifier sits on."""
    return 1 if amp in "AB" else 2


def cut_windows(geometry: Geometry, ccdamp: str, readout: str) -> tuple[Window, ...]:
    """Find what is read out, in the order of the RAW file's imsets (chip 2 first).

    Parameters
    ----------
    geometry : Geometry
    ccdamp : str
        CCDAMP: ``ABCD``; ``AD`` or ``BC`` (one amplifier a chip); or one letter for a subarray.
    readout : str
        ``full``; ``2K``, ``1K``, ``512`` (subarrays since 2016: all columns of one amplifier with its overscan); or
        ``old-2K``, ``old-1K``, ``old-512`` (before: squares that keep 22 overscan columns and no virtual rows).
        The names are those at true size; with a small geometry they are the same fractions of an amplifier.
    """
    if readout == "full":
        ny, nx = geometry.raw_shape
        used = {chip: "".join(a for a in ccdamp if chip_of(a) == chip) for chip in (2, 1)}
        return tuple(Window(chip, amps, 0, 0, nx, ny, geometry) for chip, amps in used.items())
    old = readout.startswith("old-")
    part = {"2K": 1, "1K": 2, "512": 4}[readout.removeprefix("old-")]
    chip = chip_of(ccdamp)
    at_left = ccdamp in "AC"
    overscan = OLD_PRESCAN if old else PRESCAN
    width = geometry.amp_nx // part if old else geometry.amp_nx
    height = geometry.amp_ny // part
    x0 = PRESCAN - overscan if at_left else PRESCAN + 2 * geometry.amp_nx - width
    if old:
        # One row away from each edge, as LTV2 = -1, -1023 and -1535 of the old apertures of chip 1 say.
        height = min(height, geometry.amp_ny - 2)
        row = geometry.amp_ny - height - 1 if chip == 1 else 1
    elif part == 1:
        return (Window(chip, ccdamp, x0, 0, width + overscan, height + VIRTUAL, geometry),)
    else:
        row = geometry.amp_ny - height if chip == 1 else 0
    return (Window(chip, ccdamp, x0, _first_lit_row(chip) + row, width + overscan, height, geometry),)
