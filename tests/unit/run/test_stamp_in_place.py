"""A stamp is written into the product's own place, and how the product was before can still be read."""

from __future__ import annotations

import os

import pytest

from acsrecipe.files import sha256_file
from acsrecipe.inputs.header import read_headers
from acsrecipe.run.stamp import CHUNK, Stamp, read_stamps, sha256_of_original, stamp_product

STAMP = Stamp((("ACSR_RCP", "night"), ("ACSR_SHA", "0" * 60)), (("x_raw.fits", "PRIMARY", *"KONkWa"),))


def make_product(path, cards, size):
    """A FITS file with as many cards in its primary header, and an image of that many bytes behind it."""
    primary = [b"SIMPLE  =                    T", b"BITPIX  =                    8", b"NAXIS   =                    0"]
    primary += [b"NEXTEND =                    1", b"EXTEND  =                    T"]
    primary += [b"FILLER%-2d=                    1" % number for number in range(cards - len(primary))]
    image = [b"XTENSION= 'IMAGE   '", b"BITPIX  =                    8", b"NAXIS   =                    1"]
    image += [b"NAXIS1  = %20d" % size, b"PCOUNT  =                    0", b"GCOUNT  =                    1"]
    image += [b"EXTNAME = 'SCI     '"]
    data = os.urandom(size)
    blocks = [b"".join(card.ljust(80) for card in (*header, b"END")) for header in (primary, image)]
    padded = [block.ljust(-(-len(block) // 2880) * 2880) for block in blocks]
    path.write_bytes(padded[0] + padded[1] + data.ljust(-(-size // 2880) * 2880, b"\0"))
    return data


@pytest.mark.parametrize("cards", [8, 30, 34, 35])
@pytest.mark.parametrize("size", [1, 2880, CHUNK - 2880, 2 * CHUNK + 5])
def test_data_stay_and_the_original_is_read_whether_or_not_the_header_needs_another_block(tmp_path, cards, size):
    path = tmp_path / "x_flt.fits"
    data = make_product(path, cards, size)
    before, inode, length = sha256_file(path), path.stat().st_ino, path.stat().st_size
    original = stamp_product(path, STAMP)
    assert path.stat().st_ino == inode
    assert sha256_of_original(path, original) == before
    headers = read_headers(path)
    assert headers[0].cards["ACSR_RCP"] == "night"
    assert [hdu.name for hdu in headers] == ["PRIMARY", "SCI", "ACSRECIPE"]
    grown = 2880 if cards + len(STAMP.cards) >= 36 else 0
    assert path.read_bytes()[2880 + grown + 2880 :][:size] == data
    assert path.stat().st_size == length + grown + 2 * 2880
    assert read_stamps(path)[0]["KEYWORD"] == "K"


def test_a_file_with_a_second_name_is_stamped_as_a_copy(tmp_path):
    path, other = tmp_path / "x_flt.fits", tmp_path / "theirs.fits"
    make_product(other, 10, 5000)
    path.hardlink_to(other)
    before = sha256_file(other)
    original = stamp_product(path, STAMP)
    assert sha256_file(other) == before == sha256_of_original(path, original)
    assert read_stamps(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["theirs.fits", "x_flt.fits"]
