"""Files that are not what their names say: named at once, with what was found and what was expected."""

from __future__ import annotations

import bz2
import gzip
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acsrecipe.errors import PlanError
from acsrecipe.inputs.archive import LocalFolder
from acsrecipe.inputs.association import read_association
from acsrecipe.inputs.header import read_headers, stage_edited

BLOCK = 2880


def _unit(*cards: str) -> bytes:
    text = "".join(f"{card:80}" for card in (*cards, "END"))
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


PRIMARY = (
    "SIMPLE  =                    T",
    "BITPIX  =                    8",
    "NAXIS   =                    0",
    "NEXTEND =                    2",
    "INSTRUME= 'ACS'",
)
SCI = (
    "XTENSION= 'IMAGE   '",
    "BITPIX  =                   16",
    "NAXIS   =                    2",
    "NAXIS1  =                  100",
    "NAXIS2  =                   50",
    "PCOUNT  =                    0",
    "GCOUNT  =                    1",
    "EXTNAME = 'SCI     '",
)
PIXELS = bytes(range(100)) * 100 + bytes(4 * BLOCK - 10000)
RAW = b"".join([_unit(*PRIMARY), _unit(*SCI, "EXTVER  = 1"), PIXELS, _unit(*SCI, "EXTVER  = 2"), PIXELS])
STARTS = (0, BLOCK, 2 * BLOCK + 4 * BLOCK)


def _error(path: Path) -> PlanError:
    with pytest.raises(PlanError) as caught:
        read_headers(path)
    assert caught.value.where == str(path)
    return caught.value


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / "j9l960a7q_raw.fits"
    path.write_bytes(RAW)
    return path


def test_the_file_itself_is_whole(raw: Path) -> None:
    assert [(hdu.name, hdu.version) for hdu in read_headers(raw)] == [("PRIMARY", 1), ("SCI", 1), ("SCI", 2)]


@pytest.mark.parametrize("blocks", range(1, len(RAW) // BLOCK))
def test_a_file_cut_at_any_block_is_named_truncated(raw: Path, blocks: int) -> None:
    os.truncate(raw, blocks * BLOCK)
    error = _error(raw)
    assert error.code == "I007"
    assert "is truncated" in error.message
    if blocks * BLOCK in (STARTS[1], STARTS[2]):
        assert f"NEXTEND = 2, but {STARTS.index(blocks * BLOCK) - 1} extensions" in error.message
    else:
        assert str(blocks * BLOCK) in error.message
    assert error.hint


@given(size=st.integers(min_value=0, max_value=len(RAW) - 1))
@settings(max_examples=150)
def test_a_file_cut_anywhere_is_never_taken_for_whole(tmp_path_factory: pytest.TempPathFactory, size: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut_raw.fits"
    path.write_bytes(RAW[:size])
    assert _error(path).code in ("I003", "I005", "I007", "I008")


def test_truncation_says_which_hdu_and_how_many_bytes(raw: Path) -> None:
    os.truncate(raw, len(RAW) - 1)
    assert _error(raw).message == (
        f"is truncated: HDU 2 (SCI,2) should end at byte {len(RAW)}, the file ends at {len(RAW) - 1}"
    )


@pytest.mark.parametrize("junk", [b"\0", b"junk", b"\0" * BLOCK, b" " * BLOCK * 3, _unit(*PRIMARY), b"XTENS"])
def test_bytes_behind_the_last_hdu_are_named(raw: Path, junk: bytes) -> None:
    raw.write_bytes(RAW + junk)
    error = _error(raw)
    assert error.code == "I008"
    assert error.message == f"has {len(junk)} bytes behind HDU 2, at byte {len(RAW)}, that are no extension"


@pytest.mark.parametrize(
    ("content", "code", "found"),
    [
        (b"", "I003", "is empty (0 bytes)"),
        (gzip.compress(RAW), "I004", "a gzip-compressed file"),
        (bz2.compress(RAW), "I004", "a bzip2-compressed file"),
        (b"\x1f\x9d\x90" + RAW, "I004", "a file packed by compress"),
        (b"PK\x03\x04 zip", "I004", "a ZIP archive"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "I005", "a web page"),
        (b"\n\n  <HTML>", "I005", "a web page"),
        (b"<?xml version='1.0'?><Error/>", "I005", "a web page"),
        (b'{"status": "ERROR"}', "I005", 'begins with \'{"status": "ERRO\''),
        (b"\0" * 10 * BLOCK, "I005", "all zeros"),
        (b"\x1b[31m\xff\xfe red", "I005", "of an unknown kind"),
        (b"SIMPLE  =                    F".ljust(BLOCK), "I005", "SIMPLE = F, expected T"),
        (b"SIMPLE  =                    T".ljust(BLOCK), "I007", "has no END"),
        (b"SIMPLE  =                    T".ljust(80) * 36 * 1001, "I006", "no END in the first"),
    ],
)
def test_what_is_no_plain_fits_file_is_named_by_its_kind(raw: Path, content: bytes, code: str, found: str) -> None:
    raw.write_bytes(content)
    error = _error(raw)
    assert error.code == code
    assert found in error.message
    assert "\x1b" not in str(error)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (b"BITPIX  =                   16", b"BITPIX  =                   17", "BITPIX = 17 in HDU 1"),
        (b"BITPIX  =                   16", b"BITPIX  = 'sixteen'           ", "BITPIX = 'sixteen'"),
        (b"NAXIS1  =                  100", b"NAXIS1  =                 -100", "NAXIS1 = -100"),
        (b"NAXIS1  =                  100", b"NAXIS3  =                  100", "NAXIS1 = None"),
        (b"NAXIS   =                    2", b"NAXIS   =                 2000", "NAXIS = 2000"),
        (b"NAXIS   =                    2", b"NAXIS   =                    T", "NAXIS = True"),
        (b"PCOUNT  =                    0", b"PCOUNT  =                  0.5", "PCOUNT = 0.5"),
        (b"EXTNAME = 'SCI     '", b"EXTNAME = 'S\x1bI     '", "the byte 0x1b"),
        (b"EXTNAME = 'SCI     '", b"EXTNAME = 'S\xe9I     '", "the byte 0xe9"),
    ],
)
def test_a_damaged_header_is_named_with_what_was_expected(raw: Path, old: bytes, new: bytes, found: str) -> None:
    raw.write_bytes(RAW.replace(old, new, 1))
    error = _error(raw)
    assert error.code == "I006"
    assert found in error.message
    assert "expected" in error.message


def test_sizes_beyond_any_disk_are_truncation_and_cost_nothing(raw: Path) -> None:
    raw.write_bytes(RAW.replace(b"NAXIS1  =                  100", b"NAXIS1  =   9223372036854775807", 1))
    assert _error(raw).code == "I007"


@pytest.mark.parametrize("keyword", ["ZIMAGE", "ZTABLE"])
def test_a_tile_compressed_image_is_named(raw: Path, keyword: str) -> None:
    raw.write_bytes(_unit(*PRIMARY) + _unit(*SCI, f"{keyword}  =                    T") + PIXELS)
    error = _error(raw)
    assert (error.code, "tile-compressed" in error.message) == ("I009", True)
    assert error.hint == "unpack it: funpack FILE"


def test_a_file_of_a_thousand_headers_is_refused_in_time(raw: Path) -> None:
    empty = _unit("XTENSION= 'IMAGE   '", "BITPIX  = 8", "NAXIS   = 0")
    raw.write_bytes(_unit(*PRIMARY) + empty * 5000)
    begin = time.monotonic()
    assert _error(raw).code == "I006"
    assert time.monotonic() - begin < 5


def test_what_is_no_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    server = socket.socket(socket.AF_UNIX)
    kinds = {
        "pipe": ("I002", "a pipe (FIFO)"),
        "loop": ("I001", "can't be read"),
        "folder": ("I002", "a folder"),
        "zero": ("I002", "a device"),
        "absent": ("I001", "No such file"),
        "sock": ("I002", "a socket"),
    }
    with server:
        before = Path.cwd()
        os.chdir(tmp_path)  # a socket's path may have 107 bytes only
        try:
            server.bind("sock")
        finally:
            os.chdir(before)
        begin = time.monotonic()
        for name, (code, found) in kinds.items():
            error = _error(tmp_path / name)
            assert (error.code, found in error.message) == (code, True), error.message
            with pytest.raises(PlanError):
                stage_edited(tmp_path / name, tmp_path / "staged.fits", [])
            with pytest.raises(PlanError):
                read_association(tmp_path / name)
        assert time.monotonic() - begin < 2
    assert not (tmp_path / "staged.fits").exists()


def test_what_can_not_be_staged_whole_is_not_staged(raw: Path, tmp_path: Path) -> None:
    os.truncate(raw, len(RAW) - 100)
    with pytest.raises(PlanError, match="is truncated"):
        stage_edited(raw, tmp_path / "staged.fits", [("PRIMARY", "PCTECORR", "OMIT")])
    assert not (tmp_path / "staged.fits").exists()


@given(content=st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: RAW[:BLOCK] + tail))
@settings(max_examples=200)
def test_no_bytes_ever_give_another_kind_of_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any_asn.fits"
    path.write_bytes(content)
    for read in (read_headers, read_association):
        with pytest.raises(PlanError):
            read(path)  # type: ignore[operator]


@given(
    at=st.integers(min_value=0, max_value=2 * BLOCK - 1),
    patch=st.binary(min_size=1, max_size=30)
    | st.text("0123456789-+.'TFED =/", min_size=1, max_size=30).map(str.encode),
)
@settings(max_examples=300)
def test_headers_with_any_bytes_changed_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, patch: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "patched_raw.fits"
    content = bytearray(RAW)
    content[at : at + len(patch)] = patch
    path.write_bytes(content[: len(RAW)])
    assert _outcome(path) in ("read", "I004", "I005", "I006", "I007", "I008", "I009")


def _outcome(path: Path) -> str | None:
    try:
        read_headers(path)
    except PlanError as error:
        return error.code
    return "read"


def test_an_archive_reports_bad_files_and_finds_the_good_ones(tmp_path: Path) -> None:
    (tmp_path / "j9l960a1q_raw.fits").write_bytes(RAW)
    (tmp_path / "j9l960a2q_raw.fits").write_bytes(RAW[:-BLOCK])
    os.mkfifo(tmp_path / "j9l960a3q_raw.fits")
    (tmp_path / "j9l960a4q_raw.fits").mkdir()
    found = LocalFolder(tmp_path, shown_as=".").find(["J9L960*"], products=("RAW",))
    assert [one.rootname for one in found.exposures] == ["j9l960a1q"]
    assert [(one.code, one.file) for one in found.observed] == [
        ("I007", "j9l960a2q_raw.fits"),
        ("I002", "j9l960a3q_raw.fits"),
        ("I002", "j9l960a4q_raw.fits"),
    ]
