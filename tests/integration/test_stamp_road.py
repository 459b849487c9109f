"""Products say how they were made, in a way that updatewcs, calacs and readers of FITS are not disturbed by."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe.api import build_plan, load_recipe, run_plan
from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.environment import Environment
from acsrecipe.files import sha256_file
from acsrecipe.inputs.pixels import compare_pixels
from acsrecipe.run.journal import read_journal
from acsrecipe.run.stamp import COLUMNS, Stamp, sha256_of_original, stamp_product


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    made = make_dataset(tmp_path_factory.mktemp("stamp") / "demo", seed=1, mode="pre_sub")
    text = made.recipe.read_text().split("[[post]]")[0].replace('engine = "auto"', 'engine = "embedded"')
    made.recipe.write_text(text.replace("one name for the cluster", "caf\\u00e9: one name for the cluster"))
    return made


def run(dataset: Dataset, folder: Path, extra: str = "") -> Path:
    recipe = dataset.folder / f"{folder.name}.toml"
    recipe.write_text(dataset.recipe.read_text() + extra)
    environment = Environment.of({"PATH": "/usr/bin:/bin", "HOME": str(folder.parent)})
    loaded = load_recipe(recipe)
    done = run_plan(build_plan(loaded, environment=environment), loaded, folder, environment=environment, jobs=1)
    assert done.succeeded, done.failed
    return folder / "products"


@pytest.fixture(scope="module")
def stamped(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(dataset, tmp_path_factory.mktemp("runs") / "stamped")


@pytest.fixture(scope="module")
def plain(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(dataset, tmp_path_factory.mktemp("runs") / "plain", "\n[provenance]\nstamp = false\n")


def flt(products: Path) -> Path:
    (path,) = products.glob("*_flt.fits")
    return path


def test_a_product_names_recipe_plan_and_engine(dataset, stamped):
    recipe = dataset.folder / "stamped.toml"
    header = fits.getheader(flt(stamped))
    assert header["ACSR_RCP"] == "demo-pre-sub"
    assert header["ACSR_SHA"] == hashlib.sha256(recipe.read_bytes()).hexdigest()
    assert header["ACSR_PLN"] == hashlib.sha256((stamped.parent / "plan.json").read_bytes()).hexdigest()
    assert header["ACSR_ENG"].startswith("embedded ")
    assert header["CRDS_CTX"] == "hst_0002.pmap"
    assert "ACSR_GIT" not in header


def test_a_product_has_a_table_of_the_changes_with_their_reasons(stamped):
    with fits.open(flt(stamped)) as hdus:
        hdus.verify("exception")
        assert hdus[-1].name == "ACSRECIPE"
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        table = hdus["ACSRECIPE"].data
        assert tuple(table.names) == COLUMNS
        rows = {row["KEYWORD"]: row for row in table}
        assert rows["TARGNAME"]["NEW"].strip() == "'NGC104  '"
        assert rows["TARGNAME"]["WHY"].startswith(r"caf\xe9: one name for the cluster")
        assert rows["TARGNAME"]["ADDRESS"].startswith("stamped.toml:")
        assert rows["BPIXTAB"]["KIND"] == "crds"
        assert "USEAFTER" in rows["BPIXTAB"]["WHY"]
        assert rows["PCTETAB"]["KIND"] == "irrelevant"


def test_without_the_stamp_a_product_is_what_the_engine_wrote_and_the_log_has_its_hash(stamped, plain):
    finished = [one for one in read_journal(stamped.parent / "provenance.jsonl") if one["event"] == "task-finished"]
    (output,) = (
        out for one in finished for out in one["outputs"] if out["folder"] == "products" and "_flt" in out["name"]
    )
    assert output["sha256"] == sha256_file(flt(stamped))
    assert output["sha256_unstamped"] == sha256_file(flt(plain))
    with fits.open(flt(plain)) as hdus:
        assert "ACSRECIPE" not in hdus
        assert not [name for name in hdus[0].header if name.startswith("ACSR_")]
    differing = compare_pixels(flt(plain), flt(stamped))
    assert [(one.hdu, one.note) for one in differing] == [("ACSRECIPE,1", "only in B")]


def test_updatewcs_works_on_a_stamped_file_and_keeps_the_table(dataset, stamped, tmp_path):
    import subprocess
    import sys

    copy = tmp_path / flt(stamped).name
    copy.write_bytes(flt(stamped).read_bytes())
    code = f"from stwcs.updatewcs import updatewcs; updatewcs({str(copy)!r}, use_db=False)"
    jref = f"{dataset.folder / 'crds' / 'references' / 'hst'}/"
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "jref": jref, "ASTROMETRY_STEP_CONTROL": "off"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with fits.open(copy) as hdus, fits.open(flt(stamped)) as before:
        assert hdus["SCI", 1].header["WCSNAME"].startswith("IDC_")
        assert ("WCSDVARR", 1) in hdus
        assert hdus["ACSRECIPE"].data.tobytes() == before["ACSRECIPE"].data.tobytes()
        assert hdus[0].header["ACSR_PLN"] == before[0].header["ACSR_PLN"]


def test_a_second_stamp_keeps_the_table_of_the_first_and_not_its_cards(stamped, tmp_path):
    copy = tmp_path / flt(stamped).name
    copy.write_bytes(flt(stamped).read_bytes())
    original = stamp_product(copy, Stamp((("ACSR_RCP", "second"),), ()))
    assert sha256_of_original(copy, original) == sha256_file(flt(stamped))
    with fits.open(copy) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["ACSR_RCP"] == "second"
        assert hdus[0].header["ACSR_PLN"] == ""
        assert len(hdus["ACSRECIPE", 1].data) > 10
        assert hdus["ACSRECIPE", 2].header["NAXIS2"] == 0
