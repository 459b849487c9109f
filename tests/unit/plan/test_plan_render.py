"""What a person sees of a plan, word for word, in terminals of 80 and 160 columns."""

from __future__ import annotations

from io import StringIO

import pytest
from factories import make_association, make_engines, make_exposure, make_inventory
from rich.console import Console

from acsrecipe.inputs.model import Observed
from acsrecipe.plan.build import build_plan
from acsrecipe.plan.model import Plan
from acsrecipe.plan.render import group_changes, print_plan
from acsrecipe.recipe.toml import parse_recipe
from acsrecipe.steps.catalogue import get_step

RECIPE = """\
format = 1
name = "ngc104"
[observations]
ids = ["J9L960010"]
archive = { folder = "data" }
[association]
keep = { MEMTYPE = ["EXP-DTH"] }
[switches]
PCTECORR = "OMIT"
[[headers]]
set = { EXPTIME = 351.0 }
where = { ROOTNAME = "j9l960a9q" }
reason = "shutter log [of March]"
[references]
context = "hst_0002.pmap"
[[post]]
step = "updatewcs"
"""


def make_plan(count: int = 2, **cards: object) -> Plan:
    roots = [f"j9l960a{letter}q" for letter in "79bdfhjlnprtvxz12345"[:count]]
    rows = [(root.upper(), "EXP-DTH") for root in roots]
    association = make_association(*rows, ("J9L960010", "PROD-DTH"))
    inventory = make_inventory(*(make_exposure(root, **cards) for root in roots), associations=(association,))
    steps = {"updatewcs": get_step("updatewcs")}
    return build_plan(parse_recipe(RECIPE, "ngc104.toml"), inventory, make_engines(), steps)


def shown(plan: Plan, width: int, *, colour: bool = False) -> str:
    file = StringIO()
    print_plan(plan, Console(file=file, width=width, markup=False, emoji=False, highlight=False, force_terminal=colour))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


@pytest.mark.parametrize("width", [80, 160])
def test_a_plan_reads_like_this(snapshot, width):
    assert shown(make_plan(), width) == snapshot


def test_a_plan_that_can_not_run_says_why(snapshot):
    assert shown(make_plan(1, DARKTIME=None, SHADCORR="MAYBE"), 100) == snapshot


def test_twenty_exposures_with_the_same_change_read_as_one_block():
    plan = make_plan(20)
    text = shown(plan, 160)
    assert text.count("PCTECORR PERFORM") == 1
    assert "all 20 exposures" in text
    assert len(plan.header_changes) == 41
    assert [len(files) for files, _ in group_changes(plan.header_changes)] == [20, 1]


def test_text_from_files_is_shown_literally_and_without_escapes():
    text = shown(make_plan(1, TARGNAME="x", PCTECORR="[/bad]\x1b[31m:smile:"), 120, colour=True)
    assert "[/bad]:smile:" in text


def test_no_line_is_wider_than_the_terminal():
    for width in (40, 60, 80, 119, 120, 200):
        assert max(len(line) for line in shown(make_plan(), width).splitlines()) <= width


def test_problems_of_the_inputs_are_findings():
    inventory = make_inventory(make_exposure())
    observed = (Observed("I001", "error", "is cut short", file="data/x_raw.fits", hint="fetch it again"),)
    inventory = type(inventory)(**{**vars(inventory), "observed": observed})
    plan = build_plan(parse_recipe(RECIPE, "r.toml"), inventory, make_engines(), {"updatewcs": get_step("updatewcs")})
    assert "error I001 data/x_raw.fits: is cut short\n    hint: fetch it again" in shown(plan, 80)
    assert not plan.runnable
