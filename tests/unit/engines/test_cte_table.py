"""PCTETABs: read whole when of generation 3, described from the primary header, refused with the reason otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.engines.embedded.cte.table import TableDescription, describe_table, read_table
from acsrecipe.errors import EngineError

NAME = "Par/Serial PixelCTE 2023"


def a_set(version: int, *, traps: int = 3, transfers: int = 8, length: int = 6) -> list[fits.hdu.base.ExtensionHDU]:
    level = np.full(9999, 999999)
    level[:traps] = 10 * np.arange(1, traps + 1) + version
    profile = fits.BinTableHDU.from_columns(
        [
            fits.Column("W", "I", array=np.arange(9999) % 30000),
            fits.Column("QLEV_Q", "J", array=level),
            fits.Column("DPDE_W", "E", array=np.full(9999, 1.25)),
        ],
        name="QPROF",
        ver=version,
    )
    settings = {"CTEDATE0": 52334.86, "CTEDATE1": 57710.45, "PCTETLEN": length, "PCTENFOR": 5, "PCTENPAR": 7}
    profile.header.update(settings)
    scale = fits.BinTableHDU.from_columns(
        [fits.Column("IZ", "I", array=np.arange(8192))]
        + [
            fits.Column(f"SENS_{row}", "E", array=np.full(8192, k + 0.5))
            for k, row in enumerate(("0512", "1024", "1536", "2048"))
        ],
        name="SCLBYCOL",
        ver=version,
    )
    images = [
        fits.ImageHDU(np.arange(transfers * traps, dtype="f4").reshape(transfers, traps), name=name, ver=version)
        for name in ("RPROF", "CPROF")
    ]
    return [profile, scale, *images]


def write(
    path: Path, *, name: str | None = NAME, sets: list[fits.hdu.base.ExtensionHDU] | None = None, **cards: object
) -> Path:
    primary = fits.PrimaryHDU()
    if name is not None:
        primary.header["CTE_NAME"] = name
    primary.header.update({"CTE_VER": "3.0", "PCTENSMD": 0, "PCTETRSH": -10.0, "FIXROCR": 1} | cards)
    if sets is None:
        sets = [hdu for version in range(1, 6) for hdu in a_set(version)]
    fits.HDUList([primary, *sets]).writeto(path)
    return path


def test_a_table_of_generation_3_is_read_whole(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "x_cte.fits"))
    assert (table.name, table.version, table.threshold, table.ease) == (NAME, "3.0", -10.0, True)
    assert table.parallel.level.tolist() == [11.0, 21.0, 31.0]
    assert {amp: traps.level[0] for amp, traps in table.serial.items()} == {"A": 12.0, "B": 13.0, "C": 14.0, "D": 15.0}
    traps = table.parallel
    assert traps.size.tolist() == [1.25] * 3
    assert traps.release[1].tolist() == [1.0, 4.0, 7.0, 10.0, 13.0, 16.0, 19.0, 22.0]
    assert traps.sensitivity.shape == (8192, 4)
    assert traps.sensitivity[5].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert (traps.date0, traps.date1, traps.length, traps.models, traps.shifts) == (52334.86, 57710.45, 6, 5, 7)


@pytest.mark.parametrize(
    ("name", "generation"), [(NAME, 3), ("PixelCTE 2017", 2), ("PixelCTE 2012", 1), (None, 1), ("", 1)]
)
def test_a_table_is_described_without_reading_its_extensions(tmp_path: Path, name: str | None, generation: int) -> None:
    path = write(tmp_path / "x_cte.fits", name=name, sets=[])
    assert describe_table(path) == TableDescription(name or "", generation)


@pytest.mark.parametrize(("name", "said"), [("PixelCTE 2017", "generation 2"), (None, "no CTE_NAME: generation 1")])
def test_an_older_table_is_refused_with_its_generation(tmp_path: Path, name: str | None, said: str) -> None:
    with pytest.raises(EngineError, match=said) as caught:
        read_table(write(tmp_path / "x_cte.fits", name=name))
    assert caught.value.where == str(tmp_path / "x_cte.fits")
    assert "PCTECORR" in (caught.value.hint or "")


def test_a_table_that_lacks_something_says_what(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="extensions 5 to 8: found none"):
        read_table(write(tmp_path / "short.fits", sets=a_set(1)))
    with pytest.raises(EngineError, match="expected at least 9 transfers"):
        read_table(write(tmp_path / "trail.fits", sets=a_set(1, length=9)))
    with pytest.raises(EngineError, match="PCTENSMD is 1"):
        read_table(write(tmp_path / "noise.fits", PCTENSMD=1))
    lacking = a_set(1)
    del lacking[0].header["PCTENFOR"]
    with pytest.raises(EngineError, match="no keyword PCTENFOR"):
        read_table(write(tmp_path / "keyword.fits", sets=lacking))
    lacking = a_set(1)
    lacking[0].columns.change_name("DPDE_W", "OTHER")
    with pytest.raises(EngineError, match="no column DPDE_W"):
        read_table(write(tmp_path / "column.fits", sets=lacking))


def test_a_file_that_is_no_fits_file_is_an_engine_error(tmp_path: Path) -> None:
    (tmp_path / "x_cte.fits").write_bytes(b"not FITS")
    for read in (describe_table, read_table):
        with pytest.raises(EngineError, match="can't be read"):
            read(tmp_path / "x_cte.fits")
    with pytest.raises(EngineError, match="can't be read"):
        describe_table(tmp_path / "absent.fits")
