"""The files of an observation as an archive delivers them: RAW, SPT, ASN."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from acsrecipe.demo.fitsfile import Card, Unit, write_fits
from acsrecipe.demo.geometry import Window
from acsrecipe.demo.headers import PROPOSAL, Observed, extension_cards, primary_cards

_UDL_WORDS = 965


def write_raw(path: Path, observed: Observed, imsets: Sequence[tuple[Window, NDArray[np.uint16]]]) -> None:
    """Write a RAW file; ERR and DQ are headers without pixels that give a constant."""

    def units() -> Iterator[Unit]:
        yield primary_cards(observed), None
        for number, (window, pixels) in enumerate(imsets, 1):
            yield extension_cards(observed, window, "SCI", number), pixels
            yield extension_cards(observed, window, "ERR", number), None
            yield extension_cards(observed, window, "DQ", number), None

    write_fits(path, units())


def write_support(path: Path, observed: Observed) -> None:
    """Write the SPT file: proposal data and an (empty) unique data log."""
    primary: list[Card] = [
        ("NEXTEND", 1),
        ("FILENAME", path.name),
        ("FILETYPE", "SPT"),
        ("TELESCOP", "HST"),
        ("INSTRUME", "ACS"),
        ("ROOTNAME", observed.rootname.upper()),
        ("PROPOSID", PROPOSAL),
        ("OBSERVTN", observed.rootname[-3:].upper()),
        ("ASN_MTYP", observed.mode.member or " " * 8),
    ]
    log: list[Card] = [("EXTNAME", "UDL"), ("EXTVER", 1)]
    write_fits(path, [(primary, None), (log, np.zeros(_UDL_WORDS, dtype=np.int16))])


def write_association(path: Path, association: str, members: Sequence[str], member_type: str) -> None:
    """Write the ASN table: the members, and the product's row, which does not exist yet.

    Parameters
    ----------
    path : Path
    association : str
        Rootname.
    members : sequence of str
        Rootnames.
    member_type : str
        ``EXP-DTH``, ...
    """
    names = [*members, association]
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name="MEMNAME", format="14A", array=np.array([name.upper() for name in names])),
            fits.Column(
                name="MEMTYPE",
                format="14A",
                array=np.array([member_type] * len(members) + [member_type.replace("EXP", "PROD")]),
            ),
            fits.Column(name="MEMPRSNT", format="L", array=np.array([True] * len(members) + [False])),
        ],
        name="ASN",
    )
    table.header["EXTVER"] = 1
    primary = fits.PrimaryHDU()
    cards: list[Card] = [
        ("NEXTEND", 1),
        ("FILENAME", path.name),
        ("FILETYPE", "ASN_TABLE"),
        ("TELESCOP", "HST"),
        ("INSTRUME", "ACS"),
        ("ROOTNAME", association),
        ("DETECTOR", "WFC"),
        ("PROPOSID", PROPOSAL),
        ("ASN_ID", association.upper()),
        ("ASN_TAB", path.name),
        ("ASN_PROD", False, "the product has been made"),
        ("ASN_STAT", "COLLECTED"),
    ]
    for card in cards:
        primary.header.append(card)
    fits.HDUList([primary, table]).writeto(path)
