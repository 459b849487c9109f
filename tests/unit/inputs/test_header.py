"""Headers: read as astropy reads them, edited without touching anything else."""

from __future__ import annotations

import gzip
import hashlib
import os
import warnings
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from acsrecipe import files
from acsrecipe.errors import IntegrityError, OutputError, PlanError
from acsrecipe.inputs import cards as fits_cards
from acsrecipe.inputs.header import diff_headers, read_headers, stage_edited

fits = pytest.importorskip("astropy.io.fits")

BLOCK = 2880
TEXTS = st.text(alphabet=[chr(code) for code in range(32, 127)], max_size=68).filter(
    lambda text: len(text) + text.count("'") <= 68 and text == text.rstrip() and not text.endswith("&")
)
VALUES = (
    TEXTS
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
KEYWORDS = st.sampled_from(["PCTECORR", "DARKFILE", "CCDGAIN", "NEWKEY", "A-B_9", "TWICE", "FREE", "UNDEF"])


def _card(text: str) -> bytes:
    assert len(text) <= 80, text
    return f"{text:80}".encode("ascii")


def _block(cards: list[bytes], fill: bytes = b" ") -> bytes:
    data = b"".join(cards)
    return data + fill * (-len(data) % BLOCK)


FIRST = [
    _card("SIMPLE  =                    T / conforms"),
    _card("BITPIX  =                    8"),
    _card("NAXIS   =                    0"),
    _card("EXTEND  =                    T"),
    _card("INSTRUME= 'ACS     '           / identifier"),
    _card("PCTECORR= 'PERFORM '           / cte correction"),
    _card("TWICE   =                    1 / the first counts"),
    _card("              / CALIBRATION REFERENCE FILES"),
    _card(""),
    _card("TWICE   =                    2 / the second does not"),
    _card("HISTORY PCTECORR= 'not a card'"),
    _card("COMMENT = 'not a value either'"),
    _card("FREE    = 'it''s' / free format, no padding"),
    _card("UNDEF   =                      / no value"),
    _card("DARKFILE= 'N/A                    ' / dark image; comment that fills up the card"),
    _card("LONGTEXT= 'this is continued &'"),
    _card("CONTINUE  'over two cards' / its comment"),
    _card("HIERARCH ESO INS NAME = 'not for calacs'"),
]
SCI = [
    _card("XTENSION= 'IMAGE   '           / extension type"),
    _card("BITPIX  =                   16"),
    _card("NAXIS   =                    2"),
    _card("NAXIS1  =                  256"),
    _card("NAXIS2  =                  256"),
    _card("PCOUNT  =                    0"),
    _card("GCOUNT  =                    1"),
    _card("EXTNAME = 'SCI     '"),
    _card("BSCALE  =                  1.0"),
    _card("BZERO   =              32768.0"),
    _card("CCDGAIN =                  2.0 / gain"),
    _card("EXPTIME =   5.237776152356E+04"),
    _card("DEXP    =               1.5D+3"),
]
ALL_VALUES = b"".join(number.to_bytes(2, "big") for number in range(65536))
"""Data of all 65 536 values of a 16-bit pixel."""


def _fits(extra: int = 0) -> bytes:
    """Build a file: a primary header of ``extra`` more cards, and two SCI of 256 x 256 unsigned 16-bit pixels."""
    primary = [*FIRST, *(_card(f"K{number:07d}=                    {number % 10}") for number in range(extra))]
    end = _card("END")
    data = ALL_VALUES + b"\0" * (-len(ALL_VALUES) % BLOCK)
    parts = [_block([*primary, end])]
    for version in (1, 2):
        parts += [_block([*SCI, _card(f"EXTVER  = {version:20}"), end]), data]
    return b"".join(parts)


def _cards_of(path: Path, hdu: int) -> list[bytes]:
    """Read the cards of an HDU as they are, END left out, by astropy's idea of where they are."""
    with fits.open(path) as hdus:
        start, stop = hdus[hdu]._header_offset, hdus[hdu]._data_offset
    raw = path.read_bytes()[start:stop]
    found = [raw[at : at + 80] for at in range(0, len(raw), 80)]
    return found[: found.index(_card("END"))]


def _data_of(path: Path) -> list[bytes]:
    with fits.open(path) as hdus:
        places = [(hdu._data_offset, hdu._data_offset + hdu._data_size) for hdu in hdus]
    content = path.read_bytes()
    return [content[start:stop] for start, stop in places]


def _same_as_astropy(path: Path) -> int:
    """Compare all values with astropy's; give how many were compared."""
    count = 0
    with warnings.catch_warnings(), fits.open(path) as hdus:
        warnings.simplefilter("ignore")
        ours = read_headers(path)
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in hdus]
        assert [hdu.version for hdu in ours] == [hdu.ver for hdu in hdus]
        for mine, theirs in zip(ours, hdus, strict=True):
            for keyword, value in mine.cards.items():
                other = theirs.header[keyword]
                other = None if isinstance(other, fits.card.Undefined) else other
                assert (keyword, type(value), value) == (keyword, type(other), other)
                count += 1
    return count


def test_synthetic_headers_read_as_astropy_reads_them(tmp_path: Path) -> None:
    (tmp_path / "x.fits").write_bytes(_fits(3))
    assert _same_as_astropy(tmp_path / "x.fits") > 40
    primary = read_headers(tmp_path / "x.fits")[0].cards
    assert primary["TWICE"] == 1
    assert primary["FREE"] == "it's"
    assert primary["UNDEF"] is None
    assert primary["LONGTEXT"] == "this is continued over two cards"
    assert not {"HISTORY", "COMMENT", "HIERARCH", "CONTINUE", ""} & primary.keys()


def test_real_hrc_raw_headers_read_as_astropy_reads_them(shared_dir: Path) -> None:
    raws = sorted((shared_dir / "real" / "raw_hrc").glob("*_raw.fits"))
    assert [_same_as_astropy(raw) for raw in raws] == [295, 295, 295]
    assert [hdu.name for hdu in read_headers(raws[0])] == ["PRIMARY", "SCI", "ERR", "DQ"]


def test_a_real_wfc_flt_reads_as_astropy_reads_it(shared_dir: Path, tmp_path: Path) -> None:
    packed = next((shared_dir / "real" / "flt_wfc").glob("*.fits.gz"))
    (tmp_path / "x_flt.fits").write_bytes(gzip.decompress(packed.read_bytes()))
    assert _same_as_astropy(tmp_path / "x_flt.fits") > 300


def test_reading_headers_reads_no_data_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(_fits())
    asked: list[tuple[int, int]] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: asked.append((at, size)) or pread(fd, size, at))
    read_headers(path)
    assert sum(size for _, size in asked) < 130_000 < path.stat().st_size


@given(field=VALUES)
def test_any_value_written_on_a_card_reads_back_the_same_here_and_in_astropy(field: object) -> None:
    card = fits_cards.write_card("KEYWORD", field)  # type: ignore[arg-type]
    assert len(card) == 80
    value = fits_cards.parse_value(fits_cards.split_card(card)[0])
    assert (type(value), value) == (type(field), field)
    theirs = fits.Card.fromstring(card)
    theirs.verify("exception")
    assert (type(theirs.value), theirs.value) == (type(field), field)


@given(text=TEXTS, comment=st.text(alphabet=[chr(code) for code in range(33, 127)], max_size=40), value=VALUES)
def test_a_replaced_card_keeps_as_much_of_its_comment_as_fits(text: str, comment: str, value: object) -> None:
    assume(comment.strip("/ "))
    start = f"KEYWORD = '{text.replace(chr(39), chr(39) * 2):8}' / {comment}"[:80]
    old = _card(start)
    new = fits_cards.write_card("KEYWORD", value, like=old)  # type: ignore[arg-type]
    assert len(new) == 80
    kept_old = old[fits_cards.split_card(old)[1] :].decode().strip()
    field, slash = fits_cards.split_card(new)
    assert fits_cards.parse_value(field) == value
    kept_new = new[slash:].decode().strip()
    assert kept_old.startswith(kept_new)
    assert kept_new == kept_old or len(new.rstrip()) >= 78 or not kept_new.strip("/ ")


EDITS = st.lists(st.tuples(st.sampled_from(["PRIMARY", "SCI", "SCI,1", "SCI,2"]), KEYWORDS, VALUES), max_size=6)


@given(extra=st.integers(min_value=0, max_value=56), edits=EDITS)
@settings(max_examples=60)
def test_an_edit_keeps_data_and_untouched_cards_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, extra: int, edits: list[tuple[str, str, object]]
) -> None:
    folder = tmp_path_factory.mktemp("edit")
    source, target = folder / "raw.fits", folder / "staged.fits"
    source.write_bytes(_fits(extra))
    before = source.read_bytes()
    assert stage_edited(source, target, edits) == hashlib.sha256(before).hexdigest()  # type: ignore[arg-type]
    assert source.read_bytes() == before
    assert _data_of(target) == _data_of(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, label in enumerate(["PRIMARY", "SCI,1", "SCI,2"]):
            mine = {k: v for hdu, k, v in edits if hdu in (label, label.split(",")[0])}
            old, new = _cards_of(source, number), _cards_of(target, number)
            assert [c for c in new if not _named(c, mine)] == [c for c in old if not _named(c, mine)]
            keywords = [fits_cards.keyword_of(card) for card in old]
            added = [k for k in mine if k not in keywords]
            assert [fits_cards.keyword_of(card) for card in new] == keywords + added
            header = read_headers(target)[number].cards
            assert {k: header[k] for k in mine} == mine
            seconds = [card for card in new if card.startswith(b"TWICE")][1:]
            assert seconds == [card for card in old if card.startswith(b"TWICE")][1:]
    assert target.stat().st_size % BLOCK == 0
    with fits.open(target) as hdus:
        hdus.verify("silentfix")
        assert len(hdus) == 3


def _named(card: bytes, keywords: dict[str, object]) -> bool:
    return fits_cards.keyword_of(card) in keywords


@pytest.mark.parametrize(("extra", "blocks"), [(16, (1, 1)), (17, (1, 2)), (18, (2, 2))])
def test_a_header_grows_by_a_block_only_where_end_no_longer_fits(
    tmp_path: Path, extra: int, blocks: tuple[int, int]
) -> None:
    # 18 cards and END leave room for 17 more in the first block of 36.
    source, target = tmp_path / "raw.fits", tmp_path / "staged.fits"
    source.write_bytes(_fits(extra))
    stage_edited(source, target, [("PRIMARY", "NEWKEY", "x")])
    with fits.open(source) as old, fits.open(target) as new:
        found = old[0]._data_offset // BLOCK, new[0]._data_offset // BLOCK
    assert found == blocks
    assert target.stat().st_size - source.stat().st_size == (blocks[1] - blocks[0]) * BLOCK


def test_no_edits_or_edits_that_change_nothing_give_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "raw.fits"
    source.write_bytes(_fits(5))
    stage_edited(source, tmp_path / "a.fits", [])
    stage_edited(source, tmp_path / "b.fits", [("PRIMARY", "PCTECORR", "PERFORM"), ("SCI", "CCDGAIN", 2.0)])
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes() == source.read_bytes()


def test_replacing_a_continued_text_takes_its_continuation_away(tmp_path: Path) -> None:
    source, target = tmp_path / "raw.fits", tmp_path / "staged.fits"
    source.write_bytes(_fits())
    stage_edited(source, target, [("PRIMARY", "LONGTEXT", "short")])
    assert read_headers(target)[0].cards["LONGTEXT"] == "short"
    assert not [card for card in _cards_of(target, 0) if card.startswith(b"CONTINUE")]


def test_a_switch_is_edited_in_place_with_its_comment(tmp_path: Path) -> None:
    source, target = tmp_path / "raw.fits", tmp_path / "staged.fits"
    source.write_bytes(_fits())
    edits = [
        ("PRIMARY", "PCTECORR", "OMIT"),
        ("PRIMARY", "DARKFILE", "jref$a_long_name_of_ours_drk.fits"),
        ("PRIMARY", "UNDEF", 1e-17),
        ("PRIMARY", "TWICE", True),
        ("PRIMARY", "NEWKEY", -7),
    ]
    stage_edited(source, target, edits)
    found = [card.decode() for card in _cards_of(target, 0)]
    assert found[5] == "PCTECORR= 'OMIT    '           / cte correction".ljust(80)
    assert found[6] == f"{'TWICE   =                    T / the first counts':80}"
    assert found[13] == f"{'UNDEF   =              1.0E-17 / no value':80}"
    assert (
        found[14] == "DARKFILE= 'jref$a_long_name_of_ours_drk.fits' / dark image; comment that fills up the card"[:80]
    )
    assert found[-1] == f"{'NEWKEY  =                   -7':80}"


@given(edits=EDITS, extra=st.integers(min_value=0, max_value=40))
@settings(max_examples=40)
def test_checksums_stay_valid(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, str, object]], extra: int
) -> None:
    folder = tmp_path_factory.mktemp("sum")
    plain, source, target = folder / "plain.fits", folder / "raw.fits", folder / "staged.fits"
    plain.write_bytes(_fits(extra))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(plain, do_not_scale_image_data=True) as hdus:
            hdus.writeto(source, checksum=True)
        stage_edited(source, target, edits)  # type: ignore[arg-type]
        assert read_headers(target)[1].cards["DATASUM"] == read_headers(source)[1].cards["DATASUM"]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="(Checksum|Datasum) verification failed")
        warnings.filterwarnings("ignore", category=fits.verify.VerifyWarning)
        with fits.open(target, checksum=True) as hdus:
            assert all("CHECKSUM" in hdu.header for hdu in hdus)


def test_an_edit_does_not_hide_damaged_data(tmp_path: Path) -> None:
    plain, source, target = (tmp_path / name for name in ("plain.fits", "raw.fits", "staged.fits"))
    plain.write_bytes(_fits())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(plain, do_not_scale_image_data=True) as hdus:
            hdus.writeto(source, checksum=True)
    content = bytearray(source.read_bytes())
    content[-3000] ^= 4
    source.write_bytes(content)
    stage_edited(source, target, [("SCI", "CCDGAIN", 1.0)])
    with pytest.warns(
        fits.verify.AstropyUserWarning, match=r"(Checksum|Datasum) verification failed for HDU \('SCI', 2\)"
    ):
        fits.open(target, checksum=True).close()


def test_an_empty_checksum_card_stays_as_it_is(tmp_path: Path) -> None:
    source, target = tmp_path / "raw.fits", tmp_path / "staged.fits"
    source.write_bytes(
        _fits().replace(_card("EXTEND  =                    T"), _card("CHECKSUM= '        ' / undefined"), 1)
    )
    stage_edited(source, target, [("PRIMARY", "PCTECORR", "OMIT")])
    assert _card("CHECKSUM= '        ' / undefined") in _cards_of(target, 0)


@pytest.mark.parametrize(
    ("keyword", "value", "found"),
    [
        ("DARKFILE", "x" * 69, "69 characters"),
        ("DARKFILE", "'" * 35, "70 characters"),
        ("DARKFILE", "new\nline", "not printable ASCII"),
        ("DARKFILE", "\x1b[31m", "not printable ASCII"),
        ("DARKFILE", "µ", "not printable ASCII"),
        ("CCDGAIN", float("nan"), "number nan"),
        ("CCDGAIN", float("-inf"), "number -inf"),
        ("CCDGAIN", 10**40, "64-bit"),
        ("NINECHARS", 1, "not a keyword"),
        ("lower", 1, "not a keyword"),
        ("ESO INS", 1, "not a keyword"),
        ("", 1, "not a keyword"),
        ("HISTORY", "x", "not a keyword"),
        ("HIERARCH", "x", "not a keyword"),
        ("CONTINUE", "x", "not a keyword"),
        ("END", "x", "not a keyword"),
        ("NAXIS1", 3, "laid out"),
        ("SIMPLE", False, "laid out"),
        ("BITPIX", 8, "laid out"),
        ("BZERO", 0.0, "laid out"),
        ("CHECKSUM", "0" * 16, "laid out"),
    ],
)
def test_edits_that_no_card_can_hold_are_refused_and_leave_no_file(
    tmp_path: Path, keyword: str, value: object, found: str
) -> None:
    source, target = tmp_path / "raw.fits", tmp_path / "staged.fits"
    source.write_bytes(_fits())
    with pytest.raises(PlanError, match=found) as error:
        stage_edited(source, target, [("PRIMARY", keyword, value)])  # type: ignore[list-item]
    assert error.value.code == "I010"
    assert error.value.where == str(source)
    assert not target.exists()


def test_an_unknown_hdu_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "raw.fits").write_bytes(_fits())
    with pytest.raises(PlanError, match="no HDU 'SCI,3' in which to set A: found PRIMARY SCI,1 SCI,2") as error:
        stage_edited(tmp_path / "raw.fits", tmp_path / "staged.fits", [("SCI,3", "A", 1)])
    assert error.value.code == "I011"


def test_staging_never_touches_what_is_linked_to_the_original(tmp_path: Path) -> None:
    source, hard, target = tmp_path / "raw.fits", tmp_path / "hard.fits", tmp_path / "staged.fits"
    source.write_bytes(_fits())
    hard.hardlink_to(source)
    before = hashlib.sha256(hard.read_bytes()).hexdigest()
    stage_edited(source, target, [("PRIMARY", "PCTECORR", "OMIT")])
    assert files.sha256_file(hard) == before
    with pytest.raises(OutputError, match="exists already"):
        stage_edited(source, hard, [("PRIMARY", "PCTECORR", "OMIT")])
    (tmp_path / "link.fits").symlink_to("raw.fits")
    with pytest.raises(OutputError, match="exists already"):
        stage_edited(source, tmp_path / "link.fits", [])
    assert files.sha256_file(hard) == before


def test_a_source_that_shrinks_while_it_is_staged_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "raw.fits", tmp_path / "staged.fits"
    source.write_bytes(_fits())
    copy = files.copy_range

    def shrink(*args: object) -> None:
        os.truncate(source, BLOCK)
        copy(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(files, "copy_range", shrink)
    with pytest.raises(IntegrityError, match=r"bytes early|changed while"):
        stage_edited(source, target, [])
    assert not target.exists()


def test_real_raw_edited_differs_in_the_named_cards_only(shared_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "real" / "raw_hrc" / "j8bt05njq_raw.fits"
    target = tmp_path / source.name
    edits = [("PRIMARY", "BIASFILE", "jref$abc1234ej_bia.fits"), ("PRIMARY", "CRDS_CTX", "hst_0729.pmap")]
    stage_edited(source, target, edits)
    old, new = source.read_bytes(), target.read_bytes()
    assert _data_of(source) == _data_of(target)
    differing = [at // 80 for at in range(0, len(new), 80) if old[at : at + 80] != new[at : at + 80]]
    assert len(old) == len(new)
    assert len(differing) == 3  # BIASFILE; CRDS_CTX where END was; END one card further
    changes = diff_headers(read_headers(source)[0].cards, read_headers(target)[0].cards)
    assert [change[0] for change in changes] == ["BIASFILE", "CRDS_CTX"]
