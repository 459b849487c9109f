"""The embedded engine as a task sees it: what it passes on, and how its failures are told."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.engines.embedded import pipeline
from acsrecipe.engines.embedded_engine import EmbeddedEngine
from acsrecipe.errors import EngineError, InterruptedRunError, OutputError
from acsrecipe.plan.model import Output, Task

ROOT = "j9sy01a1q"
TASK = Task(
    id=f"calibrate/{ROOT}",
    kind="calibrate",
    exposures=(ROOT,),
    outputs=(Output(name=f"{ROOT}_flt.fits", folder="products", size=0, hdus=("SCI,1",)),),
)


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    (tmp_path / "ref").mkdir()
    write(tmp_path / f"{ROOT}_raw.fits", "PERFORM")
    return tmp_path


def write(path: Path, switch: str) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((3, 4), "f4"), name="SCI", ver=1)])
    hdus[0].header["FLATCORR"] = switch
    hdus.writeto(path)


def calibrate(folder: Path, **options):
    options = {"threads": 1, "deadline": None, "report": lambda _text: None, **options}
    return EmbeddedEngine().calibrate(TASK, folder, **options)


def fake(monkeypatch: pytest.MonkeyPatch, work) -> None:
    def calibrate(exposures, references, output, *, association=None, threads=1, report=None):
        return work(exposures, references, output, association, report)

    monkeypatch.setattr(pipeline, "calibrate", calibrate)


def test_it_hands_over_the_staged_files_and_proves_the_product(attempt, monkeypatch):
    seen = []

    def work(exposures, references, output, association, report):
        seen.extend([exposures, references, output, association])
        report(f"FLATCORR {ROOT} [sci,1]")
        report("  a detail")
        write(output / f"{ROOT}_flt.fits", "COMPLETE")

    fake(monkeypatch, work)
    heard: list[str] = []
    outcome = calibrate(attempt, report=heard.append)
    assert seen == [[attempt / f"{ROOT}_raw.fits"], attempt / "ref", attempt, None]
    assert heard == ["FLATCORR [sci,1]"]
    assert outcome.command == ()
    assert set(outcome.versions) == {"acsrecipe-embedded", "numpy", "numba"}


def test_a_product_that_does_not_prove_it_is_a_failure(attempt, monkeypatch):
    fake(monkeypatch, lambda _e, _r, output, _a, _report: write(output / f"{ROOT}_flt.fits", "PERFORM"))
    with pytest.raises(EngineError, match="FLATCORR = 'PERFORM'"):
        calibrate(attempt)


def raising(error: BaseException):
    def work(*_args):
        raise error

    return work


@pytest.mark.parametrize(
    "error", [ValueError("shapes differ"), KeyError("CCDCHIP"), MemoryError(), ZeroDivisionError()]
)
def test_an_unforeseen_failure_is_told_as_one(attempt, monkeypatch, error):
    fake(monkeypatch, raising(error))
    with pytest.raises(EngineError, match=f"the embedded engine failed: {type(error).__name__}") as caught:
        calibrate(attempt)
    assert caught.value.where == TASK.id


def test_its_own_errors_keep_their_place_and_hint(attempt, monkeypatch):
    fake(monkeypatch, raising(EngineError("no row for gain 3", where="syn_ccd.fits", hint="another CCDTAB")))
    with pytest.raises(EngineError, match="no row for gain 3") as caught:
        calibrate(attempt)
    assert caught.value.message == "syn_ccd.fits: no row for gain 3"
    assert (caught.value.where, caught.value.hint) == (TASK.id, "another CCDTAB")


def test_a_full_disk_is_an_output_error(attempt, monkeypatch):
    fake(monkeypatch, raising(OSError(28, "No space left on device", "x_flt.fits")))
    with pytest.raises(OutputError, match="No space left on device"):
        calibrate(attempt)


def test_deadline_and_cancel_are_looked_at_where_a_step_begins(attempt, monkeypatch):
    fake(monkeypatch, lambda _e, _r, _o, _a, report: report("DARKCORR"))
    with pytest.raises(EngineError, match=r"did not end within 0 s; it was at: DARKCORR"):
        calibrate(attempt, deadline=0.0)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(InterruptedRunError):
        calibrate(attempt, cancel=cancel)
