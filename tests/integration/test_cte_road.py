"""CTE correction as a user meets it: trails in, corrected FLCs out; interrupted and killed, it goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.demo.headers import switches
from acsrecipe.demo.modes import MODES
from acsrecipe.demo.rules import choose_references, name_reference
from acsrecipe.demo.truth import compare_with_truth
from acsrecipe.engines.embedded import pipeline
from acsrecipe.engines.embedded.cte.correct import oriented, sensitivity
from acsrecipe.engines.embedded.cte.forward import trail_amp
from acsrecipe.engines.embedded.cte.table import read_table
from acsrecipe.plan.model import from_json
from acsrecipe.recipe.toml import load_recipe
from acsrecipe.run.journal import read_journal

RECIPES = Path(__file__).resolve().parents[2] / "recipes"


def start(*args: object) -> subprocess.Popen[str]:
    environment = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "acsrecipe", *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment, "PATH": "/usr/bin:/bin", "COLUMNS": "100"},
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, out + err
    return out + err


def without_steps(dataset: Dataset) -> Dataset:
    """Calibration only: it is what is to be killed."""
    text = dataset.recipe.read_text()
    dataset.recipe.write_text(text[: text.index("[[post]]")])
    return dataset


def finished(run: Path) -> Counter[str]:
    return Counter(
        event["task"] for event in read_journal(run / "provenance.jsonl") if event["event"] == "task-finished"
    )


def follow_log(run: Path, calibrated: int) -> None:
    """Wait until that many exposures are calibrated and the next one has been started."""
    until = time.monotonic() + 60
    log = run / "provenance.jsonl"
    while time.monotonic() < until:
        lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
        events = Counter(
            event["event"] for event in map(json.loads, lines) if str(event.get("task")).startswith("calibrate/")
        )
        if events["task-finished"] >= calibrated and events["task-started"] > calibrated:
            return
        time.sleep(0.002)
    raise AssertionError(f"the log does not get so far: {log}")


def pixels(run: Path) -> dict[str, str]:
    """A hash of every pixel plane of the products."""
    found = {}
    for path in sorted((run / "products").glob("*_fl?.fits")):
        with fits.open(path) as hdus:
            for hdu in hdus[1:]:
                if hdu.name in ("SCI", "ERR", "DQ"):
                    found[f"{path.name} {hdu.name} {hdu.ver}"] = hashlib.sha256(hdu.data.tobytes()).hexdigest()
    return found


def stage(dataset: Dataset, folder: Path) -> list[Path]:
    """Do by hand what a run does before it calibrates: references by keyword in copies of the exposures."""
    mode = MODES[dataset.mode]
    folder.mkdir()
    (folder / "ref").symlink_to(dataset.crds / "references" / "hst")
    raws = []
    for root in dataset.rootnames:
        raws.append(folder / f"{root}_raw.fits")
        shutil.copy(dataset.data / raws[-1].name, folder)
        with fits.open(raws[-1], mode="update", memmap=False) as hdus:
            hdus[0].header.update({**switches(mode), **choose_references(switches(mode), mode, 2)})
    return raws


def test_the_demo_shows_that_trails_are_corrected(tmp_path):
    text = finish(start("demo", tmp_path / "demo", "--mode", "post_cte", "--engine", "embedded"))
    assert text.count("has trails") == 2
    assert text.count("agrees") == 2
    assert len(list((tmp_path / "demo" / "run" / "products").glob("*_flc.fits"))) == 2


@pytest.mark.parametrize("mode", ["pre_cte", "post_cte"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_corrected_exposure_is_the_scene_before_it_was_trailed(mode, seed, tmp_path):
    dataset = make_dataset(tmp_path / "demo", mode=mode, seed=seed)
    pipeline.calibrate(stage(dataset, tmp_path / "run"), tmp_path / "run" / "ref", tmp_path / "run")
    verdicts = compare_with_truth(tmp_path / "run", dataset.truth)
    flt, flc = ([one for one in verdicts if one.product == kind] for kind in ("flt", "flc"))
    assert len(flt) == len(flc) == 2
    assert all(one.is_as_it_should_be for one in verdicts), verdicts
    assert all(one.agrees for one in flc)
    assert not any(one.agrees for one in flt)
    # Two exposures together: the mean of all pixels is what is left where nothing is bright.
    assert np.mean([one.behind for one in flt]) > 0.4
    assert np.mean([one.behind - one.mean for one in flc]) == pytest.approx(0, abs=0.12)


@pytest.mark.calacs
@pytest.mark.parametrize("mode", ["pre_cte", "post_cte"])
def test_calacs_makes_the_same_of_trailed_exposures(mode, tmp_path, calacs_exe):
    dataset = make_dataset(tmp_path / "demo", mode=mode, exposures=1)
    (raw,) = stage(dataset, tmp_path / "theirs")
    pipeline.calibrate(stage(dataset, tmp_path / "ours"), tmp_path / "ours" / "ref", tmp_path / "ours")
    subprocess.run(
        [str(calacs_exe), raw.name], cwd=raw.parent, env={"jref": "ref/"}, check=True, capture_output=True, timeout=300
    )
    for suffix in ("flt", "flc"):
        name = raw.name.replace("_raw", f"_{suffix}")
        with fits.open(tmp_path / "ours" / name) as ours, fits.open(tmp_path / "theirs" / name) as theirs:
            for plane in [(kind, number) for kind in ("SCI", "ERR", "DQ") for number in (1, 2)]:
                np.testing.assert_array_equal(ours[plane].data, theirs[plane].data, err_msg=f"{name} {plane}")


@pytest.mark.calacs
@pytest.mark.parametrize("mode", ["pre_cte", "post_cte"])
def test_charge_is_trailed_as_acscteforwardmodel_does(mode, tmp_path, calacs_exe):
    programs = [calacs_exe.with_name(name) for name in ("acsccd.e", "acscteforwardmodel.e")]
    if not all(program.is_file() for program in programs):
        pytest.skip("acsccd.e and acscteforwardmodel.e are not installed beside calacs.e")
    dataset = make_dataset(tmp_path / "demo", mode=mode, exposures=1)
    (raw,) = stage(dataset, tmp_path / "run")
    before = raw.with_name(raw.name.replace("_raw", "_blv_tmp"))
    for program, name in zip(programs, (raw.name, before.name), strict=True):
        command = [str(program), name]
        subprocess.run(command, cwd=raw.parent, env={"jref": "ref/"}, check=True, capture_output=True, timeout=300)
    (after,) = raw.parent.glob("*_ctefmod.fits")
    table = read_table(raw.parent / "ref" / name_reference("PCTETAB", 1))
    with fits.open(before) as given, fits.open(after) as theirs:
        expstart = given[0].header["EXPSTART"]
        for number, amps in ((1, "CD"), (2, "AB")):
            ours = given["SCI", number].data.astype(np.float32)
            for left, amp in zip((0, 128), amps, strict=True):
                # That program goes along rows first; the demo last, as charge does.
                for serial in (True, False) if mode == "post_cte" else (False,):
                    traps = table.serial[amp] if serial else table.parallel
                    lines = oriented(amp, ours[:, left : left + 128], serial)
                    fraction = (expstart - traps.date0) / (traps.date1 - traps.date0)
                    trailed = trail_amp(lines, traps, sensitivity(traps, amp, left, len(lines)), fraction=fraction)
                    lines += trailed - lines
            assert np.abs(ours - given["SCI", number].data).max() > 100
            np.testing.assert_array_equal(ours, theirs["SCI", number].data)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return without_steps(make_dataset(tmp_path_factory.mktemp("cte") / "demo", mode="pre_cte", exposures=5))


@pytest.fixture(scope="module")
def undisturbed(dataset, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(start("run", dataset.recipe, "-o", folder, "-j", "1", "--engine", "embedded"))
    return pixels(folder)


def test_killed_and_started_again_it_loses_at_most_the_exposure_in_work(dataset, undisturbed, tmp_path):
    folder = tmp_path / "run"
    command = ("run", dataset.recipe, "-o", folder, "-j", "1", "--engine", "embedded")
    process = start(*command)
    follow_log(folder, 2)
    process.kill()
    finish(process, -signal.SIGKILL)
    before = finished(folder)
    assert before.total() >= 2
    events = list(read_journal(folder / "provenance.jsonl"))
    begun = {event["task"] for event in events if event["event"] == "task-started"}
    assert len(begun - set(before)) <= 1

    text = finish(start(*command))
    tasks = {task.id for task in from_json((folder / "plan.json").read_text()).tasks}
    assert finished(folder) == Counter(tasks)
    for task in before:
        assert f"{task}: kept, up to date" in text
    assert pixels(folder) == undisturbed
    assert list((folder / "work").iterdir()) == []


def test_ctrl_c_stops_it_at_once_and_the_next_run_goes_on(dataset, undisturbed, tmp_path):
    folder = tmp_path / "run"
    command = ("run", dataset.recipe, "-o", folder, "-j", "1", "--engine", "embedded")
    process = start(*command)
    follow_log(folder, 1)
    process.send_signal(signal.SIGINT)
    asked = time.monotonic()
    assert "run the same command again" in finish(process, 130)
    # Measured are 0.5 s for full frames; the machine may be busy.
    assert time.monotonic() - asked < 5
    before = finished(folder)
    finish(start(*command))
    assert pixels(folder) == undisturbed
    assert set(before.values()) == {1}
    assert set(finished(folder).values()) == {1}


def test_a_line_of_progress_names_amplifier_share_and_time_left(dataset, tmp_path):
    said: list[str] = []
    raws = stage(dataset, tmp_path / "run")
    pipeline.calibrate(raws[:1], tmp_path / "run" / "ref", tmp_path / "run", report=said.append)
    told = [line for line in said if line.startswith("CTE ")]
    assert {line.split()[2] for line in told} == set("CDAB")
    assert any(line.startswith(f"CTE {dataset.rootnames[0]} B 100%, 0 s left") for line in told)


def test_the_recipe_for_real_data_asks_for_what_the_demo_shows():
    with_cte, without = (load_recipe(RECIPES / f"acs_wfc_{name}.toml").recipe for name in ("cte", "reduction"))
    assert with_cte.switches == {"PCTECORR": "PERFORM"}
    assert without.switches == {"PCTECORR": "OMIT"}
    assert with_cte.observations == without.observations
    assert with_cte.association == without.association
    assert with_cte.post == without.post
