"""The judge of products."""

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.demo.truth import compare_with_truth, write_truth
from acsrecipe.errors import IntegrityError


def write_product(path, sci, err, dq):
    hdus = [fits.PrimaryHDU()]
    for number, (a, b, c) in enumerate(zip(sci, err, dq, strict=True), 1):
        hdus += [fits.ImageHDU(a, name="SCI", ver=number), fits.ImageHDU(b, name="ERR", ver=number)]
        hdus.append(fits.ImageHDU(c, name="DQ", ver=number))
    fits.HDUList(hdus).writeto(path)


@pytest.fixture
def folders(tmp_path):
    products, truth = tmp_path / "products", tmp_path / "truth"
    products.mkdir()
    truth.mkdir()
    return products, truth


def make_pair(folders, *, offset=0.0, factor=1.0, suffix="flt", shape=(100, 120)):
    products, truth = folders
    rng = np.random.default_rng(3)
    expected = [np.full(shape, 200.0, dtype=np.float32) for _ in range(2)]
    hit = [np.zeros(shape, dtype=bool) for _ in range(2)]
    err = [np.full(shape, 15.0, dtype=np.float32) for _ in range(2)]
    sci = [(e + offset + factor * 15.0 * rng.standard_normal(shape)).astype(np.float32) for e in expected]
    dq = [np.zeros(shape, dtype=np.int16) for _ in range(2)]
    # What must not count: a flagged pixel and a cosmic ray, both far off.
    sci[0][1, 1], dq[0][1, 1] = 1e6, 16
    sci[1][2, 2], hit[1][2, 2] = 1e6, True
    write_product(products / f"j9l960a7q_{suffix}.fits", sci, err, dq)
    write_truth(truth / "j9l960a7q_truth.fits", list(zip(expected, hit, strict=True)))


def test_a_true_product_agrees(folders):
    make_pair(folders)
    (verdict,) = compare_with_truth(*folders)
    assert (verdict.rootname, verdict.product, verdict.n_pixels) == ("j9l960a7q", "flt", 2 * 12000 - 2)
    assert verdict.mean == pytest.approx(0, abs=0.03)
    assert verdict.std == pytest.approx(1, abs=0.02)
    assert verdict.agrees


@pytest.mark.parametrize(("offset", "factor"), [(3.0, 1.0), (-3.0, 1.0), (0.0, 1.2), (0.0, 0.8)])
def test_an_offset_or_wrong_errors_do_not_agree(folders, offset, factor):
    make_pair(folders, offset=offset, factor=factor)
    (verdict,) = compare_with_truth(*folders)
    assert not verdict.agrees


def test_a_product_that_can_not_be_judged_is_left_out(folders):
    make_pair(folders)
    products, _ = folders
    (products / "j9l960a7q_flc.fits").write_bytes((products / "j9l960a7q_flt.fits").read_bytes())
    (products / "j9l960zzq_flt.fits").write_bytes((products / "j9l960a7q_flt.fits").read_bytes())
    assert [v.product for v in compare_with_truth(*folders)] == ["flt"]


def test_nothing_to_compare_is_an_error_and_not_a_success(folders):
    with pytest.raises(IntegrityError, match="no product can be compared: found 0"):
        compare_with_truth(*folders)


def test_another_shape_is_an_error(folders):
    make_pair(folders)
    products, truth = folders
    write_truth(truth / "j9l960a7q_truth.fits", [(np.zeros((4, 5), np.float32), np.zeros((4, 5), bool))] * 2)
    with pytest.raises(IntegrityError, match=r"SCI,1 is \(100, 120\), its truth \(4, 5\)"):
        compare_with_truth(products, truth)
