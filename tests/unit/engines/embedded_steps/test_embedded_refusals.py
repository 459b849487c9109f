"""What the engine refuses, and what it does with files; on golden mini data where it needs some."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.engines.embedded.fitsfile import Part, Unfinished, hdu_of, open_fits, pixels, table
from acsrecipe.engines.embedded.modes import GROUPS, REQUIREMENTS
from acsrecipe.engines.embedded.pipeline import calibrate
from acsrecipe.errors import EngineError, InterruptedRunError


@pytest.fixture
def exposure(shared_dir: Path, tmp_path: Path) -> Callable[..., Path]:
    """Make a RAW file of the golden subarray with some primary cards changed; None deletes one."""
    golden = shared_dir / "golden" / "pre_sub"
    lines = (golden / "expected" / "j9sy01a1q_raw_primary_after_bestrefs.txt").read_text().split("\n")

    def make(**changes: object) -> Path:
        with fits.open(golden / "data" / "j9sy01a1q_raw.fits") as hdus:
            hdus[0].header = fits.Header.fromstring("".join(line.ljust(80) for line in lines))
            for keyword, value in changes.items():
                if value is None:
                    del hdus[0].header[keyword]
                else:
                    hdus[0].header[keyword] = value
            path = tmp_path / "j9sy01a1q_raw.fits"
            hdus.writeto(path, output_verify="ignore")
        return path

    return make


@pytest.fixture
def references(shared_dir: Path) -> Path:
    return shared_dir / "golden" / "pre_sub" / "crds" / "references" / "hst"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DARKTIME": None}, "DARKTIME is missing"),
        ({"DETECTOR": "HRC"}, "DETECTOR is HRC, expected WFC"),
        ({"BLEVCORR": "OMIT"}, "BLEVCORR is not PERFORM"),
        ({"ATODCORR": "PERFORM"}, "ATODCORR is PERFORM"),
        ({"SHADCORR": "PERFORM"}, "SHADCORR is PERFORM"),
        ({"FLATCORR": "MAYBE"}, "FLATCORR is MAYBE, expected PERFORM, OMIT"),
        ({"SATUFILE": "N/A"}, "SATUFILE is N/A, but BIASCORR needs it"),
        ({"DARKFILE": "jref$absent_drk.fits"}, "there is no absent_drk.fits in"),
        ({"CCDGAIN": 3.0}, "has no row for CCDAMP C, CCDCHIP 2, CCDGAIN 3"),
        ({"CCDAMP": "E"}, "CCDAMP is E, expected letters of ABCD"),
        ({"FILTER1": "F435W"}, "no PHOTFLAM row for acs,wfc1,f435w,mjd#"),
        ({"EXPSTART": None}, "keyword EXPSTART is missing"),
        ({"LFLTFILE": "jref$syn10003j_pfl.fits"}, "LFLTFILE names a file"),
    ],
)
def test_what_calacs_would_ruin_or_fail_on_is_an_error_that_names_it(
    changes: dict[str, object], message: str, exposure: Callable[..., Path], references: Path, tmp_path: Path
) -> None:
    path = exposure(**changes)
    with pytest.raises(EngineError) as caught:
        calibrate([path], references, tmp_path)
    assert message in str(caught.value)
    assert caught.value.where
    assert not list(tmp_path.glob("*_flt.fits"))


def test_a_product_that_is_there_is_not_overwritten(
    exposure: Callable[..., Path], references: Path, tmp_path: Path
) -> None:
    path = exposure()
    calibrate([path], references, tmp_path)
    before = (tmp_path / "j9sy01a1q_flt.fits").read_bytes()
    with pytest.raises(EngineError, match="exists already"):
        calibrate([path], references, tmp_path)
    assert (tmp_path / "j9sy01a1q_flt.fits").read_bytes() == before


def test_a_file_cut_short_is_named_with_what_was_expected(
    exposure: Callable[..., Path], references: Path, tmp_path: Path
) -> None:
    path = exposure()
    path.write_bytes(path.read_bytes()[:40000])
    with pytest.raises(EngineError, match="cut short"):
        calibrate([path], references, tmp_path)
    path.write_bytes(b"")
    with pytest.raises(EngineError, match="empty"):
        calibrate([path], references, tmp_path)
    path.write_bytes(b"<html>not found</html>" * 200)
    with pytest.raises(EngineError, match="expected a FITS file"):
        calibrate([path], references, tmp_path)


def test_an_error_in_a_report_stops_the_engine(exposure: Callable[..., Path], references: Path, tmp_path: Path) -> None:
    def stop(line: str) -> None:
        if line.startswith("BLEVCORR"):
            raise InterruptedRunError("enough")

    with pytest.raises(InterruptedRunError):
        calibrate([exposure()], references, tmp_path, report=stop)
    assert not list(tmp_path.glob("*_flt.fits"))


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_make_no_difference(threads: int, shared_dir: Path, tmp_path: Path) -> None:
    golden = shared_dir / "golden" / "post_dth"
    raws = []
    for raw in sorted((golden / "data").glob("*_raw.fits")):
        with fits.open(raw) as hdus:
            text = (golden / "expected" / f"{raw.stem}_primary_after_bestrefs.txt").read_text().split("\n")
            hdus[0].header = fits.Header.fromstring("".join(line.ljust(80) for line in text))
            hdus[0].header["PCTECORR"] = "OMIT"
            raws.append(tmp_path / raw.name)
            hdus.writeto(raws[-1], output_verify="ignore")
    for path in calibrate(raws, golden / "crds" / "references" / "hst", tmp_path, threads=threads):
        mine, theirs = open_fits(path), open_fits(golden / "expected" / path.name)
        for name, version in (("SCI", 1), ("ERR", 2)):
            a, b = (pixels(f, hdu_of(f, name, version), np.float32) for f in (mine, theirs))
            assert a.tobytes() == b.tobytes()


def test_constant_planes_and_tables_are_read_as_their_cards_say(shared_dir: Path) -> None:
    raw = open_fits(shared_dir / "golden" / "pre_sub" / "data" / "j9sy01a1q_raw.fits")
    err = pixels(raw, hdu_of(raw, "ERR", 1), np.float32)
    assert err.shape == (116, 152)
    assert not err.any()
    folder = shared_dir / "golden" / "pre_sub" / "crds" / "references" / "hst"
    ccd = open_fits(next(folder.glob("*_ccd.fits")))
    with fits.open(ccd.path) as hdus:
        expected = hdus[1].data
        columns = table(ccd, ccd.hdus[1])
        assert set(columns) == set(expected.names)
        assert (columns["ATODGNC"] == expected["ATODGNC"]).all()


def test_tables_of_columns_that_vary_in_length_are_refused(tmp_path: Path) -> None:
    rows = fits.Column("A", "PD()", array=np.array([[1.0], [1.0, 2.0]], dtype=object))
    fits.BinTableHDU.from_columns([rows]).writeto(tmp_path / "x.fits")
    file = open_fits(tmp_path / "x.fits")
    with pytest.raises(EngineError, match=r"TFORM PD.*expected one of"):
        table(file, file.hdus[1])


def image_header(*more: str) -> bytes:
    cards = ["SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2"]
    cards += ["NAXIS1  =                    4", "NAXIS2  =                    3", *more, "END"]
    text = "".join(card.ljust(80) for card in cards)
    return text.ljust(-(-len(text) // 2880) * 2880).encode()


def empty_header() -> bytes:
    cards = ["XTENSION= 'IMAGE   '", "BITPIX  =                   16", "NAXIS   =                    0"]
    cards += ["PCOUNT  =                    0", "GCOUNT  =                    1", "END"]
    return "".join(card.ljust(80) for card in cards).ljust(2880).encode()


DATA = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_a_file_is_written_pixels_first_and_headers_last(tmp_path: Path) -> None:
    path, part = tmp_path / "x.fits", Part(image_header("OBJECT  = 'draft   '"), (3, 4), DATA.dtype)
    with Unfinished(path, [part]) as file:
        write = file.lines_of(0, DATA, 2)
        write(2, 3)
        write(0, 2)
        file.finish([replace(part, block=image_header("OBJECT  = 'done    '"))])
    assert (fits.getdata(path) == DATA).all()
    assert fits.getval(path, "OBJECT") == "done"
    assert path.stat().st_size == 5760


def test_headers_longer_than_drafted_and_planes_that_went_away_move_the_rest(tmp_path: Path) -> None:
    path, part = tmp_path / "x.fits", Part(image_header(), (3, 4), DATA.dtype)
    away = Part(empty_header(), (3, 4), np.dtype(np.int16))
    extension = image_header("PCOUNT  =                    0", "GCOUNT  =                    1")
    extension = extension.replace(b"SIMPLE  =                    T", b"XTENSION= 'IMAGE   '          ")
    last = Part(extension, (3, 4), DATA.dtype)
    with Unfinished(path, [part, away, last]) as file:
        for number, data in ((0, DATA), (1, DATA.astype(np.int16)), (2, DATA + 1)):
            file.lines_of(number, data, 3)(0, 3)
        longer = image_header(*(f"HISTORY {n}" for n in range(40)))
        file.finish([replace(part, block=longer), replace(away, shape=()), last])
    with fits.open(path) as hdus:
        assert (hdus[0].data == DATA).all()
        assert len(hdus[0].header["HISTORY"]) == 40
        assert hdus[1].data is None
        assert (hdus[2].data == DATA + 1).all()
    assert path.stat().st_size == 2880 * 6
    assert list(tmp_path.iterdir()) == [path]


def test_a_product_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.fits").write_bytes(b"mine")
    with pytest.raises(EngineError, match="product exists already"):
        Unfinished(tmp_path / "x.fits", [Part(image_header(), (3, 4), DATA.dtype)])
    assert (tmp_path / "x.fits").read_bytes() == b"mine"


def test_nothing_is_left_of_a_product_that_the_disk_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path, part = tmp_path / "x.fits", Part(image_header(), (3, 4), DATA.dtype)

    def fill() -> None:
        with Unfinished(path, [part]) as file:
            file.lines_of(0, DATA, 3)(0, 3)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left") as caught:
        fill()
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == []


def test_what_the_engine_can_do_is_said_without_loading_it() -> None:
    code = "import sys; import acsrecipe.engines.embedded.modes; print({*sys.modules} & {'numba', 'numpy', 'astropy'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
    assert {requirement.keyword for requirement in REQUIREMENTS} >= {"DETECTOR", "ATODCORR", "NAXIS2"}
    assert GROUPS == ("DTH", "CR", "RPT")
