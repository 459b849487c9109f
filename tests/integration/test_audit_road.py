"""What was changed after a run is found and named, byte for byte; what was made otherwise is found in the headers."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits
from typer.testing import CliRunner

from acsrecipe.api import load_recipe, run_plan
from acsrecipe.api.audit import Auditor
from acsrecipe.api.lock import build_locked_plan, keep_lock, lock_path, make_lock, write_lock
from acsrecipe.cli.app import app
from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.environment import Environment
from acsrecipe.record.audit import AuditFinding, audit_run


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A subarray exposure with a dark of the user's own."""
    made = make_dataset(tmp_path_factory.mktemp("audit") / "demo", seed=1, mode="pre_sub")
    (made.folder / "refs").mkdir()
    shutil.copyfile(made.folder / "crds/references/hst/dmo0601ej_drk.fits", made.folder / "refs" / "our_drk.fits")
    text = made.recipe.read_text().split("[[post]]")[0].replace('engine = "auto"', 'engine = "embedded"')
    text = text.replace('cache = "crds"\n', 'cache = "crds"\noverride = { DARKFILE = "refs/our_drk.fits" }\n')
    made.recipe.write_text(text + '\n[[post]]\nstep = "compare-plot"\n')
    return made


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.of({"PATH": "/usr/bin:/bin", "HOME": str(tmp_path_factory.mktemp("home"))})


@pytest.fixture(scope="module")
def locked_run(dataset: Dataset, environment: Environment) -> Path:
    loaded = load_recipe(dataset.recipe)
    lock = make_lock(loaded, environment=environment)
    write_lock(lock, lock_path(dataset.recipe))
    plan = build_locked_plan(loaded, lock, environment=environment)
    folder = dataset.folder.parent / "run"
    done = run_plan(plan, loaded, folder, environment=environment, jobs=1)
    assert done.succeeded, done.failed
    keep_lock(dataset.recipe, folder)
    return folder


@pytest.fixture
def run(locked_run: Path, tmp_path: Path) -> Path:
    target = tmp_path / "run"
    shutil.copytree(locked_run, target)
    return target


def flip(path: Path, at: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.chmod(0o644)
    path.write_bytes(data)


def severities(found: tuple[AuditFinding, ...]) -> set[tuple[str, str]]:
    return {(one.code, one.severity) for one in found}


def test_a_run_as_it_was_left_is_clean(run):
    assert audit_run(run) == ()


@pytest.mark.parametrize("pattern", ["products/*_flt.fits", "plots/*.png", "logs/*.tra"])
def test_a_byte_flipped_in_an_output_is_found_and_named(run, pattern):
    paths = list(run.glob(pattern))
    if not paths:
        pytest.skip(f"this engine leaves no {pattern}")
    flip(paths[0], paths[0].stat().st_size // 2)
    (found,) = audit_run(run)
    assert (found.code, found.severity, found.file) == ("V004", "tampered", str(paths[0]))
    assert "was changed: sha256" in found.message


@pytest.mark.parametrize("name", ["provenance.jsonl", "plan.json", "recipe.lock"])
def test_a_bit_flipped_anywhere_in_log_plan_or_lock_is_found_and_named(run, name):
    path = run / name
    whole = path.read_bytes()
    places = random.Random(5).sample(range(len(whole)), 40)
    for at in (0, len(whole) - 1, len(whole) - 2, whole.find(b"\n"), *places):
        for bit in (0, 5):
            flip(path, at, bit)
            found = audit_run(run)
            assert any(one.severity == "tampered" and name in one.file for one in found), (at, bit, found)
            path.write_bytes(whole)
    assert audit_run(run) == ()


def remove_product(run: Path) -> str:
    next(run.glob("products/*_flt.fits")).unlink()
    return "V004"


def add_product(run: Path) -> str:
    (run / "products" / "other_flt.fits").write_bytes(b"x")
    return "V005"


def cut_log(run: Path) -> str:
    log = run / "provenance.jsonl"
    log.write_bytes(log.read_bytes()[:-100])
    return "V008"


def remove_a_line(run: Path) -> str:
    log = run / "provenance.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:1] + lines[2:]))
    return "V001"


def remove_log(run: Path) -> str:
    (run / "provenance.jsonl").unlink()
    return "V001"


def replace_plan(run: Path) -> str:
    plan = json.loads((run / "plan.json").read_text())
    (run / "plan.json").write_text(json.dumps(plan))
    return "V003"


OTHERS = [remove_product, add_product, cut_log, remove_a_line, remove_log, replace_plan]


@pytest.mark.parametrize("change", OTHERS, ids=lambda one: one.__name__)
def test_what_is_missing_added_or_replaced_is_found(run, change: Callable[[Path], str]):
    code = change(run)
    assert code in {one.code for one in audit_run(run)}


def test_a_run_that_did_not_keep_to_a_lock_is_found(run, dataset, environment):
    lock = make_lock(load_recipe(dataset.recipe), environment=environment, context="hst_0001.pmap")
    messages = [one.message for one in audit_run(run, lock)]
    assert "the run's CRDS context is hst_0002.pmap, the lock has hst_0001.pmap" in messages
    assert "the run read BPIXTAB dmo0202ej_bpx.fits, which the lock does not have" in messages


def audit(environment: Environment, dataset: Dataset, path: Path, **more) -> tuple[AuditFinding, ...]:
    return Auditor(environment, cache=str(dataset.folder / "crds"), **more).audit([path])


def test_a_product_is_held_against_its_recipe(run, dataset, environment):
    (flt,) = run.glob("products/*_flt.fits")
    clean = audit(environment, dataset, flt, recipe=load_recipe(dataset.recipe))
    assert severities(clean) == {("V021", "note")}
    other = dataset.folder / "other.toml"
    text = dataset.recipe.read_text().replace('PCTECORR = "OMIT"', 'FLATCORR = "OMIT"')
    other.write_text(text.replace('TARGNAME = "NGC104" }', 'TARGNAME = "47TUC" }').replace("hst_0002", "hst_0001"))
    found = audit(environment, dataset, flt, recipe=load_recipe(other))
    messages = {one.code: one.message for one in found}
    assert messages["V011"] == "FLATCORR is COMPLETE, the recipe says OMIT"
    assert messages["V013"] == "TARGNAME is 'NGC104', the recipe gives '47TUC'" or "CRDS_CTX" in messages["V013"]
    stale = {one.message.split()[0] for one in found if one.code == "V012"}
    assert {"BPIXTAB", "BIASFILE", "IMPHTTAB", "PFLTFILE"} <= stale
    assert "DARKFILE" not in stale


def test_stale_references_are_named_with_the_context_since_when(dataset, environment, run, tmp_path):
    (flt,) = run.glob("products/*_flt.fits")
    archived = tmp_path / flt.name
    shutil.copyfile(flt, archived)
    with fits.open(archived, mode="update") as hdus:
        # As if calibrated long ago, by the archive.
        del hdus["ACSRECIPE"]
        for keyword, name in (("CRDS_CTX", "hst_0001.pmap"), ("BPIXTAB", "jref$dmo0201ej_bpx.fits")):
            hdus[0].header[keyword] = name
    found = audit(environment, dataset, archived, context="hst_0002.pmap", data=dataset.data)
    stale = [one.message for one in found if one.code == "V020"]
    assert any(one.startswith("BPIXTAB dmo0201ej_bpx.fits is stale, since hst_0002.pmap: ") for one in stale)
    by_hand = [one.message for one in found if one.code == "V021"]
    assert any(
        one.startswith("DARKFILE our_drk.fits was set by hand: its own context hst_0001.pmap") for one in by_hand
    )
    without_raw = audit(environment, dataset, archived, context="hst_0002.pmap")
    assert not [one for one in without_raw if "BIASFILE" in one.message and one.severity == "finding"]


def test_the_command_exits_0_10_or_8(run, dataset, monkeypatch):
    (flt,) = run.glob("products/*_flt.fits")
    runner = CliRunner()
    assert runner.invoke(app, ["audit", str(run)]).exit_code == 0
    lock = ["--lock", str(lock_path(dataset.recipe))]
    clean = runner.invoke(app, ["audit", str(flt), "--recipe", str(dataset.recipe), *lock, "--json"])
    assert clean.exit_code == 0, clean.output
    assert [one["severity"] for one in json.loads(clean.stdout)["findings"]] == ["note"]
    stale = runner.invoke(
        app, ["audit", str(flt), "--context", "hst_0001.pmap", "--cache", str(dataset.folder / "crds")]
    )
    assert stale.exit_code == 10
    assert "is stale" in stale.stdout
    flip(flt, 100_000)
    for path in (run, flt):
        done = runner.invoke(app, ["audit", str(path)])
        assert done.exit_code == 8
        assert "tampered V004" in done.stdout
    assert runner.invoke(app, ["audit", str(run / "no-such")]).exit_code == 2
