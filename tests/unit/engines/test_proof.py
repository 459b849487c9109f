"""Proof of success: which products, HDUs and switches are believed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.engines.proof import FRAME_SWITCHES, IMAGE_SWITCHES, prove
from acsrecipe.errors import EngineError
from acsrecipe.plan.model import Output, Task

ONE, TWO = "j9sy01a1q", "j9sy01a2q"
ALL = dict.fromkeys([*FRAME_SWITCHES, *IMAGE_SWITCHES], "PERFORM")
DONE = dict.fromkeys([*FRAME_SWITCHES, *IMAGE_SWITCHES], "COMPLETE")


def write(path: Path, switches: dict[str, str], detector: str = "WFC", pixels: bool = True) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update({"DETECTOR": detector, **switches})
    hdus += [fits.ImageHDU(np.ones((4, 5), "f4") if pixels else None, name="SCI", ver=1)]
    hdus += [fits.ImageHDU(name=name, ver=1) for name in ("ERR", "DQ")]
    hdus.writeto(path, overwrite=True)


def task_of(*names: str, exposures: tuple[str, ...] = (ONE,)) -> Task:
    outputs = tuple(Output(name=name, folder="products", size=0, hdus=("SCI,1", "ERR,1", "DQ,1")) for name in names)
    return Task(id=f"calibrate/{exposures[0]}", kind="calibrate", exposures=exposures, outputs=outputs)


def refusal(task: Task, folder: Path) -> str:
    with pytest.raises(EngineError) as caught:
        prove(task, folder)
    assert caught.value.where == task.id
    return caught.value.message


def test_a_product_whose_switches_all_turned_is_believed(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", ALL)
    write(tmp_path / f"{ONE}_flt.fits", DONE)
    assert prove(task_of(f"{ONE}_flt.fits"), tmp_path) == ()


@pytest.mark.parametrize("switch", [*FRAME_SWITCHES, *IMAGE_SWITCHES])
@pytest.mark.parametrize("found", ["PERFORM", "OMIT"])
def test_every_switch_that_was_asked_for_has_to_turn(tmp_path, switch, found):
    write(tmp_path / f"{ONE}_raw.fits", ALL)
    write(tmp_path / f"{ONE}_flt.fits", {**DONE, switch: found})
    assert f"{ONE}_flt.fits: found {switch} = '{found}', expected 'COMPLETE'" in refusal(
        task_of(f"{ONE}_flt.fits"), tmp_path
    )


@pytest.mark.parametrize("switch", ["DRIZCORR", "RPTCORR", "CRCORR", "PCTECORR"])
def test_some_switches_stay_perform_in_an_flt(tmp_path, switch):
    write(tmp_path / f"{ONE}_raw.fits", {**ALL, switch: "PERFORM"})
    write(tmp_path / f"{ONE}_flt.fits", {**DONE, switch: "PERFORM"})
    assert prove(task_of(f"{ONE}_flt.fits"), tmp_path) == ()


def test_in_an_flc_the_charge_transfer_correction_has_to_turn(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", {**ALL, "PCTECORR": "PERFORM"})
    write(tmp_path / f"{ONE}_flc.fits", {**DONE, "PCTECORR": "PERFORM"})
    assert "PCTECORR = 'PERFORM'" in refusal(task_of(f"{ONE}_flc.fits"), tmp_path)
    write(tmp_path / f"{ONE}_flc.fits", {**DONE, "PCTECORR": "COMPLETE"})
    assert prove(task_of(f"{ONE}_flc.fits"), tmp_path) == ()


def test_a_combined_product_answers_for_the_first_exposure_and_its_own_switches(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", {**ALL, "CRCORR": "PERFORM"})
    write(tmp_path / f"{TWO}_raw.fits", {**ALL, "CRCORR": "PERFORM"})
    task = task_of("j9sy01010_crj.fits", exposures=(ONE, TWO))
    write(tmp_path / "j9sy01010_crj.fits", {**DONE, "CRCORR": "PERFORM"})
    assert "CRCORR = 'PERFORM'" in refusal(task, tmp_path)
    write(tmp_path / "j9sy01010_crj.fits", {**DONE, "CRCORR": "COMPLETE"})
    assert prove(task, tmp_path) == ()


def test_in_a_group_the_first_exposure_decides_on_the_image_switches_of_all(tmp_path):
    """calacs takes dark, flat and so on from the first member, and the frame switches from each."""
    task = task_of(f"{TWO}_flt.fits", exposures=(ONE, TWO))
    write(tmp_path / f"{ONE}_raw.fits", {**ALL, "FLATCORR": "OMIT"})
    write(tmp_path / f"{TWO}_raw.fits", {**ALL, "SINKCORR": "OMIT"})
    write(tmp_path / f"{TWO}_flt.fits", {**DONE, "FLATCORR": "PERFORM", "SINKCORR": "OMIT"})
    assert prove(task, tmp_path) == ()
    write(tmp_path / f"{TWO}_flt.fits", {**DONE, "BIASCORR": "PERFORM"})
    assert "BIASCORR" in refusal(task, tmp_path)


def test_the_sbc_ignores_what_only_a_ccd_needs(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", ALL, detector="SBC")
    kept = {**ALL, **dict.fromkeys(["DQICORR", "DARKCORR", "FLATCORR", "PHOTCORR"], "COMPLETE")}
    write(tmp_path / f"{ONE}_flt.fits", kept, detector="SBC")
    assert prove(task_of(f"{ONE}_flt.fits"), tmp_path) == ()


def test_a_skipped_switch_is_told_but_believed(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", ALL)
    write(tmp_path / f"{ONE}_flt.fits", {**DONE, "DARKCORR": "SKIPPED"})
    (warning,) = prove(task_of(f"{ONE}_flt.fits"), tmp_path)
    assert "DARKCORR was skipped" in warning


def test_switches_are_compared_as_calacs_does_in_any_case(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", {"FLATCORR": "perform "})
    write(tmp_path / f"{ONE}_flt.fits", {"FLATCORR": "OMIT"})
    assert "FLATCORR" in refusal(task_of(f"{ONE}_flt.fits"), tmp_path)


def test_a_science_image_without_pixels_is_refused(tmp_path):
    write(tmp_path / f"{ONE}_raw.fits", {})
    write(tmp_path / f"{ONE}_flt.fits", {}, pixels=False)
    assert "SCI,1 has NAXIS = 0" in refusal(task_of(f"{ONE}_flt.fits"), tmp_path)


@pytest.mark.parametrize("golden", ["pre_dth", "post_dth", "pre_cr", "post_sub2k", "pre_sub"])
def test_what_calacs_itself_made_is_believed(golden, shared_dir, tmp_path):
    source = shared_dir / "golden" / golden
    products = sorted(path.name for path in (source / "expected").glob("*.fits"))
    roots = sorted({path.name[:9] for path in (source / "data").glob("*_raw.fits")})
    for name in products:
        (tmp_path / name).write_bytes((source / "expected" / name).read_bytes())
    for root in roots:
        (tmp_path / f"{root}_raw.fits").symlink_to(source / "data" / f"{root}_raw.fits")
    task = task_of(*products, exposures=tuple(roots))
    assert prove(task, tmp_path) == ()
