"""PHOTMODE, and the values that IMPHTTAB has for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.engines.embedded.fitsfile import open_fits
from acsrecipe.engines.embedded.frame import Observation
from acsrecipe.engines.embedded.photometry import find_photometry, photmode
from acsrecipe.engines.embedded.references import Reference
from acsrecipe.errors import EngineError

SEEN = Observation(
    *("j9sy01a1q", "WFC", "IMAGING", "CLAMP", "F606W", "CLEAR2L"),
    *(500.0, 53800.25, False, "ABCD", 2.0, (3, 3, 3, 3), 0.0, "", 500.0, "FIELD", 0.0, 2),
)


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, "ACS WFC1 F606W MJD#53800.2500"),
        ({"filter2": "POL0UV"}, "ACS WFC1 F606W POL_UV MJD#53800.2500"),
        ({"filter1": "CLEAR1L", "filter2": "POL120V"}, "ACS WFC1 POL_V MJD#53800.2500"),
        ({"filter1": "CLEAR1L", "filter2": "FR914M", "lrfwave": 8800.0}, "ACS WFC1 FR914M#8800 MJD#53800.2500"),
        ({"filter1": "N/A", "filter2": "F814W", "obstype": "CORONAGRAPHIC"}, "ACS WFC1 CORON F814W MJD#53800.2500"),
    ],
)
def test_photmode_names_filters_as_the_table_does(changes: dict[str, object], mode: str) -> None:
    assert photmode(replace(SEEN, **changes)) == mode


@pytest.fixture
def reference(tmp_path: Path) -> Reference:
    """Three rows: a constant, one that depends on the date, one on wavelength and date."""
    tables = []
    for name, value in (("PHOTFLAM", 1e-19), ("PHOTPLAM", 6000.0), ("PHOTBW", 600.0)):
        grid = np.outer([1, 2, 3], [1, 10]).ravel() * value
        columns = [
            fits.Column(
                "OBSMODE", "40A", array=["acs,wfc1,f475w,mjd#", "acs,wfc1,f606w,mjd#", "acs,wfc1,fr914m#,mjd#"]
            ),
            fits.Column("DATACOL", "12A", array=[name, f"{name}1", f"{name}2"]),
            fits.Column(name, "D", array=[7 * value, 0, 0]),
            fits.Column(f"{name}1", "3D", array=np.array([[0] * 3, [1, 2, 4], [0] * 3]) * value),
            fits.Column(f"{name}2", "6D", array=np.array([[0.0] * 6, [0.0] * 6, grid])),
            fits.Column("PAR1NAMES", "8A", array=["", "mjd#", "fr914m#"]),
            fits.Column("PAR1VALUES", "3D", array=[[0] * 3, [53000, 54000, 56000], [8000, 0, 0]]),
            fits.Column("NELEM1", "J", array=[0, 3, 2]),
            fits.Column("PAR2NAMES", "8A", array=["", "", "mjd#"]),
            fits.Column("PAR2VALUES", "3D", array=[[0] * 3, [0] * 3, [53000, 54000, 56000]]),
            fits.Column("NELEM2", "J", array=[0, 0, 3]),
        ]
        tables.append(fits.BinTableHDU.from_columns(columns, name=name))
        tables[-1].data["PAR1VALUES"][2] = [8000, 9000, 0]
        # Fastest along the first parameter.
        tables[-1].data[f"{name}2"][2] = np.array([1, 10, 2, 20, 4, 40]) * value
    primary = fits.PrimaryHDU()
    primary.header["PHOTZPT"] = -21.1
    primary.header["EXTRAP"] = True
    path = tmp_path / "imp.fits"
    fits.HDUList([primary, *tables]).writeto(path)
    return Reference("IMPHTTAB", "jref$imp.fits", open_fits(path), "", "")


def test_a_row_without_parameters_gives_its_value(reference: Reference) -> None:
    found = find_photometry(reference, "ACS WFC1 F475W MJD#53800.2500")
    assert (found.photplam, found.photbw, found.photzpt) == (42000, 4200, -21.1)
    assert found.photflam == pytest.approx(7e-19, rel=1e-12)


def test_a_row_by_date_is_interpolated(reference: Reference) -> None:
    assert find_photometry(reference, "ACS WFC1 F606W MJD#55000.0000").photplam == 3 * 6000


def test_dates_beyond_the_table_are_extrapolated_where_it_says_so(reference: Reference) -> None:
    assert find_photometry(reference, "ACS WFC1 F606W MJD#58000.0000").photplam == 6 * 6000
    assert find_photometry(reference, "ACS WFC1 F606W MJD#52000.0000").photplam == 0


def test_two_parameters_are_interpolated_one_after_the_other(reference: Reference) -> None:
    found = find_photometry(reference, "ACS WFC1 FR914M#8500 MJD#53500.0000")
    assert found.photplam == pytest.approx((5.5 * 1.5) * 6000)


def test_a_wavelength_beyond_the_table_is_not_covered(reference: Reference) -> None:
    assert not find_photometry(reference, "ACS WFC1 FR914M#9500 MJD#53500.0000").covered


def test_a_mode_that_the_table_lacks_is_an_error(reference: Reference) -> None:
    with pytest.raises(EngineError, match="no PHOTFLAM row for acs,wfc1,f435w,mjd#"):
        find_photometry(reference, "ACS WFC1 F435W MJD#53800.2500")
