"""The distortion references, read by stwcs itself."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.demo.dataset import make_dataset

UPDATE = """
import json, sys, warnings
warnings.simplefilter("ignore")
from stwcs import updatewcs
from stwcs.wcsutil import HSTWCS
name = sys.argv[1]
updatewcs.updatewcs(name, use_db=False)
corner = HSTWCS(name, ("SCI", 1))
sky = corner.all_pix2world([1, 128, 256], [1, 48, 96], 1)
print("RESULT", json.dumps([list(place) for place in zip(*(axis.tolist() for axis in sky))]))
"""


@pytest.fixture(scope="module")
def updated(tmp_path_factory):
    """A stand-in for an FLT: the headers of a RAW, trimmed, with the truth for pixels."""
    dataset = make_dataset(tmp_path_factory.mktemp("wcs") / "demo", exposures=1)
    rootname = dataset.rootnames[0]
    path = dataset.folder / f"{rootname}_flt.fits"
    with (
        fits.open(dataset.data / f"{rootname}_raw.fits") as raw,
        fits.open(dataset.truth / f"{rootname}_truth.fits") as truth,
    ):
        hdus = [fits.PrimaryHDU(header=raw[0].header)]
        for imset in (1, 2):
            header = raw["SCI", imset].header.copy()
            for axis in (1, 2):
                header[f"CRPIX{axis}"] -= header[f"LTV{axis}"]
                header[f"LTV{axis}"] = 0.0
            for card in ("BZERO", "BSCALE"):
                header.remove(card, ignore_missing=True)
            # stwcs leaves files without good pixels alone.
            header["NGOODPIX"] = truth["SCI", imset].data.size
            hdus.append(fits.ImageHDU(truth["SCI", imset].data, header))
        before = [hdu.header.copy() for hdu in hdus]
        fits.HDUList(hdus).writeto(path)
    (dataset.folder / "ref").symlink_to(dataset.crds / "references" / "hst")
    done = subprocess.run(
        [sys.executable, "-c", UPDATE, path.name],
        cwd=dataset.folder,
        env={**os.environ, "jref": "ref/"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return path, before, json.loads(line.removeprefix("RESULT "))


def test_updatewcs_applies_all_three_references(updated):
    path, before, _ = updated
    with fits.open(path) as flt:
        names = [hdu.name for hdu in flt]
        assert names.count("D2IMARR") == 4
        assert names.count("WCSDVARR") == 4
        for imset in (1, 2):
            header = flt["SCI", imset].header
            assert header["WCSNAME"] == "IDC_dmo0901ej"
            assert header["CTYPE1"] == "RA---TAN-SIP"
            assert header["A_ORDER"] == 4
            assert header["CD1_1"] != before[imset]["CD1_1"]
        assert flt["SCI", 1].header["D2IMEXT"].endswith("_d2i.fits")
        assert flt["SCI", 1].header["NPOLEXT"].endswith("_npl.fits")


def test_the_distorted_sky_is_that_of_the_raw_within_the_distortion(updated):
    _, _, corners = updated
    (ra0, dec0), (_, dec1), (ra2, dec2) = corners
    assert dec0 != dec1
    # Corner to corner of a chip of 256 x 96 pixels of 0.05 arcseconds.
    along = (ra2 - ra0) * np.cos(np.deg2rad(dec0))
    assert np.hypot(along, dec2 - dec0) * 3600 == pytest.approx(np.hypot(255, 95) * 0.05, rel=0.06)
