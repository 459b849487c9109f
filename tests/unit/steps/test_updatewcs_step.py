"""The step updatewcs around a fake stwcs: what it is given, what is believed, and every way in which it can fail."""

from __future__ import annotations

import json
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.errors import InterruptedRunError, StepError
from acsrecipe.plan.model import Output, Task
from acsrecipe.steps import updatewcs
from acsrecipe.steps.catalogue import STEPS, get_step

NAME = "j9sy01a1q_flt.fits"

GOOD = """
from astropy.io import fits
for name in files:
    with fits.open(name, mode="update") as hdus:
        hdus[1].header["WCSNAME"] = "IDC_0461802ej"
        hdus[1].header["IDCTAB"] = hdus[0].header["IDCTAB"]
        hdus[1].header["CD1_1"] = 1.5e-5
        hdus.append(fits.ImageHDU(name="D2IMARR"))
        hdus[0].header["NEXTEND"] = len(hdus) - 1
"""

SEEN = 'open("seen", "w").write(repr([dict(os.environ), use_db, os.getcwd()]))\n'


@pytest.fixture
def fake_stwcs(tmp_path, monkeypatch):
    """Put a stwcs of our own first on the path that the child gets; `text` is the body of updatewcs()."""

    def make(text: str) -> None:
        package = tmp_path / "fake" / "stwcs" / "updatewcs"
        package.mkdir(parents=True)
        (package.parent / "__init__.py").write_text("")
        body = textwrap.indent(textwrap.dedent(text), "    ")
        (package / "__init__.py").write_text("import os, sys, time\ndef updatewcs(files, use_db=True):\n" + body)
        monkeypatch.syspath_prepend(str(tmp_path / "fake"))

    return make


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    folder = tmp_path / "an attempt $[1], with a nasty name"
    (folder / "ref").mkdir(parents=True)
    for name in ("0461802ej_idc.fits", "02c1450oj_d2i.fits"):
        (folder / "ref" / name).write_bytes(b"reference")
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((4, 4), "f4"), name="SCI", ver=1)])
    hdus[0].header["NEXTEND"] = 1
    hdus[0].header["IDCTAB"] = "jref$0461802ej_idc.fits"
    hdus[0].header["D2IMFILE"] = "jref$02c1450oj_d2i.fits"
    hdus[0].header["NPOLFILE"] = "N/A"
    hdus[1].header["CD1_1"] = 1.0e-5
    hdus.writeto(folder / NAME)
    return folder


def task_of(**parameters) -> Task:
    output = Output(name=NAME, folder="products", size=1, hdus=("SCI,1",))
    return Task(
        id="updatewcs/j9sy01a1q", kind="updatewcs", exposures=("j9sy01a1q",), outputs=(output,), parameters=parameters
    )


def run(folder: Path, *, deadline: float | None = 30.0, cancel: threading.Event | None = None, **parameters):
    return updatewcs.run(task_of(**parameters), folder, deadline=deadline, report=lambda _text: None, cancel=cancel)


def failure(folder: Path, **options) -> StepError:
    with pytest.raises(StepError) as caught:
        run(folder, **options)
    assert caught.value.where == "updatewcs/j9sy01a1q"
    assert caught.value.exit_code == 6
    return caught.value


def test_the_wcs_before_and_after_goes_into_the_details(fake_stwcs, attempt):
    fake_stwcs(GOOD)
    outcome = run(attempt)
    (entry,) = outcome.details["wcs"][NAME]
    assert entry["hdu"] == "SCI,1"
    assert (entry["before"]["WCSNAME"], entry["before"]["CD1_1"]) == (None, 1.0e-5)
    assert (entry["after"]["WCSNAME"], entry["after"]["CD1_1"]) == ("IDC_0461802ej", 1.5e-5)
    assert entry["after"]["IDCTAB"] == "jref$0461802ej_idc.fits"
    assert set(outcome.versions) == {"stwcs", "astropy", "numpy"}
    assert outcome.warnings == ()
    json.dumps(outcome.details)


def test_the_child_gets_an_environment_built_from_nothing_and_no_database(fake_stwcs, attempt, monkeypatch):
    monkeypatch.setenv("jref", "/hostile/")
    monkeypatch.setenv("ASTROMETRY_STEP_CONTROL", "on")
    monkeypatch.setenv("MAST_API_TOKEN", "secret")
    fake_stwcs(GOOD + '\nopen("0461802ej_idc.fits").read()\n' + SEEN)
    run(attempt)
    assert sorted(path.name for path in attempt.iterdir()) == [NAME, "ref", "seen", "updatewcs.log"]
    environment, use_db, where = eval((attempt / "seen").read_text())
    assert use_db is False
    assert where == str(attempt)
    assert environment["jref"] == ""
    assert environment["ASTROMETRY_STEP_CONTROL"] == "off"
    assert environment["HOME"] == "."
    assert "MAST_API_TOKEN" not in environment


def test_nothing_changed_is_a_warning(fake_stwcs, attempt):
    fake_stwcs(GOOD.replace("1.5e-5", "1.0e-5"))
    with fits.open(attempt / NAME, mode="update") as hdus:
        hdus[1].header["WCSNAME"] = "IDC_0461802ej"
        hdus[1].header["IDCTAB"] = "jref$0461802ej_idc.fits"
    (warning,) = run(attempt).warnings
    assert "changed nothing" in warning
    assert NAME in warning


def test_a_result_without_wcsname_is_no_success(fake_stwcs, attempt):
    fake_stwcs(GOOD.replace('"IDC_0461802ej"', '" "'))
    error = failure(attempt)
    assert "SCI,1 has no WCSNAME" in error.message
    assert error.code == "S013"


def test_a_result_without_the_tables_it_should_have_appended_is_no_success(fake_stwcs, attempt):
    fake_stwcs(GOOD.replace('"D2IMARR"', '"OTHER"'))
    assert "no HDU D2IMARR" in failure(attempt).message


def test_a_result_that_is_cut_is_no_success(fake_stwcs, attempt):
    fake_stwcs(GOOD + "\nos.truncate(files[0], os.path.getsize(files[0]) - 2880)\n")
    assert failure(attempt).code == "S013"


def test_what_stwcs_raises_is_quoted(fake_stwcs, attempt):
    fake_stwcs('raise OSError("IDCTAB file [/bad] not \\x1b[31mfound")')
    error = failure(attempt)
    assert error.message == "updatewcs ended with exit status 1: OSError: IDCTAB file [/bad] not found"
    assert "updatewcs.log" in error.hint
    assert "Traceback" in (attempt / "updatewcs.log").read_text()


def test_a_crash_is_told(fake_stwcs, attempt):
    fake_stwcs("os.abort()")
    assert "killed by SIGABRT" in failure(attempt).message


def test_a_hang_ends_at_the_deadline(fake_stwcs, attempt):
    fake_stwcs("time.sleep(60)")
    started = time.monotonic()
    assert "did not end in time" in failure(attempt, deadline=2.0).message
    assert time.monotonic() - started < 12


def test_it_can_be_cancelled(fake_stwcs, attempt):
    fake_stwcs("time.sleep(60)")
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(InterruptedRunError):
        run(attempt, cancel=cancel)


@pytest.mark.parametrize(("keyword", "value"), [("IDCTAB", "N/A"), ("IDCTAB", None)])
def test_without_an_idctab_stwcs_is_not_even_started(fake_stwcs, attempt, keyword, value):
    fake_stwcs('open("ran", "w")')
    with fits.open(attempt / NAME, mode="update") as hdus:
        del hdus[0].header[keyword]
        if value:
            hdus[0].header[keyword] = value
    assert "names no IDCTAB" in failure(attempt).message
    assert not (attempt / "ran").exists()


def test_a_reference_that_is_not_staged_is_named(fake_stwcs, attempt):
    fake_stwcs('open("ran", "w")')
    (attempt / "ref" / "02c1450oj_d2i.fits").unlink()
    assert "D2IMFILE = 'jref$02c1450oj_d2i.fits'" in failure(attempt).message
    assert not (attempt / "ran").exists()


def test_a_file_that_is_not_there_is_named(attempt):
    (attempt / NAME).unlink()
    error = failure(attempt)
    assert NAME in error.message
    assert error.code == "S010"


class _Service(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def service():
    server = HTTPServer(("127.0.0.1", 0), _Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_with_use_db_and_a_service_that_answers_stwcs_may_ask_it(fake_stwcs, attempt, service):
    fake_stwcs(GOOD + '\nopen("seen", "w").write(repr([dict(os.environ), use_db]))\n')
    outcome = run(attempt, use_db=True, service=service)
    environment, use_db = eval((attempt / "seen").read_text())
    assert use_db is True
    assert outcome.details["use_db"] is True
    assert environment["ASTROMETRY_STEP_CONTROL"] == "on"
    assert environment["ASTROMETRY_SERVICE_URL"] == service
    assert environment["RAISE_PIPELINE_ERRORS"] == "true"


def test_with_use_db_a_service_that_is_down_is_a_clear_error_at_once(fake_stwcs, attempt):
    fake_stwcs('open("ran", "w")')
    started = time.monotonic()
    error = failure(attempt, use_db=True, service="http://127.0.0.1:9/")
    assert time.monotonic() - started < 10
    assert "http://127.0.0.1:9/ does not answer" in error.message
    assert "use_db = false" in error.hint
    assert error.code == "S012"
    assert not (attempt / "ran").exists()


def test_with_use_db_a_service_that_refuses_is_a_clear_error(fake_stwcs, attempt, service, monkeypatch):
    fake_stwcs('open("ran", "w")')
    monkeypatch.setattr(_Service, "status", 503)
    assert "answers with status 503" in failure(attempt, use_db=True, service=service).message


def test_every_step_declares_itself_as_plain_data():
    for kind in STEPS:
        step = get_step(kind)
        assert kind == step.KIND
        assert all(name.endswith(("TAB", "FILE")) for name in step.REFERENCES)
        assert step.outputs("j9sy01a1q", ("flt", "flc"))
    assert get_step("updatewcs").outputs("j9sy01a1q", ("flt", "flc")) == ("j9sy01a1q_flt.fits", "j9sy01a1q_flc.fits")
    with pytest.raises(StepError, match="unknown step 'drizle'"):
        get_step("drizle")
