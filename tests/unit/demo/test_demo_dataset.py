"""The data set as a whole."""

import dataclasses
import hashlib

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.geometry import MINI, cut_windows
from acsrecipe.demo.modes import MODES
from acsrecipe.demo.rules import name_reference
from acsrecipe.errors import OutputError, UsageError
from acsrecipe.recipe.toml import load_recipe

SMALL = [name for name, mode in MODES.items() if not mode.true_size]


def digest(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("default") / "demo")


def test_the_default_is_the_notebooks_case(default):
    assert default.association == "j9l960010"
    assert default.rootnames == ("j9l960a7q", "j9l960a9q", "j9l960abq", "j9l960adq")
    rows = fits.getdata(default.data / "j9l960010_asn.fits", "ASN")
    assert list(rows["MEMNAME"]) == ["J9L960A7Q", "J9L960A9Q", "J9L960ABQ", "J9L960ADQ", "J9L960010"]
    assert list(rows["MEMTYPE"]) == ["EXP-DTH"] * 4 + ["PROD-DTH"]
    assert list(rows["MEMPRSNT"]) == [True] * 4 + [False]
    header = fits.getheader(default.data / "j9l960a7q_raw.fits")
    assert (header["PROPOSID"], header["PCTECORR"], header["SUBARRAY"]) == (10775, "PERFORM", False)
    assert header["DATE-OBS"] == "2006-03-13"
    delivered = {path.name for path in default.data.iterdir()}
    kinds = ("raw", "spt")
    assert delivered == {f"{r}_{k}.fits" for r in default.rootnames for k in kinds} | {"j9l960010_asn.fits"}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(default, tmp_path):
    again = make_dataset(tmp_path / "again", seed=1)
    other = make_dataset(tmp_path / "other", seed=2, exposures=1)
    assert digest(again.folder) == digest(default.folder)
    raw = "j9l960a7q_raw.fits"
    assert (other.data / raw).read_bytes() != (default.data / raw).read_bytes()


def test_an_exposure_does_not_depend_on_how_many_there_are(default, tmp_path):
    one = make_dataset(tmp_path / "one", exposures=1)
    name = "j9l960a7q_raw.fits"
    assert (one.data / name).read_bytes() == (default.data / name).read_bytes()


def test_raws_are_built_as_the_archives_are(default):
    with fits.open(default.data / "j9l960a7q_raw.fits", do_not_scale_image_data=True) as raw:
        raw.verify("exception")
        assert [(hdu.name, hdu.ver) for hdu in raw] == [
            ("PRIMARY", 1),
            *[(name, imset) for imset in (1, 2) for name in ("SCI", "ERR", "DQ")],
        ]
        assert [raw["SCI", n].header["CCDCHIP"] for n in (1, 2)] == [2, 1]
        assert raw["SCI", 1].header["BZERO"] == 32768
        for name in ("ERR", "DQ"):
            null = raw[name, 2].header
            assert (null["NAXIS"], null["BITPIX"], null["NPIX1"], null["NPIX2"], null["PIXVALUE"]) == (
                0,
                16,
                304,
                116,
                0,
            )
    sci = fits.getdata(default.data / "j9l960a7q_raw.fits", ("SCI", 1))
    assert sci.shape == (116, 304)
    assert np.median(sci[:, :20]) == pytest.approx(2237, abs=3)


def test_exposures_are_dithered(default):
    # A star that is seen in both exposures has one place on the sky.
    first, second = default.rootnames[:2]
    scenes = [fits.getdata(default.truth / f"{r}_truth.fits", ("SCI", 1)) for r in (first, second)]
    maps = [WCS(fits.getheader(default.data / f"{r}_raw.fits", ("SCI", 1))) for r in (first, second)]
    inner = scenes[0][10:-10, 10:-10]
    row, column = (index + 10 for index in np.unravel_index(inner.argmax(), inner.shape))
    # The RAW has 24 columns of overscan in front of what the truth shows.
    x, y = maps[1].world_to_pixel(maps[0].pixel_to_world(column + 24, row))
    assert np.hypot(x - column - 24, y - row) == pytest.approx(np.hypot(5.3, 2.6), abs=0.1)
    there = scenes[1][round(float(y)) - 1 : round(float(y)) + 2, round(float(x)) - 25 : round(float(x)) - 22]
    assert there.max() > 0.5 * inner.max()


@pytest.fixture(scope="module", params=SMALL)
def of_mode(request, tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp(request.param) / "demo", mode=request.param, exposures=1)


def test_every_small_mode_reads_the_window_that_its_tables_describe(of_mode):
    dataset, mode = of_mode, MODES[of_mode.mode]
    assert not dataset.full_frame
    table = fits.getdata(dataset.crds / "references" / "hst" / name_reference("OSCNTAB", 1))
    ccd = fits.getdata(dataset.crds / "references" / "hst" / name_reference("CCDTAB", 1))
    raw = dataset.data / f"{dataset.rootnames[0]}_raw.fits"
    header = fits.getheader(raw)
    assert header["IMAGETYP"] == mode.imagetyp
    for number, window in enumerate(cut_windows(MINI, mode.ccdamp, mode.readout), 1):
        pixels = fits.getdata(raw, ("SCI", number))
        assert pixels.shape == (window.ny, window.nx)
        rows = [
            row
            for row in table
            if (row["CCDAMP"], row["CCDCHIP"], row["NX"], row["NY"]) == (mode.ccdamp, window.chip, window.nx, window.ny)
        ]
        assert len(rows) == 1
        trimmed = (
            window.ny - rows[0]["TRIMY1"] - rows[0]["TRIMY2"],
            window.nx - rows[0]["TRIMX1"] - rows[0]["TRIMX2"],
        )
        assert fits.getdata(dataset.truth / f"{dataset.rootnames[0]}_truth.fits", ("SCI", number)).shape == trimmed
        gains = [row["CCDGAIN"] for row in ccd if (row["CCDAMP"], row["CCDCHIP"]) == (header["CCDAMP"], window.chip)]
        assert gains.count(np.float32(header["CCDGAIN"])) == 1


def test_the_recipe_of_every_mode_is_one(of_mode):
    dataset = of_mode
    recipe = load_recipe(dataset.recipe).recipe
    assert recipe.references.context == dataset.contexts[1]
    expected = [dataset.association] if dataset.association else list(dataset.rootnames)
    assert [i.lower() for i in recipe.observations.ids] == expected
    if MODES[dataset.mode].imagetyp == "EXT":
        assert recipe.switches == {"PCTECORR": "PERFORM" if MODES[dataset.mode].traps else "OMIT"}
        assert [step.step for step in recipe.post] == ["updatewcs", "compare-plot"]


def test_oscntab_rows_are_unambiguous(default):
    table = fits.getdata(default.crds / "references" / "hst" / name_reference("OSCNTAB", 1))
    keys = [(row["CCDAMP"], row["CCDCHIP"], row["NX"], row["NY"]) for row in table]
    assert len(set(keys)) == len(keys)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not empty"):
        make_dataset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_mode_is_a_usage_error_that_lists_the_modes(tmp_path):
    with pytest.raises(UsageError, match="no mode 'pre_dht'") as caught:
        make_dataset(tmp_path / "demo", mode="pre_dht")
    assert "pre_dth" in caught.value.hint
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("count", [0, 99])
def test_a_senseless_number_of_exposures_is_refused(tmp_path, count):
    with pytest.raises(UsageError, match=f"{count} exposures"):
        make_dataset(tmp_path / "demo", exposures=count)


def test_modes_are_plain_data_and_within_the_tables():
    for name, mode in MODES.items():
        assert dataclasses.is_dataclass(mode)
        assert mode.summary.startswith("20"), name
        assert 52334 < mode.expstart < 58500, "IMPHTTAB ends there"
