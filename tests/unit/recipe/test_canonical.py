"""One form for what a recipe asks: nothing asked for changes, no comment is lost, and the form is stable."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli
from factories import make_association, make_engines, make_exposure, make_inventory
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from acsrecipe.cli.app import app
from acsrecipe.plan.build import build_plan
from acsrecipe.plan.compare import compare_plans
from acsrecipe.recipe.canonical import _comments, _find_remarks, _Writer, format_recipe
from acsrecipe.recipe.toml import parse_recipe
from acsrecipe.steps.catalogue import get_step

ROOT = Path(__file__).resolve().parents[3]

UNTIDY = """\
# About this recipe.

name = 'x' # its name
format=1
# steps
[[post]] # the first
step = "compare-plot"
section = [0,10, # x
  0, 10, # y
]
after=[ "updatewcs" ]
[switches]
PCTECORR="OMIT"
# flat
FLATCORR = "PERFORM"
BIASCORR = "PERFORM" # bias
# SINKCORR = "OMIT"

[[post]]
use_db = false
step = "updatewcs"
[observations]
archive.folder = "data"   # here
ids = ["J9L960010"] # all
[references]
[references.override]
DRKCFILE = "refs/b_dkc.fits"
DARKFILE = "refs/a_drk.fits" # dark
# the end
"""

TIDY = """\
# About this recipe.

format = 1
name = "x"                        # its name

[observations]
ids = ["J9L960010"]               # all
archive = { folder = "data" }     # here

[switches]
BIASCORR = "PERFORM"              # bias
# SINKCORR = "OMIT"

PCTECORR = "OMIT"
# flat
FLATCORR = "PERFORM"

[references]

[references.override]
DARKFILE = "refs/a_drk.fits"      # dark
# the end

DRKCFILE = "refs/b_dkc.fits"

# steps
[[post]]                          # the first
step = "compare-plot"
# x
# y
section = [0, 10, 0, 10]
after = ["updatewcs"]

[[post]]
step = "updatewcs"
use_db = false
"""


def test_an_untidy_recipe_becomes_this():
    assert format_recipe(UNTIDY, "x.toml") == TIDY


def test_what_is_in_its_form_stays():
    assert format_recipe(TIDY, "x.toml") == TIDY


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_of_the_project_keep_their_meaning_and_their_comments(path):
    text = path.read_text()
    formatted = format_recipe(text, path.name)
    assert parse_recipe(formatted, path.name).recipe == parse_recipe(text, path.name).recipe
    assert _comments(formatted) == _comments(text)
    assert format_recipe(formatted, path.name) == formatted


comments = st.sampled_from(["", "", "", "# one", "# two ", '# "three" [x] = { # y', "#"])
switches = st.dictionaries(
    st.sampled_from(["PCTECORR", "FLATCORR", "BIASCORR", "DARKCORR"]), st.sampled_from(['"OMIT"', "'PERFORM'"])
)


@st.composite
def recipes(draw: st.DrawFn) -> str:
    """A correct recipe in any order, with comments and blank lines anywhere."""

    def line(text: str) -> list[str]:
        above, behind = draw(comments), draw(comments)
        blank = [""] if draw(st.booleans()) else []
        return [
            *blank,
            *([above] if above else []),
            *([""] if draw(st.booleans()) else []),
            f"{text} {behind}".rstrip(),
        ]

    top = draw(st.permutations(["format = 1", 'name = "x"', 'description = "# no comment"']))
    tables = {
        "[observations]": [
            draw(st.sampled_from(['ids = ["J9L960010"]', "ids = [ # in\n  'J9L960010', # end\n  # alone\n]"])),
            draw(st.sampled_from(['archive = { folder = "data" }', 'archive.folder = "data"'])),
        ],
        "[association]": ['keep.MEMTYPE = ["EXP-DTH"]'],
        "[switches]": [f"{key} = {value}" for key, value in draw(switches).items()],
        "[[headers]]": ['set = { TARGNAME = "a" }', "reason = 'why'", "where.FILTER1 = ['F606W']"],
        "[variants.b]": ['switches.SINKCORR = "OMIT"', 'post = [{ step = "updatewcs" }]'],
        "[references]": ['context = "hst_0002.pmap"', 'cache = "crds"'],
    }
    lines = [one for text in top for one in line(text)]
    for name in draw(st.permutations(list(tables))):
        lines += line(name)
        for text in draw(st.permutations(tables[name])):
            lines += line(text)
    for step in draw(st.permutations(["updatewcs", "compare-plot"])):
        lines += [*line("[[post]]"), *line(f'step = "{step}"')]
    return "\n".join([*lines, draw(comments)]) + "\n"


def plan(text: str):
    loaded = parse_recipe(text, "x.toml")
    association = make_association(("J9L960A7Q", "EXP-DTH"), ("J9L960010", "PROD-DTH"))
    inventory = make_inventory(make_exposure(), associations=(association,))
    return build_plan(
        loaded, inventory, make_engines(), {step.step: get_step(step.step) for step in loaded.recipe.post}
    )


@settings(max_examples=100)
@given(recipes())
def test_a_recipe_means_the_same_after_formatting_keeps_its_comments_and_is_stable(text):
    formatted = _Writer(_find_remarks(text)).document(tomli.loads(text))
    assert tomli.loads(formatted) == tomli.loads(text)
    assert _comments(formatted) == _comments(text)
    assert _Writer(_find_remarks(formatted)).document(tomli.loads(formatted)) == formatted
    assert format_recipe(text, "x.toml") == formatted
    assert compare_plans(plan(text), plan(formatted)).empty


def test_the_command_writes_in_place_and_checks(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(UNTIDY)
    runner = CliRunner()
    done = runner.invoke(app, ["fmt", "--check", str(path)])
    assert (done.exit_code, path.read_text()) == (10, UNTIDY)
    assert runner.invoke(app, ["fmt", str(path)]).exit_code == 0
    assert path.read_text() == TIDY
    done = runner.invoke(app, ["fmt", "--check", str(path)])
    assert (done.exit_code, done.stdout) == (0, "")
    path.write_text("format = 2\n")
    assert runner.invoke(app, ["fmt", str(path)]).exit_code != 0
    assert path.read_text() == "format = 2\n"
