"""The whole road over the network: the notebook's own recipe against stand-ins for MAST and CRDS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from standins.many import make_many
from standins.mast_server import FailingServer, serve_failing

from acsrecipe.api import build_plan, find_exposures, load_recipe, run_plan
from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.demo.standins.crds import CrdsStandin, serve_crds
from acsrecipe.demo.truth import compare_with_truth
from acsrecipe.environment import Environment
from acsrecipe.inputs.crds_cache import Patience
from acsrecipe.plan.downloads import count_downloads
from acsrecipe.plan.model import from_json, to_json

RECIPE = Path(__file__).parents[2] / "recipes" / "acs_wfc_reduction.toml"
TOKEN = "tok-2f6b1f1c9d-never-to-be-seen"
BAD = "j9l960abq_raw.fits"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_dataset(tmp_path_factory.mktemp("demo") / "d")


class Site:
    """Two servers, and a user's folder with the recipe, and the recipe without its post-steps, which take long."""

    def __init__(self, mast: FailingServer, crds: CrdsStandin, folder: Path) -> None:
        self.mast, self.crds, self.folder = mast, crds, folder
        (folder / "home").mkdir()
        self.lean = folder / "lean.toml"
        self.lean.write_text(RECIPE.read_text().partition("[[post]]")[0])

    def variables(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "HOME": str(self.folder / "home"),
            "MAST_SERVER": self.mast.url,
            "CRDS_SERVER_URL": self.crds.url,
            "CRDS_PATH": str(self.folder / "crds"),
            "ACSRECIPE_CACHE": str(self.folder / "downloads"),
            "NO_COLOR": "1",
            "COLUMNS": "150",
            **more,
        }

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "acsrecipe", *words],
            cwd=self.folder,
            env=self.variables(**variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def environment(self, **changes: object) -> Environment:
        hasty = Patience(connect=2.0, silence=2.0, attempts=2, backoff=0.02, longest_wait=1.0)
        found = replace(Environment.of(self.variables()), patience=hasty, deadline=20.0)
        return replace(found, **changes)  # type: ignore[arg-type]


@pytest.fixture
def site(demo: Dataset, tmp_path: Path) -> Iterator[Site]:
    with serve_failing(demo.data) as mast, serve_crds(demo.crds) as crds:
        yield Site(mast, crds, tmp_path)


def events(run: Path) -> list[Mapping[str, object]]:
    return [json.loads(line) for line in (run / "provenance.jsonl").read_text().splitlines()]


def test_the_notebooks_recipe_runs_unchanged_and_no_token_is_left_anywhere(site: Site, demo: Dataset) -> None:
    site.mast.exclusive, site.mast.token = {"J9L960A9Q"}, TOKEN
    seen = site.command("plan", str(RECIPE), MAST_API_TOKEN=TOKEN)
    assert seen.returncode == 0, seen.stderr
    assert "will be downloaded" in " ".join(seen.stdout.split())
    # Header blocks of four exposures, and no pixel of them.
    assert site.mast.bytes_sent < 2_000_000
    assert not (site.folder / "downloads" / "objects").exists()
    assert not list((site.folder / "crds").rglob("*.fits"))

    ran = site.command("run", str(RECIPE), "--output", "ngc104", MAST_API_TOKEN=TOKEN)
    assert ran.returncode == 0, ran.stderr
    run = site.folder / "ngc104"
    assert len(list((run / "products").glob("*_flt.fits"))) == 4
    assert len(list((run / "plots").glob("*.png"))) == 4
    assert all(verdict.agrees for verdict in compare_with_truth(run / "products", demo.truth))
    fetched = [one for one in events(run) if one["event"] == "task-finished" and one["kind"] == "fetch"]
    logged = {file["path"]: file for one in fetched for file in one["inputs"]}  # type: ignore[attr-defined]
    assert logged["mast:HST/product/j9l960a9q_raw.fits"]["source"].startswith(site.mast.url)
    assert len(logged["mast:HST/product/j9l960a9q_raw.fits"]["sha256"]) == 64

    told = site.command("log", "ngc104")
    assert told.returncode == 0, told.stderr
    assert "fetch/references" in told.stdout

    site.mast.forget()
    again = site.command("run", str(RECIPE), "--output", "ngc104", MAST_API_TOKEN=TOKEN)
    assert again.returncode == 0, again.stderr
    assert "0 tasks finished, 13 kept, 0 failed" in again.stderr
    assert {span for _, path, span in site.mast.requests if "retrieve" in path} == {"bytes=0-2879"}

    said = seen.stdout + seen.stderr + ran.stdout + ran.stderr + again.stdout + again.stderr
    assert TOKEN not in said
    written = [path for path in site.folder.rglob("*") if path.is_file()]
    assert len(written) > 50
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    assert any(TOKEN in cookie for _, cookie in site.mast.cookies)


def test_a_run_that_lost_a_download_finishes_later_without_repeating_the_rest(site: Site) -> None:
    environment = site.environment()
    recipe = load_recipe(site.lean)
    plan = build_plan(recipe, environment=environment)
    site.mast.fail(BAD, "500")
    run = site.folder / "run"
    first = run_plan(plan, recipe, run, environment=environment)
    assert set(first.failed) == {"fetch/j9l960abq"}
    assert "j9l960abq_raw.fits" in str(first.failed["fetch/j9l960abq"])
    assert "calibrate/j9l960a7q" in first.finished
    assert set(first.skipped) == {"calibrate/j9l960abq"}
    site.mast.mend()
    site.mast.forget()
    second = run_plan(build_plan(recipe, environment=environment), recipe, run, environment=environment)
    assert second.succeeded
    assert sorted(second.finished) == ["calibrate/j9l960abq", "fetch/j9l960abq"]
    whole = [path.rpartition("/")[2] for _, path, span in site.mast.requests if "_raw" in path and not span]
    assert whole == [BAD]


def test_what_the_archive_changed_after_the_plan_is_not_calibrated(site: Site) -> None:
    environment = site.environment()
    recipe = load_recipe(site.lean)
    plan = build_plan(recipe, environment=environment)
    content = site.mast.files[BAD].read_bytes()
    at = content.index(b"DATE    =")
    site.mast.change(BAD, content[at : at + 20], content[at : at + 20].replace(b"2006", b"2016"))
    try:
        result = run_plan(plan, recipe, site.folder / "run", environment=environment)
    finally:
        site.mast.files[BAD].unlink()
    assert "changed in the archive since the plan was made" in str(result.failed["fetch/j9l960abq"])
    assert not (site.folder / "run" / "products" / "j9l960abq_flt.fits").exists()
    assert (site.folder / "run" / "products" / "j9l960a7q_flt.fits").exists()


def test_after_fetch_all_goes_without_a_network(site: Site) -> None:
    got = site.command("fetch", "lean.toml")
    assert got.returncode == 0, got.stderr
    assert "4 exposures and 8 new references are here" in got.stdout
    site.mast.forget()
    site.crds.requests.clear()
    ran = site.command("run", "lean.toml", "--offline", "--output", "run")
    assert ran.returncode == 0, ran.stderr
    assert site.mast.requests == []
    assert site.crds.requests == []
    assert len(list((site.folder / "run" / "products").glob("*_flt.fits"))) == 4


def test_two_runs_at_once_share_each_download(site: Site) -> None:
    command = [sys.executable, "-m", "acsrecipe", "run", "lean.toml", "-j", "1", "--output"]
    site.mast.rate = 1e6
    both = [
        subprocess.Popen([*command, name], cwd=site.folder, env=site.variables(), stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for process in both:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    whole = [path.rpartition("/")[2] for _, path, span in site.mast.requests if "_raw" in path and not span]
    assert sorted(whole) == [f"j9l960a{letter}q_raw.fits" for letter in "79bd"]
    references = [name for name in site.crds.requests if name.endswith(".fits")]
    assert len(references) == len(set(references)) == 8


def test_a_plan_survives_its_own_json_with_what_it_will_download(site: Site) -> None:
    plan = build_plan(load_recipe(site.lean), environment=site.environment())
    assert from_json(to_json(plan)) == plan
    files, size = count_downloads(plan)
    assert files == 4 + 4 + 1 + 8
    assert size > 4 * 201600
    assert to_json(build_plan(load_recipe(site.lean), environment=site.environment())) == to_json(plan)


def test_a_reference_that_rotted_in_the_cache_is_fetched_again(site: Site) -> None:
    environment = site.environment()
    recipe = load_recipe(site.lean)
    assert site.command("fetch", "lean.toml").returncode == 0
    (dark,) = (site.folder / "crds" / "references").rglob("*_drk.fits")
    with dark.open("r+b") as file:
        file.seek(20_000)
        file.write(b"rot")
    plan = build_plan(recipe, environment=environment)
    assert [one.name for task in plan.tasks if task.kind == "fetch" for one in task.references] == [dark.name]
    assert site.command("fetch", "lean.toml").returncode == 0
    assert site.crds.requests.count(dark.name) == 2
    assert count_downloads(build_plan(recipe, environment=environment)) == (0, 0)


def test_doctor_says_what_is_here_and_how_to_mend_what_is_not(site: Site) -> None:
    site.mast.token = TOKEN
    found = site.command("doctor", str(RECIPE), "--json", MAST_API_TOKEN=TOKEN)
    assert found.returncode == 0, found.stdout + found.stderr
    states = {one["name"]: one["state"] for one in json.loads(found.stdout)["checks"]}
    assert states["MAST"] == states["MAST token"] == states["CRDS server"] == states["versions"] == "ok"
    assert states["engine calacs"] == "note"
    assert TOKEN not in found.stdout + found.stderr
    wrong = site.command("doctor", "--json", MAST_API_TOKEN="expired-one")
    states = {one["name"]: one for one in json.loads(wrong.stdout)["checks"]}
    assert states["MAST token"]["state"] == "warning"
    assert "expired-one" not in wrong.stdout
    away = site.command("doctor", str(RECIPE), MAST_SERVER="http://127.0.0.1:9")
    assert away.returncode == 4
    assert "✗ MAST" in away.stdout
    assert "to mend it" in away.stdout


@pytest.mark.slow
def test_a_plan_of_a_thousand_exposures_moves_less_than_a_hundred_megabytes(demo: Dataset, tmp_path: Path) -> None:
    associations = make_many(demo.data / "j9l960a7q_raw.fits", tmp_path / "archive", 1000)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'format = 1\nname = "many"\n[observations]\nproposal = 10775\nids = ["J9L9*"]\narchive = "mast"\n'
        '[association]\nkeep = { MEMTYPE = ["EXP-DTH"] }\n'
    )
    with serve_failing(tmp_path / "archive") as mast:
        environment = Environment(mast_server=mast.url, downloads=str(tmp_path / "downloads"))
        found = find_exposures(load_recipe(recipe), environment)
        assert len(found.exposures) == 1000
        assert len(found.associations) == len(associations) == 250
        assert [one for one in found.observed if one.severity == "error"] == []
        assert mast.bytes_sent < 100e6
        assert mast.most_at_work >= 4
        # At true size: the files have 34 MB each.
        assert sum(one.raw.size for one in found.exposures) > 34e9
