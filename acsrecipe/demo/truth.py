"""Compare calibrated products with what went into the exposures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from acsrecipe.demo.fitsfile import Unit, write_fits
from acsrecipe.errors import IntegrityError

MEAN_LIMIT = 0.1
SIGMA_LIMITS = (0.95, 1.1)
PRODUCTS = ("flt", "crj", "sfl")
"""Suffixes that are compared."""
CORRECTED = ("flc", "crc")
"""Suffixes that are compared, too, where the charge was trailed; elsewhere the correction has nothing to correct."""
TRAILED = "CTETRAIL"
"""Keyword of a truth whose exposure was trailed on its way to the amplifiers."""
BRIGHT = 500.0
"""Electrons above the sky from which on a pixel leaves a trail that is looked for; cosmic rays do in any case."""
BEHIND = 3
"""Rows behind a bright pixel in which its trail is looked for."""
BEHIND_LIMIT = 0.1
"""Of the mean behind bright pixels, beyond three times its own uncertainty."""

Plane = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Of one chip: electrons expected of the product, and where a cosmic ray hit."""


@dataclass(frozen=True)
class TruthVerdict:
    """How one product compares with the truth.

    Attributes
    ----------
    rootname : str
    product : str
        ``flt``, ``crj``, ``sfl``, ``flc`` or ``crc``.
    mean, std : float
        Of (SCI - truth) / ERR over the pixels without a flag and without a cosmic ray.
    n_pixels : int
        How many those are.
    trailed : bool
        The exposure's charge was trailed on its way to the amplifiers; the truth never is.
    behind : float
        Mean of (SCI - truth) / ERR over those of the pixels that lie within 3 rows behind a bright one, as seen from
        the amplifier; looked at where `trailed`, else 0.
    n_behind : int
        How many those are.
    """

    rootname: str
    product: str
    mean: float
    std: float
    n_pixels: int
    trailed: bool = False
    behind: float = 0.0
    n_behind: int = 0

    @property
    def agrees(self) -> bool:
        """The errors explain the differences.

        The mean is within 0.1 of 0, the standard deviation from 0.95 to 1.1, and the mean behind bright pixels
        within 0.1 and three times its uncertainty.
        """
        return (
            abs(self.mean) <= MEAN_LIMIT
            and SIGMA_LIMITS[0] <= self.std <= SIGMA_LIMITS[1]
            and abs(self.behind) <= BEHIND_LIMIT + self._uncertainty
        )

    @property
    def is_as_it_should_be(self) -> bool:
        """It agrees; or it shows trails, as what is not corrected has to where charge was trailed."""
        if self.trailed and self.product not in CORRECTED:
            return self.behind > BEHIND_LIMIT + self._uncertainty
        return self.agrees

    @property
    def _uncertainty(self) -> float:
        return 3.0 / float(np.sqrt(self.n_behind)) if self.n_behind else 0.0


def write_truth(path: Path, planes: Sequence[Plane], *, trailed: bool = False) -> None:
    """Write (SCI float32 electrons, CR uint8) for each imset; say so where exposures were trailed."""

    def units() -> Iterator[Unit]:
        yield [(TRAILED, True, "charge was trailed in readout; not here")] if trailed else [], None
        for number, (expected, hit) in enumerate(planes, 1):
            yield [("EXTNAME", "SCI"), ("EXTVER", number), ("BUNIT", "ELECTRONS")], expected
            yield [("EXTNAME", "CR"), ("EXTVER", number)], hit.astype(np.uint8)

    write_fits(path, units())


def compare_with_truth(products: Path, truth: Path) -> tuple[TruthVerdict, ...]:
    """Compare every product that has a truth with it.

    Parameters
    ----------
    products : Path
        Folder with ``*_flt.fits``, ``*_crj.fits``, ``*_sfl.fits``; ``*_flc.fits`` and ``*_crc.fits`` are compared
        where the exposure was trailed.
    truth : Path
        Folder with ``<rootname>_truth.fits``.

    Returns
    -------
    tuple of TruthVerdict
        One for each product, by rootname.

    Raises
    ------
    IntegrityError
        When no product has a truth, a product's shape differs from its truth's, or no pixel is left to compare.
    """
    pairs = [
        (path, suffix, truth / f"{path.name.removesuffix(f'_{suffix}.fits')}_truth.fits")
        for suffix in (*PRODUCTS, *CORRECTED)
        for path in sorted(products.glob(f"*_{suffix}.fits"))
    ]
    verdicts = tuple(
        _judge(path, suffix, expected)
        for path, suffix, expected in pairs
        if expected.is_file() and (suffix in PRODUCTS or _is_trailed(expected))
    )
    if not verdicts:
        message = f"no product can be compared: found {len(pairs)} in {products}, none of them with a file in {truth}"
        raise IntegrityError(message, where=str(products), hint="give the folder of products of a run of the demo")
    return verdicts


def _is_trailed(truth: Path) -> bool:
    return bool(fits.getheader(truth).get(TRAILED, False))


@dataclass
class _Sums:
    """Of the pulls of some pixels."""

    total: float = 0.0
    squares: float = 0.0
    count: int = 0

    def add(self, pull: NDArray[np.float64]) -> None:
        self.total += float(pull.sum())
        self.squares += float((pull * pull).sum())
        self.count += pull.size


def _judge(path: Path, suffix: str, truth: Path) -> TruthVerdict:
    everywhere, behind = _Sums(), _Sums()
    with fits.open(path) as product, fits.open(truth) as expected:
        trailed = bool(expected[0].header.get(TRAILED, False))
        for number in range(1, 1 + sum(hdu.name == "SCI" for hdu in product)):
            sci, wanted = product["SCI", number].data, expected["SCI", number].data
            if sci.shape != wanted.shape:
                message = f"SCI,{number} is {sci.shape}, its truth {wanted.shape}"
                raise IntegrityError(message, where=path.name)
            hit = expected["CR", number].data != 0
            good = (product["DQ", number].data == 0) & ~hit
            pull = (sci[good].astype(np.float64) - wanted[good]) / product["ERR", number].data[good]
            everywhere.add(pull)
            if trailed:
                bright = hit | (wanted > np.median(wanted) + BRIGHT)
                away = 1 if product["SCI", number].header["CCDCHIP"] == 2 else -1
                behind.add(pull[_find_behind(bright, away)[good]])
    if everywhere.count < 2:
        message = "no pixel is without a flag"
        raise IntegrityError(message, where=path.name)
    count = everywhere.count
    mean = everywhere.total / count
    return TruthVerdict(
        rootname=path.name.removesuffix(f"_{suffix}.fits"),
        product=suffix,
        mean=mean,
        std=float(np.sqrt(everywhere.squares / count - mean * mean)),
        n_pixels=count,
        trailed=trailed,
        behind=behind.total / behind.count if behind.count else 0.0,
        n_behind=behind.count,
    )


def _find_behind(bright: NDArray[np.bool_], away: int) -> NDArray[np.bool_]:
    """Find the pixels within `BEHIND` rows of a bright one that are not bright themselves.

    Parameters
    ----------
    bright : (ny, nx) bool
    away : int
        1 where the amplifiers are below the first row, so that a trail points upwards; else -1.
    """
    seen = bright[::away]
    behind = np.zeros_like(seen)
    for step in range(1, BEHIND + 1):
        behind[step:] |= seen[:-step]
    behind &= ~seen
    return behind[::away]
