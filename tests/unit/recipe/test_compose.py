"""Included defaults lie below a recipe, its variants above; every reason and mistake has its own file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from acsrecipe.errors import RecipeError
from acsrecipe.recipe.toml import load_recipe, parse_recipe

HEAD = 'format = 1\nname = "x"\n'
OBSERVATIONS = '[observations]\nids = ["J9L960010"]\narchive = { folder = "data" }\n'
DEFAULTS = """\
# ours
[references]
context = "hst_0729.pmap"
cache = "crds"
[switches]
PCTECORR = "OMIT"
FLATCORR = "PERFORM"
[[post]]
step = "updatewcs"
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return folder / "recipe.toml"


def problems(path: Path) -> list[tuple[str, str, int]]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    return [(one.code, Path(one.where.file).name, one.where.line) for one in caught.value.problems]


def test_an_included_file_gives_what_the_recipe_leaves_open(tmp_path):
    own = f'{HEAD}include = ["defaults.toml"]\n{OBSERVATIONS}[switches]\nPCTECORR = "PERFORM"\n'
    loaded = load_recipe(write(tmp_path, defaults=DEFAULTS, recipe=own))
    assert loaded.recipe.switches == {"PCTECORR": "PERFORM", "FLATCORR": "PERFORM"}
    assert loaded.recipe.references.context == "hst_0729.pmap"
    assert [step.step for step in loaded.recipe.post] == ["updatewcs"]
    assert Path(str(loaded.where("switches", "PCTECORR"))).name == "recipe.toml:8:1"
    assert Path(str(loaded.where("switches", "FLATCORR"))).name == "defaults.toml:7:1"
    assert Path(str(loaded.where("post", 0, "step"))).name == "defaults.toml:9:1"


def test_lists_are_replaced_and_the_last_included_file_counts(tmp_path):
    own = f'{HEAD}include = ["defaults.toml", "more.toml"]\n{OBSERVATIONS}[[post]]\nstep = "compare-plot"\n'
    more = '[switches]\nFLATCORR = "OMIT"\n'
    loaded = load_recipe(write(tmp_path, defaults=DEFAULTS, more=more, recipe=own))
    assert [step.step for step in loaded.recipe.post] == ["compare-plot"]
    assert loaded.recipe.switches["FLATCORR"] == "OMIT"
    assert Path(str(loaded.where("switches", "FLATCORR"))).name == "more.toml:2:1"


def test_an_edit_of_an_included_file_changes_the_identity_of_the_recipe(tmp_path):
    own = f'{HEAD}include = ["defaults.toml"]\n{OBSERVATIONS}'
    path = write(tmp_path, defaults=DEFAULTS, recipe=own)
    before = load_recipe(path).sha256
    write(tmp_path, defaults=DEFAULTS + "# more\n")
    assert load_recipe(path).sha256 != before


def test_mistakes_in_an_included_file_name_that_file(tmp_path):
    own = f'{HEAD}include = ["defaults.toml"]\n{OBSERVATIONS}[calibrate]\nengine = "calcas"\n'
    bad = DEFAULTS.replace("FLATCORR", "FLATCOR")
    assert problems(write(tmp_path, defaults=bad, recipe=own)) == [
        ("R016", "recipe.toml", 8),
        ("R030", "defaults.toml", 7),
    ]
    assert problems(write(tmp_path, defaults="[x", recipe=own)) == [("R004", "defaults.toml", 1)]
    assert problems(write(tmp_path, defaults='include = ["a.toml"]\n', recipe=own)) == [("R010", "defaults.toml", 1)]
    (tmp_path / "defaults.toml").unlink()
    assert problems(tmp_path / "recipe.toml") == [("R001", "defaults.toml", 0)]


@pytest.mark.parametrize("name", ["../defaults.toml", "$HOME/x.toml", "link.toml", ""])
def test_an_included_file_can_not_be_reached_outside(tmp_path, name):
    folder = tmp_path / "inside"
    folder.mkdir()
    (tmp_path / "defaults.toml").write_text(DEFAULTS)
    (folder / "link.toml").symlink_to(tmp_path / "defaults.toml")
    (found,) = problems(write(folder, recipe=f"{HEAD}include = ['{name}']\n{OBSERVATIONS}"))
    assert found[0] in ("R064", "R065", "R018")
    assert found[2] == 3


VARIANTS = f"""\
{HEAD}{OBSERVATIONS}[switches]
PCTECORR = "OMIT"
[variants.cte]
switches.PCTECORR = "PERFORM"
description = "with CTE correction"
[variants.old.references]
context = "hst_0500.pmap"
"""


def test_a_variant_is_the_recipe_with_its_changes(tmp_path):
    path = write(tmp_path, recipe=VARIANTS)
    plain, cte, old = (
        load_recipe(path.with_name(name)) for name in ("recipe.toml", "recipe.toml#cte", "recipe.toml#old")
    )
    assert (plain.recipe.switches, cte.recipe.switches) == ({"PCTECORR": "OMIT"}, {"PCTECORR": "PERFORM"})
    assert (plain.recipe.name, cte.recipe.name, old.recipe.name) == ("x", "x-cte", "x-old")
    assert cte.where("switches", "PCTECORR").line == 9
    assert plain.where("switches", "PCTECORR").line == 7
    assert old.where("switches", "PCTECORR").line == 7
    assert old.recipe.references.context == "hst_0500.pmap"
    assert cte.path == path


def test_a_variant_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    path = write(tmp_path, recipe=VARIANTS)
    with pytest.raises(RecipeError, match="there is no variant 'ctee'") as caught:
        load_recipe(path.with_name("recipe.toml#ctee"))
    assert caught.value.problems[0].hint == "variants: cte, old"


def test_every_variant_is_checked_whichever_is_asked_for(tmp_path):
    bad = VARIANTS.replace('switches.PCTECORR = "PERFORM"', 'switches.PCTECOR = "PERFORM"').replace("0500", "five")
    path = write(tmp_path, recipe=bad + '[variants.x]\nname = "y"\n')
    assert problems(path) == [("R010", "recipe.toml", 14)]
    found = problems(write(tmp_path, recipe=bad))
    assert found == [("R030", "recipe.toml", 9), ("R062", "recipe.toml", 12)]


def test_a_variant_in_memory():
    assert parse_recipe(VARIANTS, "x.toml", variant="cte").recipe.switches == {"PCTECORR": "PERFORM"}
