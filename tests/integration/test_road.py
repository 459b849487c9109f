"""The whole road, as a user walks it: demo data, plan, run, log; each command in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.demo.truth import compare_with_truth
from acsrecipe.run.journal import read_journal


def acsrecipe(*args: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with no variable of CRDS and no calacs.e in PATH."""
    environment = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "acsrecipe", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**environment, "PATH": "/usr/bin:/bin", "COLUMNS": "100", **variables},
    )


def digest(folder: Path) -> dict[str, str]:
    """Every file below a folder with its sha256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("road") / "demo", seed=1, mode="pre_dth")


@pytest.fixture(scope="module")
def delivered(dataset: Dataset) -> dict[str, str]:
    return digest(dataset.folder)


@pytest.fixture(scope="module")
def run(dataset: Dataset, delivered: dict[str, str]) -> Path:
    """The folder of a finished run."""
    folder = dataset.folder.parent / "run"
    done = acsrecipe("run", dataset.recipe, "--output", folder, "-j", "2")
    assert done.returncode == 0, done.stderr
    return folder


def events(run: Path, kind: str) -> list[dict]:
    return [event for event in read_journal(run / "provenance.jsonl") if event["event"] == kind]


def test_plan_leaves_no_trace_on_disk(dataset, delivered, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    done = acsrecipe("plan", dataset.recipe, cwd=tmp_path, HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert digest(dataset.folder) == delivered
    assert list(home.rglob("*")) == []
    assert list(tmp_path.iterdir()) == [home]


def test_the_plan_as_json_is_the_same_bytes_each_time_and_has_no_colour(dataset, delivered):
    first, second = (acsrecipe("plan", dataset.recipe, "--json") for _ in range(2))
    assert first.stdout == second.stdout
    plan = json.loads(first.stdout)
    assert {change["keyword"] for change in plan["header_changes"]} == {"PCTECORR", "TARGNAME", "CRDS_CTX"}
    assert "\x1b" not in acsrecipe("plan", dataset.recipe).stdout


def test_products_agree_with_the_truth_and_have_an_updated_wcs(dataset, run):
    verdicts = compare_with_truth(run / "products", dataset.truth)
    assert len(verdicts) == 4
    assert all(verdict.agrees for verdict in verdicts), verdicts
    for root in dataset.rootnames:
        with fits.open(run / "products" / f"{root}_flt.fits") as hdus:
            assert hdus["SCI", 1].header["WCSNAME"].startswith("IDC_")
            assert hdus[0].header["PCTECORR"] == "OMIT"
            assert hdus[0].header["FLATCORR"] == "COMPLETE"
            assert ("WCSDVARR", 1) in hdus
        assert (run / "plots" / f"{root}_compare.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_delivered_was_touched(dataset, delivered, run):
    assert digest(dataset.folder) == delivered


def test_the_product_row_goes_from_the_staged_association_and_the_log_says_so(dataset, run):
    delivered = fits.getdata(dataset.data / "j9l960010_asn.fits")
    staged = fits.getdata(run / "products" / "j9l960010_asn.fits")
    assert "PROD-DTH" in list(delivered["MEMTYPE"])
    assert list(staged["MEMTYPE"]) == ["EXP-DTH"] * 4
    event = next(one for one in events(run, "task-finished") if one["kind"] == "association")
    assert [row["memtype"] for row in event["association_change"]["dropped"]] == ["PROD-DTH"]
    assert (
        event["inputs"][0]["sha256"] == hashlib.sha256((dataset.data / "j9l960010_asn.fits").read_bytes()).hexdigest()
    )


def test_the_log_has_what_the_plan_said_and_the_hashes_of_what_is_there(run):
    plan = json.loads((run / "plan.json").read_text())
    start = events(run, "run-started")[0]
    assert start["plan"] == hashlib.sha256((run / "plan.json").read_bytes()).hexdigest()
    assert start["versions"]["numpy"]
    finished = events(run, "task-finished")
    assert len(finished) == len(plan["tasks"]) == 13
    logged = [change for event in finished for change in event.get("reference_changes", ())]
    assert sorted(map(json.dumps, logged)) == sorted(map(json.dumps, plan["reference_changes"]))
    for event in finished:
        assert event["duration"] >= 0
        for output in event["outputs"]:
            if output["folder"]:
                content = (run / output["path"]).read_bytes()
                assert output["sha256"] == hashlib.sha256(content).hexdigest()
    assert list((run / "work").iterdir()) == []


def test_the_log_is_shown_to_people(run):
    done = acsrecipe("log", run)
    assert done.returncode == 0
    assert "PCTECORR: PERFORM -> OMIT" in done.stdout
    assert "recipe.toml:14 [switches] PCTECORR" in done.stdout
    assert "row 5: J9L960010 PROD-DTH" in done.stdout


def test_running_again_does_nothing(dataset, run):
    before = digest(run / "products")
    done = acsrecipe("run", dataset.recipe, "--output", run)
    assert "0 tasks finished, 13 kept, 0 failed" in done.stderr
    assert digest(run / "products") == before


def test_an_edited_product_is_made_again_and_the_edited_one_kept_aside(dataset, run):
    product = run / "products" / "j9l960a7q_flt.fits"
    good = product.read_bytes()
    product.write_bytes(good[:-1] + b"x")
    done = acsrecipe("run", dataset.recipe, "--output", run)
    assert done.returncode == 0, done.stderr
    assert "updatewcs/j9l960a7q: started (j9l960a7q_flt.fits is not as it was left)" in done.stderr
    assert product.with_name("j9l960a7q_flt.fits.kept-1").read_bytes() == good[:-1] + b"x"
    assert fits.getval(product, "WCSNAME", "SCI").startswith("IDC_")


def test_a_changed_recipe_runs_only_what_it_changes(dataset, run):
    recipe = dataset.folder / "other.toml"
    recipe.write_text(
        dataset.recipe.read_text().replace('step = "compare-plot"', 'step = "compare-plot"\nsection = [0, 50, 0, 50]')
    )
    done = acsrecipe("run", recipe, "--output", run)
    recipe.unlink()
    assert done.returncode == 0, done.stderr
    assert "4 tasks finished, 9 kept, 0 failed" in done.stderr


def test_a_changed_raw_is_refused_when_it_changed_after_the_plan(dataset, tmp_path):
    from acsrecipe import Environment, build_plan, load_recipe, run_plan

    copy = make_dataset(tmp_path / "demo", seed=2, mode="pre_sub")
    recipe = load_recipe(copy.recipe)
    plan = build_plan(recipe)
    raw = copy.data / f"{copy.rootnames[0]}_raw.fits"
    content = bytearray(raw.read_bytes())
    content[-3000] ^= 1
    raw.write_bytes(bytes(content))
    result = run_plan(plan, recipe, tmp_path / "run", environment=Environment.of(os.environ), jobs=1)
    error = result.failed[f"calibrate/{copy.rootnames[0]}"]
    assert error.exit_code == 8
    assert "changed since the plan was made" in error.message
    assert not list((tmp_path / "run" / "products").glob("*_flt.fits"))


def test_a_second_run_in_the_same_folder_is_refused_and_told_who_holds_it(dataset, tmp_path):
    from acsrecipe.run.workdir import RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    with folder.alone():
        done = acsrecipe("run", dataset.recipe, "--output", tmp_path / "run")
    assert done.returncode == 9
    assert f"pid {os.getpid()}" in done.stderr


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(dataset, tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "acsrecipe", "run", str(dataset.recipe), "--output", str(folder), "-j", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PATH": "/usr/bin:/bin"},
    )
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "calibrate/j9l960a7q: finished" in line:  # The next one is in work then.
            process.send_signal(signal.SIGINT)
            break
    began = time.monotonic()
    _, rest = process.communicate(timeout=30)
    assert process.returncode == 130, "".join(lines) + rest
    assert time.monotonic() - began < 10
    assert "run the same command again" in rest
    assert all(fits.open(path) for path in (folder / "products").glob("*_flt.fits"))
    assert events(folder, "run-interrupted")
    done = acsrecipe("run", dataset.recipe, "--output", folder)
    assert done.returncode == 0, done.stderr
    assert "calibrate/j9l960a7q: kept, up to date" in done.stderr


def test_a_failing_exposure_costs_only_its_own_tasks(tmp_path):
    broken = make_dataset(tmp_path / "demo", seed=1, mode="pre_dth")
    # CCDTAB has no row for this bias offset: the engine finds that out, not the plan.
    text = broken.recipe.read_text().replace(
        "[references]",
        '[[headers]]\nset = { CCDOFSTB = 9 }\nwhere = { ROOTNAME = "j9l960a9q" }\nreason = "break it"\n\n[references]',
    )
    broken.recipe.write_text(text)
    done = acsrecipe("run", broken.recipe, "--output", tmp_path / "run")
    assert done.returncode == 5, done.stderr
    assert "CCDTAB" in done.stderr
    assert "updatewcs/j9l960a9q: not started" in done.stderr
    made = sorted(path.name for path in (tmp_path / "run" / "products").glob("*_flt.fits"))
    assert made == ["j9l960a7q_flt.fits", "j9l960abq_flt.fits", "j9l960adq_flt.fits"]


def test_a_plan_that_can_not_run_here_still_shows_every_change(dataset):
    done = acsrecipe("plan", dataset.recipe, "--engine", "calacs")
    assert done.returncode == 3
    assert "PERFORM" in done.stdout
    assert "calacs.e is not on the search path" in done.stdout


def test_an_unknown_observation_names_what_is_there(dataset, tmp_path):
    recipe = dataset.folder / "wrong.toml"
    recipe.write_text(dataset.recipe.read_text().replace("J9L960010", "J9L960011"))
    done = acsrecipe("plan", recipe)
    recipe.unlink()
    assert done.returncode == 3
    assert "j9l960010" in done.stdout.lower() + done.stderr.lower()


def test_real_names_survive_terminals_and_pipes(dataset):
    head = subprocess.run(
        f"{sys.executable} -m acsrecipe plan {dataset.recipe} | head -1",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "Traceback" not in head.stderr
    narrow = acsrecipe("plan", dataset.recipe, COLUMNS="20", LANG="C", PYTHONIOENCODING="ascii:replace")
    assert narrow.returncode == 0, narrow.stderr
