"""The external engine against a fake calacs.e: what it is given, and every way in which it can fail."""

from __future__ import annotations

import stat
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.engines.calacs import CalacsEngine, ability, find, read_version
from acsrecipe.engines.trailer import Progress, explain, meaningful_lines
from acsrecipe.errors import EngineError, InterruptedRunError
from acsrecipe.plan.model import Output, Task

ROOT = "j9sy01a1q"
HDUS = ("SCI,1", "ERR,1", "DQ,1")
SWITCHES = {
    "DQICORR": "PERFORM",
    "BLEVCORR": "PERFORM",
    "FLATCORR": "PERFORM",
    "FLSHCORR": "OMIT",
    "DRIZCORR": "PERFORM",
}


def write_exposure(path: Path, names: tuple[str, ...] = ("SCI", "ERR", "DQ"), **switches: str) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    header = hdus[0].header
    header["INSTRUME"], header["DETECTOR"], header["NEXTEND"] = "ACS", "WFC", len(names)
    header.update({**SWITCHES, **switches})
    hdus += [fits.ImageHDU(np.ones((6, 8), "f4"), name=name, ver=1) for name in names]
    hdus.writeto(path)


@pytest.fixture
def stock(tmp_path: Path) -> Path:
    """Products that a fake calacs.e can put in place: calibrated, partial, uncalibrated."""
    folder = tmp_path / "stock"
    folder.mkdir()
    done = dict.fromkeys(("DQICORR", "BLEVCORR", "FLATCORR"), "COMPLETE")
    write_exposure(folder / "good.fits", **done)
    write_exposure(folder / "omitted.fits", **{**done, "FLATCORR": "PERFORM"})
    write_exposure(folder / "skipped.fits", **{**done, "FLATCORR": "SKIPPED"})
    write_exposure(folder / "no_dq.fits", names=("SCI", "ERR"), **done)
    (folder / "partial.fits").write_bytes((folder / "good.fits").read_bytes()[:-2880])
    return folder


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    folder = tmp_path / "attempt"
    (folder / "ref").mkdir(parents=True)
    write_exposure(folder / f"{ROOT}_raw.fits")
    return folder


@pytest.fixture
def engine(tmp_path: Path, stock: Path):
    """A fake calacs.e: Python, with `put(stock name, product name)` at hand."""

    def make(text: str) -> CalacsEngine:
        path = tmp_path / "bin" / "calacs.e"
        path.parent.mkdir(exist_ok=True)
        lead = f"""\
        #!{sys.executable} -IS
        import os, shutil, signal, sys, time
        if "--version" in sys.argv:
            print("10.5.0 (16-Mar-2026)"); sys.exit(0)
        def put(name, product="{ROOT}_flt.fits"):
            shutil.copy(os.path.join({str(stock)!r}, name), product)
        """
        path.write_text(textwrap.dedent(lead) + textwrap.dedent(text))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return CalacsEngine(path, "10.5.0 (16-Mar-2026)")

    return make


def task_of(*exposures: str, outputs: tuple[str, ...] = (f"{ROOT}_flt.fits",)) -> Task:
    return Task(
        id="calibrate/" + exposures[0],
        kind="calibrate",
        exposures=exposures,
        outputs=tuple(Output(name=name, folder="products", size=1, hdus=HDUS) for name in outputs),
    )


def calibrate(engine: CalacsEngine, folder: Path, task: Task | None = None, **options):
    options = {"threads": 1, "deadline": 20.0, "report": lambda _text: None, **options}
    return engine.calibrate(task or task_of(ROOT), folder, **options)


def failure(engine: CalacsEngine, folder: Path, **options) -> EngineError:
    with pytest.raises(EngineError) as caught:
        calibrate(engine, folder, **options)
    assert caught.value.where == f"calibrate/{ROOT}"
    assert caught.value.exit_code == 5
    assert caught.value.message.replace("\n", "").isprintable()
    return caught.value


def test_success_gives_command_version_trailer_and_log(engine, attempt):
    fake = engine("""
    print("CALBEG*** ACSCCD -- Version"); print("BIASCORR PERFORM"); print("mean of bias levels was 3")
    open("j9sy01a1q.tra", "w").write("x")
    put("good.fits")
    """)
    outcome = calibrate(fake, attempt, threads=2)
    assert outcome.command == ("calacs.e", "--nthreads", "2", f"{ROOT}_raw.fits")
    assert outcome.exit_status == 0
    assert outcome.versions == {"calacs": "10.5.0 (16-Mar-2026)"}
    assert outcome.details["trailers"] == ["j9sy01a1q.tra"]
    assert outcome.details["trailer"] == ["BIASCORR PERFORM", "mean of bias levels was 3"]
    assert (attempt / outcome.details["log"]).is_file()
    assert outcome.warnings == ()


def test_the_environment_is_built_from_nothing(engine, attempt, monkeypatch):
    for name in ("imclobber", "LD_PRELOAD", "CRDS_PATH", "PYTHONPATH", "MAST_API_TOKEN", "iraf"):
        monkeypatch.setenv(name, "/hostile")
    monkeypatch.setenv("jref", "/hostile/")
    monkeypatch.setenv("OMP_NUM_THREADS", "abc")
    fake = engine("""
    keep = dict(os.environ)
    keep.pop("LC_CTYPE", None)  # Python's own
    open("environment", "w").write(repr(sorted(keep.items())))
    open("where", "w").write(os.getcwd())
    put("good.fits")
    """)
    calibrate(fake, attempt, threads=3)
    assert dict(eval((attempt / "environment").read_text())) == {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": ".",
        "TMPDIR": ".",
        "LANG": "C",
        "jref": "ref/",
        "OMP_NUM_THREADS": "3",
    }
    assert (attempt / "where").read_text() == str(attempt)


def test_progress_names_the_step_and_for_several_exposures_the_exposure():
    heard: list[str] = []
    progress = Progress(heard.append, several=True)
    lines = """CALBEG*** ACSCCD -- Version 10.5.0 (16-Mar-2026) ***
Input    j9sy01a1q_raw.fits
DQICORR  PERFORM
DQICORR  COMPLETE
Warning    PHOTTAB not used.
CALBEG*** ACSCTE -- Version
Input    j9sy01a1q_blv_tmp.fits
PCTECORR PERFORM
(pctecorr) Performing CTE correction type parallel for amp C.
CALBEG*** ACS2D -- Version
Input    j9sy01a2q_blc_tmp.fits
Output   j9sy01a2q_flc.fits
DARKCORR PERFORM
DARKCORR PERFORM
SINKCORR OMIT""".splitlines()
    for line in lines:
        progress.take(line)
    assert heard == [
        "j9sy01a1q DQICORR",
        "j9sy01a1q PCTECORR",
        "j9sy01a1q PCTECORR parallel, amp C",
        "j9sy01a2q DARKCORR (flc)",
    ]
    assert progress.warnings == ["PHOTTAB not used."]


def test_status_2_quotes_the_last_lines_that_mean_something_and_hints_at_the_cause(engine, attempt):
    fake = engine("""
    print("git tag: 3.2.0"); print("ERROR:    Keyword = `PCTENSMD'.")
    print("Warning    DARKFILE `ref/none.fits' not found or can't open.")
    print("ERROR:    1 reference files were missing."); print()
    sys.exit(2)
    """)
    error = failure(fake, attempt)
    assert "calacs.e ended with exit status 2" in error.message
    assert "DARKFILE `ref/none.fits' not found" in error.message
    assert "git tag" not in error.message
    assert "PCTENSMD" not in error.message
    assert error.hint == "look up the references named above in the plan"
    assert error.code == "E004"


@pytest.mark.parametrize(("signal", "status"), [("SIGSEGV", 139), ("SIGABRT", 134)])
def test_a_crash_is_called_a_crash(engine, attempt, signal, status):
    fake = engine(f"print('half way', flush=True); put('good.fits'); os.kill(os.getpid(), signal.{signal})")
    error = failure(fake, attempt)
    assert f"was killed by {signal} (exit status {status})" in error.message
    assert "half way" in error.message
    assert "crashed" in error.hint


def test_status_0_without_a_product_is_a_failure(engine, attempt):
    error = failure(engine('print("Warning    No calibration switch was set to PERFORM.")'), attempt)
    assert f"{ROOT}_flt.fits was not made" in error.message
    assert "No calibration switch was set to PERFORM" in error.message
    assert "OMIT" in error.hint
    assert error.code == "E010"


@pytest.mark.parametrize(
    ("product", "code", "words"),
    [
        ("partial.fits", "E011", "truncated"),
        ("no_dq.fits", "E012", "no HDU DQ,1: found SCI,1, ERR,1"),
        ("omitted.fits", "E013", "found FLATCORR = 'PERFORM', expected 'COMPLETE'"),
    ],
)
def test_status_0_with_a_product_that_is_not_calibrated_is_a_failure(engine, attempt, product, code, words):
    error = failure(engine(f"put({product!r})"), attempt)
    assert error.code == code
    assert words in error.message
    assert f"{ROOT}_flt.fits" in error.message


def test_a_skipped_switch_is_a_warning(engine, attempt):
    outcome = calibrate(engine("put('skipped.fits')"), attempt)
    assert len(outcome.warnings) == 1
    assert "FLATCORR was skipped" in outcome.warnings[0]


def test_a_link_is_no_product(engine, attempt, stock):
    error = failure(engine(f"os.symlink({str(stock / 'good.fits')!r}, '{ROOT}_flt.fits')"), attempt)
    assert error.code == "E010"


def test_a_hang_ends_at_the_deadline(engine, attempt):
    started = time.monotonic()
    error = failure(engine("print('waiting', flush=True); time.sleep(60)"), attempt, deadline=1.0)
    assert time.monotonic() - started < 10
    assert "did not end in time" in error.message
    assert "more time" in error.hint


def test_cancelling_is_an_interruption_not_a_failure_of_the_engine(engine, attempt):
    cancel = threading.Event()
    fake = engine("print('BIASCORR PERFORM', flush=True); time.sleep(60)")
    with pytest.raises(InterruptedRunError):
        calibrate(fake, attempt, report=lambda _text: cancel.set(), cancel=cancel)


def test_a_flood_is_capped(engine, attempt):
    fake = engine("""
    line = "x" * 999 + "\\n"
    for number in range(20_000):
        sys.stdout.write(line)
    put("good.fits")
    """)
    outcome = calibrate(fake, attempt)
    assert (attempt / outcome.details["log"]).stat().st_size < 9 * 1024 * 1024


def test_escapes_and_markup_come_out_as_plain_text(engine, attempt):
    fake = engine(r'os.write(1, b"\x1b[2J\x1b[31mERROR: [/bad] \x00\xff\x9b1m\n"); sys.exit(2)')
    error = failure(fake, attempt)
    assert "ERROR: [/bad] " in error.message
    assert "\x1b" not in str(error)


def test_an_association_is_run_by_its_staged_table(engine, attempt):
    (attempt / "j9sy01010_asn.fits").write_bytes(b"staged")
    write_exposure(attempt / "j9sy01a2q_raw.fits")
    fake = engine("""
    assert sys.argv[-1] == "j9sy01010_asn.fits"
    for name in ("j9sy01a1q_flt", "j9sy01a2q_flt"):
        put("good.fits", name + ".fits")
    """)
    task = task_of(ROOT, "j9sy01a2q", outputs=(f"{ROOT}_flt.fits", "j9sy01a2q_flt.fits"))
    assert calibrate(fake, attempt, task).command[-1] == "j9sy01010_asn.fits"


def test_a_group_without_its_table_or_a_name_that_could_mislead_calacs_is_not_run(engine, attempt):
    fake = engine("open('ran', 'w')")
    task = task_of(ROOT, "j9sy01a2q")
    with pytest.raises(EngineError, match="expected one association in the attempt folder, found none"):
        calibrate(fake, attempt, task)
    (attempt / "j9sy$010[1]_asn.fits").write_bytes(b"x")
    with pytest.raises(EngineError, match="not a name that calacs"):
        calibrate(fake, attempt, task)
    with pytest.raises(EngineError, match="expected a RAW"):
        calibrate(fake, attempt, task_of("j9sy01a9q", outputs=("j9sy01a9q_flt.fits",)))
    assert not (attempt / "ran").exists()


def test_a_folder_too_deep_for_cfitsio_is_refused(engine, tmp_path):
    folder = tmp_path.joinpath(*["deep" * 12] * 22)
    folder.mkdir(parents=True)
    error = failure(engine("open('ran', 'w')"), folder)
    assert "choose an output folder with a shorter path" in str(error.hint)
    assert error.code == "E002"


def test_an_executable_that_does_not_start_says_so(attempt, tmp_path):
    broken = tmp_path / "calacs.e"
    broken.write_bytes(b"\x7fELF not really")
    broken.chmod(0o755)
    error = failure(CalacsEngine(broken, "1.0"), attempt)
    assert "can't be started" in error.message
    assert error.code == "E003"


def test_it_is_found_in_absolute_folders_only(engine, tmp_path, monkeypatch):
    engine("")
    monkeypatch.chdir(tmp_path)
    assert find(f"/nowhere:{tmp_path / 'bin'}") == tmp_path / "bin" / "calacs.e"
    assert find("bin") is None
    assert find("") is None


def test_ability_says_version_and_place_or_why_it_is_not_there(engine, tmp_path):
    engine("")
    here = ability(str(tmp_path / "bin"))
    assert (here.name, here.version, here.available) == ("calacs", "10.5.0 (16-Mar-2026)", True)
    assert here.detail == str(tmp_path / "bin" / "calacs.e")
    absent = ability("/nowhere")
    assert not absent.available
    assert "not on the search path" in absent.detail


def test_a_program_of_that_name_that_gives_no_version_is_not_available(tmp_path):
    fake = tmp_path / "calacs.e"
    fake.write_text("#!/bin/sh\necho libgomp.so.1: cannot open shared object file; exit 127\n")
    fake.chmod(0o755)
    absent = ability(str(tmp_path))
    assert not absent.available
    assert "cannot open shared object file" in absent.detail
    with pytest.raises(EngineError, match="does not give its version"):
        read_version(fake)


def test_the_first_known_cause_gives_the_hint():
    assert explain(["nothing", "ERROR: Matching row not found in CCDTAB", "ERROR: status = 106"]).startswith(
        "that table"
    )
    assert explain(["nothing known"]) is None
    assert meaningful_lines(["", "Begin    22-Nov-2026", "x", "  "]) == ("x",)
