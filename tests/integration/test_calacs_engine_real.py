"""The real calacs.e: what the engine gets out of it is what it gives when run by hand, to the byte."""

from __future__ import annotations

import datetime
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe.engines.calacs import CalacsEngine, ability
from acsrecipe.engines.catalogue import get_engine
from acsrecipe.engines.embedded_engine import EmbeddedEngine
from acsrecipe.errors import EngineError
from acsrecipe.inputs.association import write_filtered
from acsrecipe.inputs.header import Edit, read_headers, stage_edited
from acsrecipe.plan.model import Output, Task

pytestmark = pytest.mark.calacs

ONE, TWO = "j9sy01a1q", "j9sy01a2q"
ASSOCIATION = "j9sy01010_asn.fits"


def stage(golden: Path, folder: Path, *roots: str, rows: tuple[int, ...] = ()) -> Path:
    """Lay a golden set into an attempt folder: RAWs with the headers that bestrefs left, association, references."""
    folder.mkdir(parents=True)
    (folder / "ref").mkdir()
    for reference in (golden / "crds" / "references" / "hst").iterdir():
        (folder / "ref" / reference.name).symlink_to(reference)
    for root in roots:
        source = golden / "data" / f"{root}_raw.fits"
        text = (golden / "expected" / f"{root}_raw_primary_after_bestrefs.txt").read_text()
        after = fits.Header.fromstring(text, sep="\n")
        before = read_headers(source)[0].cards
        edits: list[Edit] = [
            ("PRIMARY", key, after[key])
            for key in after
            if key not in ("", "COMMENT", "HISTORY") and before.get(key) != after[key]
        ]
        stage_edited(source, folder / source.name, edits)
        spt = golden / "data" / f"{root}_spt.fits"
        if spt.exists():
            shutil.copyfile(spt, folder / spt.name)
    if rows:
        write_filtered(golden / "data" / ASSOCIATION, folder / ASSOCIATION, rows)
    return folder


def task_of(*exposures: str, products: tuple[str, ...], chips: int = 2) -> Task:
    hdus = tuple(f"{name},{chip}" for chip in range(1, chips + 1) for name in ("SCI", "ERR", "DQ"))
    outputs = tuple(Output(name=f"{name}.fits", folder="products", size=0, hdus=hdus) for name in products)
    return Task(id=f"calibrate/{exposures[0]}", kind="calibrate", exposures=exposures, outputs=outputs)


def run_by_hand(program: Path, folder: Path, name: str) -> None:
    subprocess.run(
        [program, name],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "jref": f"{folder}/ref/"},
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=300,
    )


def on_one_day(work: Callable[[int], None]) -> None:
    """Do something twice if midnight (UTC) falls into it: DATE is the only card that knows the day."""
    for attempt in (1, 2):
        day = datetime.datetime.now(datetime.UTC).date()
        work(attempt)
        if datetime.datetime.now(datetime.UTC).date() == day:
            return


def calibrate(program: Path, task: Task, folder: Path, heard: list[str] | None = None):
    report = (heard if heard is not None else []).append
    return CalacsEngine(program).calibrate(task, folder, threads=2, deadline=300.0, report=report)


@pytest.mark.parametrize(
    ("golden", "roots", "rows", "chips", "suffixes"),
    [
        ("pre_dth", (ONE, TWO), (1, 2), 2, ("flt", "flc")),
        ("post_dth", (ONE, TWO), (1, 2), 2, ("flt", "flc")),
        ("post_sub2k", (ONE,), (1,), 1, ("flt", "flc")),
        ("pre_sub", (ONE,), (1,), 1, ("flt",)),
    ],
)
def test_dithered_exposures_one_by_one_are_byte_identical_to_the_association_run_by_hand(
    golden, roots, rows, chips, suffixes, calacs_exe, shared_dir, tmp_path
):
    source = shared_dir / "golden" / golden

    def compare(attempt: int) -> None:
        by_hand = stage(source, tmp_path / f"hand{attempt}", *roots, rows=rows)
        run_by_hand(calacs_exe, by_hand, ASSOCIATION)
        for root in roots:
            folder = stage(source, tmp_path / f"{root}{attempt}", root)
            products = tuple(f"{root}_{suffix}" for suffix in suffixes)
            outcome = calibrate(calacs_exe, task_of(root, products=products, chips=chips), folder)
            assert outcome.command[-1] == f"{root}_raw.fits"
            for product in products:
                name = f"{product}.fits"
                assert (folder / name).read_bytes() == (by_hand / name).read_bytes(), name

    on_one_day(compare)


def test_a_cr_split_group_is_byte_identical_to_the_association_run_by_hand(calacs_exe, shared_dir, tmp_path):
    source = shared_dir / "golden" / "pre_cr"
    products = (f"{ONE}_flt", f"{ONE}_flc", f"{TWO}_flt", f"{TWO}_flc", "j9sy01010_crj", "j9sy01010_crc")

    def compare(attempt: int) -> None:
        by_hand = stage(source, tmp_path / f"hand{attempt}", ONE, TWO, rows=(1, 2, 3))
        run_by_hand(calacs_exe, by_hand, ASSOCIATION)
        folder = stage(source, tmp_path / f"engine{attempt}", ONE, TWO, rows=(1, 2, 3))
        heard: list[str] = []
        outcome = calibrate(calacs_exe, task_of(ONE, TWO, products=products), folder, heard)
        assert outcome.command[-1] == ASSOCIATION
        assert f"{TWO} BIASCORR" in heard
        assert any("cosmic rays" in words for words in heard)
        for product in products:
            name = f"{product}.fits"
            assert (folder / name).read_bytes() == (by_hand / name).read_bytes(), name

    on_one_day(compare)


@pytest.mark.parametrize(
    "name",
    [
        "blank comma, $HOME [1] (x) 'q' \"d\" ünïcode",
        "line\nbreak",
        "/".join(["deep" * 12] * 16),
    ],
    ids=["nasty", "newline", "800 characters"],
)
def test_it_does_not_matter_what_the_attempt_folder_is_called(name, calacs_exe, shared_dir, tmp_path):
    folder = stage(shared_dir / "golden" / "pre_sub", tmp_path / name, ONE)
    outcome = calibrate(calacs_exe, task_of(ONE, products=(f"{ONE}_flt",), chips=1), folder)
    assert outcome.exit_status == 0
    assert (folder / f"{ONE}_flt.fits").is_file()
    assert {path.name for path in folder.iterdir()} == {
        f"{ONE}_raw.fits",
        f"{ONE}_spt.fits",
        "ref",
        "calacs.log",
        f"{ONE}.tra",
        f"{ONE}_flt.fits",
    }


def test_progress_and_trailer_come_from_the_real_output(calacs_exe, shared_dir, tmp_path):
    folder = stage(shared_dir / "golden" / "pre_sub", tmp_path / "attempt", ONE)
    heard: list[str] = []
    outcome = calibrate(calacs_exe, task_of(ONE, products=(f"{ONE}_flt",), chips=1), folder, heard)
    assert heard == ["DQICORR", "BIASCORR", "BLEVCORR", "DARKCORR", "FLATCORR", "PHOTCORR"]
    assert outcome.details["trailers"] == [f"{ONE}.tra"]
    assert outcome.versions["calacs"].split()[0][0].isdigit()


def test_a_missing_reference_is_named_with_a_hint(calacs_exe, shared_dir, tmp_path):
    folder = stage(shared_dir / "golden" / "pre_sub", tmp_path / "attempt", ONE)
    dark = fits.getval(folder / f"{ONE}_raw.fits", "DARKFILE").partition("$")[2]
    (folder / "ref" / dark).unlink()
    with pytest.raises(EngineError) as caught:
        calibrate(calacs_exe, task_of(ONE, products=(f"{ONE}_flt",), chips=1), folder)
    assert dark in caught.value.message
    assert "DARKFILE" in caught.value.message
    assert "references" in str(caught.value.hint)


def test_all_switches_omitted_is_a_failure_although_calacs_says_0(calacs_exe, shared_dir, tmp_path):
    folder = stage(shared_dir / "golden" / "pre_sub", tmp_path / "attempt", ONE)
    with fits.open(folder / f"{ONE}_raw.fits", mode="update") as hdus:
        for key in [key for key in hdus[0].header if key.endswith("CORR")]:
            hdus[0].header[key] = "OMIT"
    with pytest.raises(EngineError) as caught:
        calibrate(calacs_exe, task_of(ONE, products=(f"{ONE}_flt",), chips=1), folder)
    assert "ended with exit status 0, but j9sy01a1q_flt.fits was not made" in caught.value.message
    assert "OMIT" in str(caught.value.hint)


def test_the_real_program_says_what_it_is(calacs_exe):
    found = ability(str(calacs_exe.parent))
    assert found.available
    assert found.detail == str(calacs_exe)
    assert get_engine(f"calacs {found.version}", str(calacs_exe.parent)).name == "calacs"


def test_both_engines_satisfy_the_same_proof(calacs_exe, shared_dir, tmp_path):
    task = task_of(ONE, products=(f"{ONE}_flt",), chips=1)
    one = stage(shared_dir / "golden" / "pre_sub", tmp_path / "calacs", ONE)
    other = stage(shared_dir / "golden" / "pre_sub", tmp_path / "embedded", ONE)
    calibrate(calacs_exe, task, one)
    outcome = EmbeddedEngine().calibrate(task, other, threads=1, deadline=300.0, report=lambda _text: None)
    assert "acsrecipe-embedded" in outcome.versions
    with fits.open(one / f"{ONE}_flt.fits") as a, fits.open(other / f"{ONE}_flt.fits") as b:
        for name in ("SCI", "ERR", "DQ"):
            assert a[name].data.tobytes() == b[name].data.tobytes()
