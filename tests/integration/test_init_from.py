"""The recipe read out of a product plans the same changes as the one that made it, and makes it again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from astropy.io import fits
from typer.testing import CliRunner

from acsrecipe.api import build_plan, load_recipe, run_plan
from acsrecipe.api.origin import recipe_from_product
from acsrecipe.cli.app import app
from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.modes import MODES
from acsrecipe.environment import Environment
from acsrecipe.errors import PlanError
from acsrecipe.inputs.pixels import compare_pixels
from acsrecipe.plan.compare import compare_plans
from acsrecipe.recipe.toml import parse_recipe

ONCE_MORE = ("pre_dth", "pre_cr", "pre_rpt", "post_sub2k")
"""Modes whose products are made again; of all others the plan is compared."""

SMALL = [name for name, mode in MODES.items() if not mode.true_size]
VOLATILE = {"DATE", "IRAF-TLM", "ACSR_RCP", "ACSR_SHA", "ACSR_PLN", "ACSR_GIT"}


def run(recipe: Path, folder: Path, environment: Environment) -> Path:
    loaded = load_recipe(recipe)
    plan = build_plan(loaded, environment=environment)
    assert plan.runnable, [one.message for one in plan.findings]
    done = run_plan(plan, loaded, folder, environment=environment, jobs=2)
    assert done.succeeded, done.failed
    return folder / "products"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment.of({"PATH": "/usr/bin:/bin", "HOME": str(tmp_path_factory.mktemp("home"))})


@pytest.mark.parametrize("mode", SMALL)
def test_the_recipe_of_a_product_plans_what_made_it(mode: str, tmp_path: Path, environment: Environment) -> None:
    dataset = make_dataset(tmp_path / "demo", seed=1, mode=mode)
    text = dataset.recipe.read_text().split("[[post]]")[0].replace('engine = "auto"', 'engine = "embedded"')
    if mode == "pre_dth":
        text += '\n[[post]]\nstep = "updatewcs"\n'
    if mode.startswith("pre_gain"):
        text = text.replace('cache = "crds"\n', 'cache = "crds"\noverride = { DARKFILE = "refs/our_drk.fits" }\n')
        (dataset.folder / "refs").mkdir()
        shutil.copyfile(dataset.folder / "crds/references/hst/dmo0601ej_drk.fits", dataset.folder / "refs/our_drk.fits")
    dataset.recipe.write_text(text)
    before = build_plan(load_recipe(dataset.recipe), environment=environment)
    if not before.runnable:
        pytest.skip(f"the embedded engine does not do {mode}: {before.findings[0].message}")
    products = run(dataset.recipe, tmp_path / "run", environment)
    kinds = {path.name.rsplit("_", 1)[1]: path for path in sorted(products.glob("*_*.fits")) if "_asn" not in path.name}
    assert kinds
    for kind, path in kinds.items():
        again = dataset.folder / f"again_{kind}.toml"
        again.write_text(recipe_from_product(path, data=dataset.data, cache=str(dataset.folder / "crds")))
        after = build_plan(load_recipe(again), environment=environment)
        found = compare_plans(before, after)
        assert (found.switches, found.headers, found.references) == ((), (), ()), path.name
        assert after.engine == before.engine or (
            after.engine and before.engine and after.engine.name == before.engine.name
        )
        if mode in ONCE_MORE:
            made = run(again, tmp_path / f"again_{kind}", environment) / path.name
            assert [one for one in compare_pixels(path, made) if one.hdu != "ACSRECIPE,1"] == []
            assert cards(path) == cards(made)


def cards(path: Path) -> list[list[str]]:
    with fits.open(path) as hdus:
        return [
            [str(card) for card in hdu.header.cards if card.keyword not in VOLATILE]
            for hdu in hdus
            if hdu.name != "ACSRECIPE"
        ]


def test_a_product_of_the_archive_is_held_against_its_own_context(shared_dir, tmp_path):
    golden = shared_dir / "golden" / "pre_dth"
    (tmp_path / "data").mkdir()
    product = tmp_path / "j9sy01a1q_flc.fits"
    shutil.copyfile(golden / "expected" / product.name, product)
    product.chmod(0o644)
    for source in (golden / "data").iterdir():
        shutil.copyfile(source, tmp_path / "data" / source.name)
    loaded = parse_recipe(recipe_from_product(product, cache=str(golden / "crds")), "again.toml")
    assert loaded.recipe.switches == {"PCTECORR": "PERFORM"}
    assert loaded.recipe.references.context == "hst_0001.pmap"
    assert loaded.recipe.references.override == {}
    assert loaded.recipe.calibrate.engine == "calacs"
    assert loaded.recipe.provenance.stamp is False
    assert loaded.recipe.post == ()
    with fits.open(product, mode="update") as hdus:
        hdus[0].header["DARKFILE"] = "jref$our_own_drk.fits"
    loaded = parse_recipe(recipe_from_product(product, cache=str(golden / "crds")), "again.toml")
    assert loaded.recipe.references.override == {"DARKFILE": "refs/our_own_drk.fits"}
    assert "put the file there" in loaded.text


def test_without_its_raw_file_a_product_gives_every_switch_and_says_so(shared_dir, tmp_path):
    product = tmp_path / "j9sy01a1q_flc.fits"
    shutil.copyfile(shared_dir / "golden" / "pre_dth" / "expected" / product.name, product)
    loaded = parse_recipe(recipe_from_product(product), "again.toml")
    assert loaded.recipe.switches["PCTECORR"] == "PERFORM"
    assert loaded.recipe.switches["FLSHCORR"] == "OMIT"
    assert len(loaded.recipe.switches) > 8
    assert "Its RAW file was not found" in loaded.text
    assert "can't be told from those of CRDS" in loaded.text


def test_what_is_no_product_is_refused(shared_dir, tmp_path):
    raw = next((shared_dir / "golden" / "pre_dth" / "data").glob("*_raw.fits"))
    with pytest.raises(PlanError, match="is not named as a product of calacs"):
        recipe_from_product(raw)


def test_the_empty_recipe_is_a_correct_one_and_no_file_is_overwritten(tmp_path):
    runner = CliRunner()
    done = runner.invoke(app, ["init"])
    assert done.exit_code == 0
    assert parse_recipe(done.stdout, "x.toml").recipe.name == "my-recipe"
    target = tmp_path / "recipe.toml"
    assert runner.invoke(app, ["init", "-o", str(target)]).exit_code == 0
    assert target.read_text() == done.stdout
    target.write_text("mine")
    assert runner.invoke(app, ["init", "-o", str(target)]).exit_code != 0
    assert target.read_text() == "mine"
