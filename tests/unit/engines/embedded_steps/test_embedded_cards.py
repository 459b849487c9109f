"""Header cards are edited where they are, in HSTIO's formats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.engines.embedded import cards as header
from acsrecipe.errors import EngineError


def card(text: str) -> str:
    return text.ljust(80)


def test_numbers_are_rewritten_in_their_columns_and_keep_their_comment() -> None:
    cards = [card("DARKTIME=                500.0 / dark time (seconds)"), card("NGOODPIX=                    0")]
    header.put_float(cards, "DARKTIME", 503.0)
    header.put_integer(cards, "NGOODPIX", 23554)
    assert cards == [
        card("DARKTIME=        5.0300000E+02 / dark time (seconds)"),
        card("NGOODPIX=                23554"),
    ]


def test_text_is_rewritten_and_its_comment_moves_only_where_it_must() -> None:
    cards = [card("FILENAME= 'j9sy01a1q_raw.fits                    ' / name of file"), card("CAL_VER = '  ' / code")]
    header.put_text(cards, "FILENAME", "j9sy01a1q_flt.fits")
    header.put_text(cards, "CAL_VER", "a version of more than eighteen letters")
    assert cards[0] == card("FILENAME= 'j9sy01a1q_flt.fits' / name of file")
    assert cards[1] == card("CAL_VER = 'a version of more than eighteen letters' / code")


def test_new_cards_follow_the_last_one_that_is_not_blank() -> None:
    cards = [card("A       =                    1"), card(""), card("")]
    header.put_text(cards, "PHOTMODE", "ACS WFC1", "list of components")
    assert cards[1] == card("PHOTMODE= 'ACS WFC1'           / list of components")
    assert len(cards) == 3


def test_history_is_cut_at_72_letters() -> None:
    cards: header.Cards = []
    header.add_history(cards, "x" * 80)
    assert cards == [card("HISTORY " + "x" * 72), card("HISTORY " + "x" * 8)]


def test_structural_cards_are_not_copied_and_others_are() -> None:
    lines = [
        "SIMPLE  =                    T",
        "NAXIS1  =  3",
        "DATE    = '2026-01-01'",
        "DATE-OBS= '2006-03-06'",
        "NEXTEND = 6",
    ]
    assert header.copied(card(line) for line in lines) == [card(lines[3]), card(lines[4])]


def test_cutting_an_image_shifts_its_coordinates() -> None:
    cards = [card("CRPIX1  =                152.0"), card("LTV1    =                 24.0 / offset")]
    header.shift_origin(cards, 24, 0)
    assert cards == [card("CRPIX1  =   1.280000000000E+02"), card("LTV1    =        0.0000000E+00 / offset")]


def test_a_constant_plane_is_described_and_later_described_no_more() -> None:
    cards = [card("EXTNAME = 'DQ      '")]
    header.describe_constant(cards, 0, (96, 256))
    assert [c[:8].strip() for c in cards] == ["EXTNAME", "PIXVALUE", "NPIX1", "NPIX2"]
    assert header.integer(cards, "NPIX1") == 256
    header.describe_constant(cards, None, (96, 256))
    assert len(cards) == 1


def test_missing_and_wrong_values_are_named() -> None:
    cards = [card("EXPTIME = 'long'"), card("SUBARRAY=                    1")]
    with pytest.raises(EngineError, match="keyword DETECTOR is missing"):
        header.text(cards, "DETECTOR", where="x_raw.fits")
    with pytest.raises(EngineError, match="EXPTIME is 'long', expected a number"):
        header.number(cards, "EXPTIME")
    with pytest.raises(EngineError, match="SUBARRAY is 1, expected T or F"):
        header.truth(cards, "SUBARRAY")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_text_is_read_back_as_it_was_written(value: str) -> None:
    cards = [card("KEY     = 'old'               / a comment")]
    header.put_text(cards, "KEY", value)
    assert header.text(cards, "KEY") == value.rstrip()
    assert len(cards[0]) == 80


@given(st.floats(-(2.0**90), 2.0**90, width=32))
def test_single_precision_values_are_read_back_to_eight_digits(value: float) -> None:
    cards: header.Cards = []
    header.put_float(cards, "KEY", value, "comment")
    assert header.number(cards, "KEY") == pytest.approx(value, rel=1e-7)
    assert len(cards[0]) == 80


def test_headers_are_written_in_whole_blocks_and_without_leading_blanks() -> None:
    block = header.to_block(
        [card("SIMPLE  =                    T")], [card(""), card("A       =                    1")]
    )
    assert len(block) == 2880
    assert block[80:90] == b"A       = "
    assert block[160:163] == b"END"
