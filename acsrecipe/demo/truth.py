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
"""Suffixes that are compared. The demo has no CTE trails, so CTE-corrected products can't be judged by it."""

Plane = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Of one chip: electrons expected of the product, and where a cosmic ray hit."""


@dataclass(frozen=True)
class TruthVerdict:
    """How one product compares with the truth.

    Attributes
    ----------
    rootname : str
    product : str
        ``flt``, ``crj`` or ``sfl``.
    mean, std : float
        Of (SCI - truth) / ERR over the pixels without a flag and without a cosmic ray.
    n_pixels : int
        How many those are.
    """

    rootname: str
    product: str
    mean: float
    std: float
    n_pixels: int

    @property
    def agrees(self) -> bool:
        """The errors explain the differences: mean within 0.1 of 0, standard deviation from 0.95 to 1.1."""
        return abs(self.mean) <= MEAN_LIMIT and SIGMA_LIMITS[0] <= self.std <= SIGMA_LIMITS[1]


def write_truth(path: Path, planes: Sequence[Plane]) -> None:
    """Write (SCI float32 electrons, CR uint8) for each imset."""

    def units() -> Iterator[Unit]:
        yield [], None
        for number, (expected, hit) in enumerate(planes, 1):
            yield [("EXTNAME", "SCI"), ("EXTVER", number), ("BUNIT", "ELECTRONS")], expected
            yield [("EXTNAME", "CR"), ("EXTVER", number)], hit.astype(np.uint8)

    write_fits(path, units())


def compare_with_truth(products: Path, truth: Path) -> tuple[TruthVerdict, ...]:
    """Compare every product that has a truth with it.

    Parameters
    ----------
    products : Path
        Folder with ``*_flt.fits``, ``*_crj.fits``, ``*_sfl.fits``.
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
        for suffix in PRODUCTS
        for path in sorted(products.glob(f"*_{suffix}.fits"))
    ]
    verdicts = tuple(_judge(path, suffix, expected) for path, suffix, expected in pairs if expected.is_file())
    if not verdicts:
        message = f"no product can be compared: found {len(pairs)} in {products}, none of them with a file in {truth}"
        raise IntegrityError(message, where=str(products), hint="give the folder of products of a run of the demo")
    return verdicts


def _judge(path: Path, suffix: str, truth: Path) -> TruthVerdict:
    total = squares = 0.0
    count = 0
    with fits.open(path) as product, fits.open(truth) as expected:
        for number in range(1, 1 + sum(hdu.name == "SCI" for hdu in product)):
            sci, wanted = product["SCI", number].data, expected["SCI", number].data
            if sci.shape != wanted.shape:
                message = f"SCI,{number} is {sci.shape}, its truth {wanted.shape}"
                raise IntegrityError(message, where=path.name)
            good = (product["DQ", number].data == 0) & (expected["CR", number].data == 0)
            pull = (sci[good].astype(np.float64) - wanted[good]) / product["ERR", number].data[good]
            total += float(pull.sum())
            squares += float((pull * pull).sum())
            count += int(good.sum())
    if count < 2:
        message = "no pixel is without a flag"
        raise IntegrityError(message, where=path.name)
    mean = total / count
    rootname = path.name.removesuffix(f"_{suffix}.fits")
    return TruthVerdict(rootname, suffix, mean, float(np.sqrt(squares / count - mean * mean)), count)
