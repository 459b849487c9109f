"""Where the pixels of a readout are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.demo.geometry import FULL, MINI, VIRTUAL, Geometry, cut_windows

READOUTS = ("2K", "1K", "512", "old-2K", "old-1K", "old-512")


@pytest.mark.parametrize(
    ("amp", "readout", "shape", "ltv"),
    [
        # Sizes and LTV as real bias files have them (CRDS rules for BIASFILE).
        ("B", "old-2K", (2046, 2070), (-2048, -1)),
        ("A", "old-2K", (2046, 2070), (22, -1)),
        ("C", "old-2K", (2046, 2070), (22, -1)),
        ("B", "old-1K", (1024, 1046), (-3072, -1023)),
        ("B", "old-512", (512, 534), (-3584, -1535)),
        ("A", "2K", (2068, 2072), (24, 20)),
        ("C", "2K", (2068, 2072), (24, 0)),
        ("D", "1K", (1024, 2072), (-2048, 0)),
        ("A", "512", (512, 2072), (24, -1536)),
    ],
)
def test_a_subarray_has_the_size_and_the_offset_of_flight(amp, readout, shape, ltv):
    (window,) = cut_windows(FULL, amp, readout)
    assert (window.ny, window.nx) == shape
    assert window.ltv == ltv


def test_a_full_frame_is_chip_2_first_with_overscans_all_around():
    chip2, chip1 = cut_windows(FULL, "ABCD", "full")
    assert (chip2.chip, chip2.amps, chip2.ltv, chip2.trim) == (2, "CD", (24, 0), (24, 24, 0, 20))
    assert (chip1.chip, chip1.amps, chip1.ltv, chip1.trim) == (1, "AB", (24, 20), (24, 24, 20, 0))
    assert (chip1.ny, chip1.nx) == (2068, 4144)


def test_unused_bias_sections_are_1_and_not_0():
    (left,) = cut_windows(FULL, "A", "2K")
    (right,) = cut_windows(FULL, "B", "2K")
    assert left.bias_sections == (19, 24, 1, 1)
    assert right.bias_sections == (1, 1, 2049, 2054)


@given(
    amp=st.sampled_from("ABCD"),
    readout=st.sampled_from(READOUTS),
    geometry=st.builds(Geometry, st.integers(8, 300).map(lambda n: 4 * n), st.integers(8, 300).map(lambda n: 4 * n)),
)
def test_what_is_left_after_trimming_are_the_lit_pixels(amp, readout, geometry):
    (window,) = cut_windows(geometry, amp, readout)
    rows, columns = window.lit
    left, right, below, above = window.trim
    assert rows.stop - rows.start == window.ny - below - above
    assert columns.stop - columns.start == window.nx - left - right
    ny, nx = geometry.chip_shape
    assert 0 <= rows.start < rows.stop <= ny
    assert 0 <= columns.start < columns.stop <= nx
    # A pixel of the chip has the same place whichever way one goes.
    first_lit_row = VIRTUAL if window.chip == 1 else 0
    assert rows.start + first_lit_row == window.y0 + below
    assert columns.start + 24 == window.x0 + left


def test_two_amplifiers_read_a_chip_each_where_ccdamp_says_so():
    chip2, chip1 = cut_windows(MINI, "AD", "full")
    assert (chip2.amps, chip1.amps) == ("D", "A")
    assert chip2.amp_columns() == (("D", slice(0, 304)),)
