"""A demo that is served: its recipe asks servers, and what they give plans like the folder does."""

from __future__ import annotations

from pathlib import Path

import pytest

from acsrecipe.api import build_plan, load_recipe
from acsrecipe.demo.dataset import make_dataset
from acsrecipe.demo.modes import MODES
from acsrecipe.demo.served import ask_servers, serve
from acsrecipe.environment import Environment


def test_a_served_demo_plans_the_same_changes_as_its_folder(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "d", exposures=2)
    here = build_plan(load_recipe(dataset.recipe))
    with serve(dataset) as site:
        environment = Environment(mast_server=site.mast.url, crds_server=site.crds.url, downloads=str(site.downloads))
        served = build_plan(load_recipe(site.recipe), environment=environment)
    assert served.runnable
    assert [(one.keyword, one.old, one.new) for one in served.header_changes] == [
        (one.keyword, one.old, one.new) for one in here.header_changes
    ]
    assert [(one.keyword, one.new) for one in served.reference_changes] == [
        (one.keyword, one.new) for one in here.reference_changes
    ]
    assert {task.id for task in served.tasks} - {task.id for task in here.tasks} == {
        "fetch/j9l960010",
        "fetch/j9l960a7q",
        "fetch/j9l960a9q",
        "fetch/references",
    }
    assert site.downloads.is_relative_to(dataset.folder)


@pytest.mark.parametrize("mode", [name for name in MODES if not MODES[name].true_size][:4])
def test_every_kind_of_demo_recipe_can_ask_servers(mode: str, tmp_path: Path) -> None:
    text = ask_servers(make_dataset(tmp_path / "d", mode=mode, exposures=2).recipe.read_text())
    (tmp_path / "served.toml").write_text(text)
    recipe = load_recipe(tmp_path / "served.toml").recipe
    assert (recipe.observations.archive, recipe.references.context) == ("mast", "latest")
    assert recipe.references.cache == "fetched/crds"
