"""The demo before the real calacs.e: it accepts every mode, and what it makes agrees with the truth."""

import shutil
import subprocess

import pytest
from astropy.io import fits

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.headers import switches
from acsrecipe.demo.modes import MODES
from acsrecipe.demo.rules import choose_references
from acsrecipe.demo.truth import compare_with_truth

pytestmark = pytest.mark.calacs

SMALL = [name for name, mode in MODES.items() if not mode.true_size]
LARGE = [name for name, mode in MODES.items() if mode.true_size]


def calibrate(dataset, executable, folder, *, edition=2, pctecorr="OMIT"):
    """Do by hand what a recipe does: stage, filter, set the switch, point at the references, run."""
    mode = MODES[dataset.mode]
    wanted = {**switches(mode)}
    if mode.imagetyp == "EXT":
        wanted["PCTECORR"] = pctecorr
    shutil.copytree(dataset.data, folder)
    (folder / "ref").symlink_to(dataset.crds / "references" / "hst")
    for rootname in dataset.rootnames:
        with fits.open(folder / f"{rootname}_raw.fits", mode="update", memmap=False) as raw:
            raw[0].header.update({**wanted, **choose_references(wanted, mode, edition)})
    inputs = [f"{rootname}_raw.fits" for rootname in dataset.rootnames]
    if dataset.association:
        inputs = [f"{dataset.association}_asn.fits"]
        with fits.open(folder / inputs[0], mode="update") as asn:
            if mode.member == "EXP-DTH":
                asn["ASN"].data = asn["ASN"].data[asn["ASN"].data["MEMTYPE"] == "EXP-DTH"]
    for name in inputs:
        done = subprocess.run(
            [str(executable), name],
            cwd=folder,
            env={"jref": "ref/"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:]
    return folder


@pytest.mark.parametrize("name", [*SMALL, *[pytest.param(n, marks=pytest.mark.slow) for n in LARGE]])
def test_calacs_makes_the_truth_of_every_mode(name, tmp_path, calacs_exe):
    dataset = make_dataset(tmp_path / "demo", mode=name, exposures=1 if MODES[name].true_size else None)
    products = calibrate(dataset, calacs_exe, tmp_path / "run")
    verdicts = compare_with_truth(products, dataset.truth)
    expected = {(rootname, "flt") for rootname in dataset.rootnames}
    if MODES[name].member in ("EXP-CRJ", "EXP-RPT"):
        # For WFC, repeated exposures are combined as CR-SPLITs are.
        expected.add((dataset.association, "crj"))
    assert {(verdict.rootname, verdict.product) for verdict in verdicts} == expected
    # Where charge was trailed, trails are what has to be there: nothing corrects them here.
    assert all(verdict.is_as_it_should_be for verdict in verdicts), verdicts
    assert all(verdict.agrees for verdict in verdicts) or MODES[name].traps
    for rootname in dataset.rootnames:
        header = fits.getheader(products / f"{rootname}_flt.fits")
        done = {key for key, value in switches(MODES[name]).items() if value == "PERFORM"}
        for key in done - {"DRIZCORR", "PCTECORR", "CRCORR", "RPTCORR", "EXPSCORR"}:
            assert header[key] == "COMPLETE", key


@pytest.mark.parametrize("seed", [2, 3])
def test_other_seeds_agree_too(seed, tmp_path, calacs_exe):
    dataset = make_dataset(tmp_path / "demo", seed=seed)
    products = calibrate(dataset, calacs_exe, tmp_path / "run")
    assert all(verdict.agrees for verdict in compare_with_truth(products, dataset.truth))


def test_the_old_references_are_wrong_enough_to_be_seen(tmp_path, calacs_exe):
    dataset = make_dataset(tmp_path / "demo", exposures=1)
    products = calibrate(dataset, calacs_exe, tmp_path / "run", edition=1)
    (verdict,) = compare_with_truth(products, dataset.truth)
    assert verdict.mean < -0.1
    assert not verdict.agrees


@pytest.mark.parametrize("name", ["pre_dth", "post_dth", "pre_cr", "post_sub2k"])
def test_calacs_accepts_the_cte_table(name, tmp_path, calacs_exe):
    dataset = make_dataset(tmp_path / "demo", mode=name, exposures=2 if name == "pre_cr" else 1)
    products = calibrate(dataset, calacs_exe, tmp_path / "run", pctecorr="PERFORM")
    for rootname in dataset.rootnames:
        with fits.open(products / f"{rootname}_flc.fits") as flc, fits.open(products / f"{rootname}_flt.fits") as flt:
            assert flc[0].header["PCTECORR"] == "COMPLETE"
            assert (flc["SCI", 1].data != flt["SCI", 1].data).any()


@pytest.mark.parametrize(
    ("name", "photmode"),
    [
        ("pre_dth", "ACS WFC1 F606W MJD#53807.2500"),
        ("pre_pol", "ACS WFC1 F606W POL_V MJD#53807.2500"),
        ("post_pol", "ACS WFC1 F606W POL_UV MJD#58000.2500"),
        ("post_ramp", "ACS WFC1 FR914M#8112 MJD#58000.2500"),
    ],
)
def test_photometry_is_found_for_filters_polarizers_and_ramps(name, photmode, tmp_path, calacs_exe):
    dataset = make_dataset(tmp_path / "demo", mode=name, exposures=1)
    products = calibrate(dataset, calacs_exe, tmp_path / "run")
    header = fits.getheader(products / f"{dataset.rootnames[0]}_flt.fits", ("SCI", 1))
    assert header["PHOTMODE"] == photmode
    assert 7e-20 < header["PHOTFLAM"] < 2e-19
    assert header["PHOTPLAM"] > 5000
