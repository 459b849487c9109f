"""Whether another reference matters: same bytes, same rows, same cards; never "no effect" where there may be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.inputs.effects import describe_effect
from acsrecipe.inputs.pixels import compare_pixels

HEADER = ({"CCDAMP": "ABCD", "CCDGAIN": 2.0, "FILTER1": "F606W"},)


def write_table(path: Path, cards: dict[str, Any] | None = None, **columns: Any) -> Path:
    given = {
        "CCDAMP": ("4A", ["ABCD", "A", "N/A"]),
        "CCDGAIN": ("E", [2.0, 2.0, -999.0]),
        "VALUE": ("E", [1.0, 2.0, 3.0]),
        "COMMENT": ("9A", ["one", "two", "three"]),
    }
    given.update(columns)
    table = fits.BinTableHDU.from_columns([fits.Column(n, f, array=a) for n, (f, a) in given.items()])
    primary = fits.PrimaryHDU()
    primary.header.update({"FILENAME": path.name, **(cards or {})})
    fits.HDUList([primary, table]).writeto(path)
    return path


def effect(tmp_path: Path, cards: dict[str, Any] | None = None, **columns: Any) -> str:
    old = write_table(tmp_path / "old_ccd.fits")
    return describe_effect("CCDTAB", old, write_table(tmp_path / "new_ccd.fits", cards, **columns), HEADER)


def test_other_rows_than_those_selected_do_not_matter(tmp_path):
    found = effect(tmp_path, VALUE=("E", [1.0, 9.0, 3.0]), COMMENT=("9A", ["x", "y", "z"]))
    assert found == "no effect: the rows for these exposures are the same"


@pytest.mark.parametrize("values", [[9.0, 2.0, 3.0], [1.0, 2.0, 9.0]])
def test_a_selected_row_matters_also_one_for_any_value(tmp_path, values):
    assert effect(tmp_path, VALUE=("E", values)) == "rows of table 1 that these exposures may read differ"


def test_arrays_of_variable_length_are_compared_not_their_places(tmp_path):
    def column(last: float) -> tuple[str, Any]:
        return ("PD()", np.array([np.array([1.0, last]), np.array([1.0]), np.array([2.0])], dtype=object))

    old = write_table(tmp_path / "a_imp.fits", PHOT=column(2.0))
    new = write_table(tmp_path / "b_imp.fits", PHOT=column(3.0))
    assert "differ" in describe_effect("IMPHTTAB", old, new, HEADER)


def test_where_no_row_fits_or_a_column_only_has_the_name_of_a_keyword_every_row_counts(tmp_path):
    header = ({**HEADER[0], "CCDGAIN": 8.0, "OBSMODE": "ACCUM"},)
    for number, columns in enumerate(({"CCDGAIN": ("E", [1.0, 2.0, 4.0])}, {"OBSMODE": ("9A", ["a", "b", "c"])})):
        old = write_table(tmp_path / f"a{number}_ccd.fits", **columns)
        new = write_table(tmp_path / f"b{number}_ccd.fits", VALUE=("E", [1.0, 2.0, 9.0]), **columns)
        assert "differ" in describe_effect("CCDTAB", old, new, header)


def test_cards_of_a_table_matter_but_for_those_about_the_file(tmp_path):
    found = effect(tmp_path, {"CTE_NAME": "other", "DATE": "2026-01-01"})
    assert found == "the rows for these exposures are the same, header cards differ: CTE_NAME"


def test_a_dummy_row_matters(tmp_path):
    old = write_table(tmp_path / "a_ccd.fits", PEDIGREE=("9A", ["GROUND"] * 3))
    new = write_table(tmp_path / "b_ccd.fits", PEDIGREE=("9A", ["DUMMY"] * 3))
    assert "differ" in describe_effect("CCDTAB", old, new, HEADER)


def test_the_same_bytes_have_no_effect_and_what_can_not_be_read_is_not_judged(tmp_path):
    old = write_table(tmp_path / "a_ccd.fits")
    copy = tmp_path / "b_ccd.fits"
    copy.write_bytes(old.read_bytes())
    assert describe_effect("CCDTAB", old, copy, HEADER) == "no effect: the bytes are the same"
    assert describe_effect("CCDTAB", old, tmp_path / "none.fits", HEADER) == ""
    copy.write_bytes(b"no FITS")
    assert describe_effect("CCDTAB", old, copy, HEADER) == ""


def test_pixels_that_differ_are_counted_placed_and_measured(tmp_path):
    image = np.zeros((6, 8), np.float32)
    image[0, 0] = np.nan
    other = image.copy()
    other[2, 3], other[4, 5], other[4, 6] = 1.0, -3.0, np.nan
    for name, data in (("a", image), ("b", other)):
        fits.HDUList(
            [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI"), fits.ImageHDU(np.ones((2, 2)), name="ERR")]
        ).writeto(tmp_path / f"{name}.fits")
    (found,) = compare_pixels(tmp_path / "a.fits", tmp_path / "b.fits")
    assert (found.hdu, found.pixels, found.differing, found.box) == ("SCI,1", 48, 3, (3, 7, 2, 5))
    assert (found.largest, found.median) == (3.0, 2.0)
    assert compare_pixels(tmp_path / "a.fits", tmp_path / "a.fits") == ()


def test_other_shapes_and_extensions_are_named(tmp_path):
    for name, shape, extension in (("a", (2, 3), "SCI"), ("b", (2, 4), "SCI"), ("c", (2, 3), "DQ")):
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(shape), name=extension)]).writeto(
            tmp_path / f"{name}.fits"
        )
    assert compare_pixels(tmp_path / "a.fits", tmp_path / "b.fits")[0].note == "(2, 3) >f8 against (2, 4) >f8"
    notes = {one.hdu: one.note for one in compare_pixels(tmp_path / "a.fits", tmp_path / "c.fits")}
    assert notes == {"SCI,1": "only in A", "DQ,1": "only in B"}
