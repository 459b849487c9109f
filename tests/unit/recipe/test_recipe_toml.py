from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from acsrecipe.errors import Problem, RecipeError, Where
from acsrecipe.recipe.toml import load_recipe, parse_recipe, problems_as_json, render_problems, resolve_path

ROOT = Path(__file__).resolve().parents[3]
RECIPE = """format = 1
name = "x"

[observations]
ids = ["J9L960010"]
archive = { folder = "data" }

[switches]
PCTECORR = "OMIT"

[[headers]]
set = { EXPFLAG = "NORMAL" }
reason = "x"

[references.override]
DARKFILE = "refs/our_drk.fits"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "recipe.toml").write_text(RECIPE)
    return tmp_path / "here"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.name)
def test_the_recipes_of_the_project_are_right(path: Path) -> None:
    assert load_recipe(path).recipe.name == path.stem.replace("_", "-")


def test_the_notebooks_case_is_asked_for_as_the_notebook_has_it() -> None:
    recipe = load_recipe(ROOT / "recipes" / "acs_wfc_reduction.toml").recipe
    assert recipe.observations.proposal == 10775
    assert recipe.observations.ids == ("J9L960010",)
    assert recipe.association.keep == {"MEMTYPE": ("EXP-DTH",)}
    assert recipe.switches == {"PCTECORR": "OMIT"}
    assert [step.step for step in recipe.post] == ["updatewcs", "compare-plot"]
    assert recipe.references.context == "latest"


def test_a_recipe_knows_its_file_its_hash_and_where_each_key_stands(folder: Path) -> None:
    path = folder / "recipe.toml"
    loaded = load_recipe(path)
    assert loaded.path == path
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.positions["switches", "PCTECORR"] == (9, 1)
    assert loaded.where("switches", "PCTECORR") == Where(str(path), 9, 1)
    assert loaded.where("headers", 0, "set", "EXPFLAG") == Where(str(path), 12, 9)


def test_a_key_that_is_not_written_stands_at_the_nearest_table_round_it() -> None:
    loaded = parse_recipe(RECIPE, "x.toml")
    assert loaded.where("headers", 0, "where", "FILTER1") == Where("x.toml", 11, 3)
    assert loaded.where("observations", "products") == Where("x.toml", 4, 2)
    assert loaded.where("calibrate", "engine") == Where("x.toml")
    assert loaded.where() == Where("x.toml")


def test_the_hash_is_of_the_bytes_and_the_text_has_plain_line_ends() -> None:
    content = RECIPE.replace("\n", "\r\n").encode()
    loaded = parse_recipe(content, "x.toml")
    assert loaded.sha256 == hashlib.sha256(content).hexdigest()
    assert loaded.text == RECIPE
    assert loaded.recipe == parse_recipe(RECIPE, "x.toml").recipe
    assert loaded.positions == parse_recipe(RECIPE, "x.toml").positions


def test_the_same_recipe_in_another_spelling_of_toml_is_the_same_recipe() -> None:
    other = """name = 'x'
format = 0x1
switches."PCTECORR" = '''OMIT'''
observations = { ids = [ "j9l960010", ], archive.folder = "data" }
references.override.DARKFILE = "refs/our_drk.fits"
headers = [ { set.EXPFLAG = "NORMAL", reason = "x" } ]
"""
    assert parse_recipe(other, "y.toml").recipe == parse_recipe(RECIPE, "x.toml").recipe


def test_relative_paths_start_at_the_recipes_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_recipe(folder / "recipe.toml")
    assert resolve_path(loaded, "data/../refs") == folder / "refs"
    assert resolve_path(loaded, ".") == folder
    assert resolve_path(loaded, "/elsewhere/./x") == Path("/elsewhere/x")
    monkeypatch.chdir(folder.parent)
    assert resolve_path(load_recipe(Path("here/recipe.toml")), "data") == folder / "data"
    assert resolve_path(parse_recipe(RECIPE, "x"), "data") == folder.parent / "data"


@pytest.mark.parametrize("text", ["../x", "~/x", "$HOME/x", "a\x00", "", "data/../../x"])
def test_paths_that_leave_or_need_expanding_are_refused_with_their_place(folder: Path, text: str) -> None:
    loaded = load_recipe(folder / "recipe.toml")
    with pytest.raises(RecipeError) as caught:
        resolve_path(loaded, text, "references", "override", "DARKFILE")
    (problem,) = caught.value.problems
    assert problem.where.line == 16
    assert problem.source_line == 'DARKFILE = "refs/our_drk.fits"'


def test_a_link_out_of_the_folder_is_refused_and_a_link_inside_is_kept_by_name(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.mkdir()
    (folder / "refs").symlink_to(outside)
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "recipe.toml")
    (problem,) = caught.value.problems
    assert problem.code == "R065"
    assert problem.where.line == 16
    (folder / "refs").unlink()
    (folder / "real").mkdir()
    (folder / "refs").symlink_to("real")
    loaded = load_recipe(folder / "recipe.toml")
    assert resolve_path(loaded, "refs/our_drk.fits") == folder / "refs" / "our_drk.fits"


def test_a_recipe_in_a_folder_that_is_itself_a_link_is_right(folder: Path) -> None:
    alias = folder.parent / "alias"
    alias.symlink_to(folder)
    loaded = load_recipe(alias / "recipe.toml")
    assert resolve_path(loaded, "data") == alias / "data"


def test_reading_a_recipe_leaves_it_as_it_was(folder: Path) -> None:
    path = folder / "recipe.toml"
    before = path.stat().st_mtime_ns, path.read_bytes(), sorted(folder.iterdir())
    load_recipe(path)
    assert (path.stat().st_mtime_ns, path.read_bytes(), sorted(folder.iterdir())) == before


def test_problems_come_in_the_order_of_the_file() -> None:
    text = RECIPE.replace('"x"', '"x y"', 1).replace("PCTECORR", "PCTECOR").replace("EXPFLAG", "NAXIS")
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text + 'ZFILE = "x.fits"\n', "x.toml")
    lines = [problem.where.line for problem in caught.value.problems]
    assert lines == sorted(lines) == [2, 9, 12, 17]
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems


def test_a_block_names_place_and_code_and_points_at_the_character() -> None:
    problem = Problem(
        "R012", Where("recipes/x.toml", 14, 8), "unknown step", '\tstep = "pixelarae"', "did you mean 'x'?"
    )
    assert render_problems([problem]) == (
        "recipes/x.toml:14:8: unknown step [R012]\n"
        '  14 |  step = "pixelarae"\n'
        "     |        ^\n"
        "hint: did you mean 'x'?\n"
    )


def test_a_long_line_is_cut_round_the_caret_and_control_characters_are_not_shown() -> None:
    line = "a" * 500 + "\x1b[31mX" + "b" * 500
    shown = render_problems([Problem("R004", Where("x", 1, 506), "m\x1b", line)])
    first, cut, caret = shown.rstrip("\n").split("\n")
    assert first == "x:1:506: m\\x1b [R004]"
    assert cut[caret.index("^")] == "X"
    assert len(cut) <= 120
    assert "\x1b" not in shown


def test_json_holds_every_problem_whole() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(RECIPE.replace("PCTECORR", "PCTECOR"), "x.toml")
    assert json.loads(problems_as_json(caught.value.problems)) == {
        "problems": [
            {
                "file": "x.toml",
                "line": 9,
                "column": 1,
                "code": "R030",
                "message": "unknown switch 'PCTECOR'",
                "source_line": 'PCTECOR = "OMIT"',
                "hint": "did you mean 'PCTECORR'?",
            }
        ]
    }
    assert json.loads(problems_as_json(())) == {"problems": []}


def test_reading_recipes_loads_only_pydantic_tomli_and_the_standard_library() -> None:
    recipe = ROOT / "recipes" / "local_folder.toml"
    code = f"""
import sys
from pathlib import Path
from acsrecipe.recipe.toml import load_recipe
load_recipe(Path({str(recipe)!r}))
for name, module in sys.modules.items():
    if "site-packages" in (getattr(module, "__file__", None) or ""):
        print(name.split(".")[0])
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    packages = {name for name in loaded if not name.startswith(("_", "__editable__")) and not name.endswith("__mypyc")}
    of_pydantic = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    assert packages <= {"acsrecipe", "tomli"} | of_pydantic
