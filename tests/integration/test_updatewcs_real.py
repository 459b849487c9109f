"""The step updatewcs on the real WFC FLT with the real distortion files, against calling stwcs directly."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe.inputs.header import stage_edited
from acsrecipe.plan.model import Output, Task
from acsrecipe.steps.catalogue import get_step

NAME = "j94f05bgq_flt.fits"
REFERENCES = {
    "IDCTAB": "jref$0461802ej_idc.fits",
    "NPOLFILE": "jref$02c14514j_npl.fits",
    "D2IMFILE": "jref$02c1450oj_d2i.fits",
}
DIRECT = "import sys; from stwcs import updatewcs; updatewcs.updatewcs(sys.argv[1:], use_db=False)"


@pytest.fixture(scope="module")
def flt(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real FLT, with the distortion files that are at hand in its header."""
    folder = tmp_path_factory.mktemp("flt")
    with gzip.open(shared_dir / "real" / "flt_wfc" / f"{NAME}.gz") as packed, (folder / "x.fits").open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    stage_edited(folder / "x.fits", folder / NAME, [("PRIMARY", key, value) for key, value in REFERENCES.items()])
    return folder / NAME


def stage(flt: Path, distortion: Path, folder: Path) -> Path:
    (folder / "ref").mkdir(parents=True)
    for value in REFERENCES.values():
        name = value.partition("$")[2]
        (folder / "ref" / name).symlink_to(distortion / name)
    shutil.copyfile(flt, folder / NAME)
    return folder


def run_step(folder: Path):
    output = Output(name=NAME, folder="products", size=0, hdus=("SCI,1", "ERR,1", "DQ,1", "SCI,2", "ERR,2", "DQ,2"))
    task = Task(id="updatewcs/j94f05bgq", kind="updatewcs", exposures=("j94f05bgq",), outputs=(output,))
    return get_step("updatewcs").run(task, folder, deadline=300.0, report=lambda _text: None)


def test_the_step_gives_the_headers_and_pixels_that_stwcs_gives_when_called_directly(flt, shared_dir, tmp_path):
    distortion = shared_dir / "real" / "distortion"
    direct = stage(flt, distortion, tmp_path / "direct")
    subprocess.run(
        [sys.executable, "-c", DIRECT, NAME],
        cwd=direct,
        env={"PATH": "/usr/bin:/bin", "HOME": str(direct), "jref": f"{direct}/ref/", "ASTROMETRY_STEP_CONTROL": "off"},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )
    folder = stage(flt, distortion, tmp_path / "step, with $ and [1] in its name")
    outcome = run_step(folder)
    with fits.open(direct / NAME) as theirs, fits.open(folder / NAME) as ours:
        assert [(hdu.name, hdu.ver) for hdu in ours] == [(hdu.name, hdu.ver) for hdu in theirs]
        assert len(ours) == 7 + 8
        for a, b in zip(ours, theirs, strict=True):
            assert a.header.tostring() == b.header.tostring()
        assert ours[1].header["WCSNAME"] == "IDC_0461802ej"
    assert (folder / NAME).read_bytes() == (direct / NAME).read_bytes()
    assert outcome.warnings == ()


def test_the_log_keeps_wcsname_idctab_and_cd_matrix_before_and_after(flt, shared_dir, tmp_path):
    folder = stage(flt, shared_dir / "real" / "distortion", tmp_path / "attempt")
    before = {ver: fits.getheader(folder / NAME, ("SCI", ver)) for ver in (1, 2)}
    entries = run_step(folder).details["wcs"][NAME]
    assert [entry["hdu"] for entry in entries] == ["SCI,1", "SCI,2"]
    for ver, entry in enumerate(entries, 1):
        after = fits.getheader(folder / NAME, ("SCI", ver))
        for card in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            assert entry["before"][card] == before[ver][card]
            assert entry["after"][card] == after[card]
            assert entry["before"][card] != entry["after"][card]
        assert (entry["before"]["WCSNAME"], entry["before"]["IDCTAB"]) == (None, None)
        assert entry["after"]["WCSNAME"] == "IDC_0461802ej"
        assert entry["after"]["IDCTAB"] == REFERENCES["IDCTAB"]


def test_a_second_time_nothing_changes_and_that_is_a_warning(flt, shared_dir, tmp_path):
    folder = stage(flt, shared_dir / "real" / "distortion", tmp_path / "attempt")
    run_step(folder)
    (warning,) = run_step(folder).warnings
    assert "changed nothing" in warning
