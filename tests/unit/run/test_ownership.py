"""What a run must not take for its own: links, another's folders, another recipe's products."""

from __future__ import annotations

import pytest
from factories import make_engines, make_exposure, make_inventory

from acsrecipe.errors import IntegrityError, OutputError
from acsrecipe.plan.build import build_plan
from acsrecipe.plan.model import Plan
from acsrecipe.recipe.toml import parse_recipe
from acsrecipe.run.journal import Journal
from acsrecipe.run.ownership import find_left_over, refuse_foreign, refuse_other_recipe, refuse_own_inputs

RECIPE = """format = 1
name = "ours"
[observations]
ids = ["J9L960A7Q"]
archive = { folder = "data" }
[switches]
PCTECORR = "OMIT"
"""


@pytest.fixture
def plan() -> Plan:
    return build_plan(parse_recipe(RECIPE, "r.toml"), make_inventory(make_exposure()), make_engines(), {})


@pytest.mark.parametrize("name", ["products", "plots", "logs", "provenance.jsonl", "plan.json"])
def test_a_link_where_a_run_would_write_is_refused(tmp_path, name):
    root = tmp_path / "run"
    root.mkdir()
    (root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=f"{name} is a link"):
        refuse_foreign(root)


def test_a_folder_called_work_that_no_run_left_is_refused_and_kept(tmp_path):
    thesis = tmp_path / "work" / "thesis"
    thesis.mkdir(parents=True)
    with pytest.raises(OutputError, match="no run has been here"):
        refuse_foreign(tmp_path)
    assert thesis.is_dir()
    (tmp_path / "provenance.jsonl").write_text("")
    refuse_foreign(tmp_path)


@pytest.mark.parametrize("root", ["data", "."])
def test_a_run_does_not_write_among_what_it_reads(tmp_path, plan, root):
    (tmp_path / "data").mkdir()
    (tmp_path / "products").symlink_to(tmp_path / "data")
    with pytest.raises(OutputError, match="lies where this run would write"):
        refuse_own_inputs(plan, tmp_path, tmp_path / root)
    refuse_own_inputs(plan, tmp_path, tmp_path / "elsewhere")


def test_the_run_of_another_recipe_is_not_replaced(tmp_path, plan):
    refuse_other_recipe("ours", plan, tmp_path)
    refuse_other_recipe("", plan, tmp_path)
    with pytest.raises(OutputError, match="holds the run of the recipe 'theirs', not of 'ours'"):
        refuse_other_recipe("theirs", plan, tmp_path)


def test_products_of_an_earlier_plan_are_named(tmp_path, plan):
    (tmp_path / "products").mkdir()
    for name in ("j9l960a7q_flt.fits", "j9l960a9q_flt.fits"):
        (tmp_path / "products" / name).touch()
    published = dict.fromkeys(["products/j9l960a7q_flt.fits", "products/j9l960a9q_flt.fits", "products/gone.fits"])
    assert find_left_over(published, plan, tmp_path) == ("products/j9l960a9q_flt.fits",)


def test_a_file_of_the_users_called_like_the_log_is_neither_cut_nor_filled(tmp_path):
    notes = tmp_path / "provenance.jsonl"
    notes.write_text("my notes, one line")
    with pytest.raises(IntegrityError, match="no log of acsrecipe"):
        Journal(notes)
    assert notes.read_text() == "my notes, one line"
