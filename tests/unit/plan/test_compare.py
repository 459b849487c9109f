"""Two plans side by side: nothing that differs is left out, and what is found gives one plan from the other."""

from __future__ import annotations

from io import StringIO
from typing import Any

from factories import make_association, make_engines, make_exposure, make_inventory
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from acsrecipe.inputs.model import FileIdentity, Inventory, ReferenceChoice
from acsrecipe.plan.build import build_plan
from acsrecipe.plan.changes import same_reference
from acsrecipe.plan.compare import apply_comparison, compare_plans, effects
from acsrecipe.plan.model import Plan, from_json, to_json
from acsrecipe.plan.render_diff import render_comparison, summary, to_markdown
from acsrecipe.recipe.toml import parse_recipe
from acsrecipe.steps.catalogue import get_step

HEAD = """\
format = 1
name = "ngc104"
[observations]
ids = ["J9L960010"]
archive = { folder = "data" }
"""


def make_plan(text: str = "", inventory: Inventory | None = None, **choices: str) -> Plan:
    if inventory is None:
        exposures = [make_exposure(root) for root in ("j9l960a7q", "j9l960a9q")]
        rows = (("J9L960A7Q", "EXP-DTH"), ("J9L960A9Q", "EXP-DTH"), ("J9L960010", "PROD-DTH"))
        inventory = make_inventory(*exposures, associations=(make_association(*rows),), **choices)
    recipe = parse_recipe(HEAD + text, "ngc104.toml")
    steps = {step.step: get_step(step.step) for step in recipe.recipe.post}
    return build_plan(recipe, inventory, make_engines(), steps)


def with_choice(plan_of: str = "", **changes: Any) -> Plan:
    """A plan whose DARKFILE was chosen another way."""
    inventory = make_inventory(make_exposure())
    choice = ReferenceChoice(
        "DARKFILE",
        "new_darkfile.fits",
        FileIdentity("crds/new_darkfile.fits", 1000, sha1="d" * 40),
        mapping="hst_acs_darkfile_0001.rmap",
        useafter="2006-01-01 00:00:00",
        matched={"DETECTOR": "WFC"},
    )
    chosen = {**inventory.references["j9l960a7q"], "DARKFILE": ReferenceChoice(**{**vars(choice), **changes})}
    return make_plan(plan_of, Inventory(inventory.exposures, (), inventory.context, {"j9l960a7q": chosen}))


def reason(a: Plan, b: Plan) -> str:
    (found,) = compare_plans(a, b).references
    assert found.keyword == "DARKFILE"
    return found.reason


def test_a_plan_does_not_differ_from_itself():
    plan = make_plan('[switches]\nPCTECORR = "OMIT"\n')
    assert compare_plans(plan, plan).empty
    assert summary(compare_plans(plan, plan)) == "No differences."


def test_a_name_or_a_comment_is_no_difference():
    other = make_plan("# nothing\n")
    assert compare_plans(make_plan(), other).empty
    assert make_plan().recipe_sha256 != other.recipe_sha256


def test_a_switch_that_one_recipe_sets_stands_against_what_was_delivered():
    found = compare_plans(make_plan(), make_plan('[switches]\nPCTECORR = "OMIT"\n'))
    (switch,) = found.switches
    assert (switch.keyword, switch.a, switch.b, switch.why_a) == ("PCTECORR", "PERFORM", "OMIT", None)
    assert switch.why_b is not None
    assert switch.why_b.where == "ngc104.toml:7"
    assert switch.files == ("j9l960a7q_raw.fits", "j9l960a9q_raw.fits")
    assert {task.id: task.state for task in found.tasks} == {
        "calibrate/j9l960a7q": "again",
        "calibrate/j9l960a9q": "again",
    }
    assert "other header edits" in found.tasks[0].why


def test_every_reason_of_another_reference_is_told_apart():
    first = with_choice()
    assert reason(first, with_choice(name="b.fits", useafter="2006-02-01 00:00:00")).startswith("a later USEAFTER")
    assert reason(first, with_choice(name="b.fits", useafter="2005-02-01 00:00:00")).startswith("an earlier USEAFTER")
    matched = {"DETECTOR": "WFC", "CCDAMP": "ABCD"}
    assert reason(first, with_choice(name="b.fits", matched=matched)).startswith(
        "another rule matched: DETECTOR=WFC, C"
    )
    assert reason(first, with_choice(name="b.fits")).startswith("the same rule names another file")
    gone = with_choice(name="N/A", irrelevant="DARKCORR = OMIT", useafter="", matched={})
    assert reason(first, gone) == "became irrelevant: not needed: DARKCORR = OMIT"
    assert reason(gone, first).startswith("became relevant: DETECTOR=WFC, USEAFTER 2006")


def test_a_long_list_of_values_is_cut_and_a_star_left_out():
    matched = {"CCDAMP": "A|B|C|D|ABCD|AD", "NAXIS1": "*"}
    assert "CCDAMP=A|B|C|... (6 values), USEAFTER" in reason(with_choice(), with_choice(name="b.fits", matched=matched))


def test_an_edited_file_of_the_same_name_is_a_difference():
    found = compare_plans(with_choice(), with_choice(file=FileIdentity("crds/x.fits", 1000, sha1="e" * 40)))
    assert found.references[0].reason == "the file of this name has another content"
    assert found.tasks[0].why == "other references"


def test_a_row_that_is_dropped_and_an_option_of_a_step_are_differences():
    found = compare_plans(make_plan(), make_plan('[association]\nkeep = { MEMTYPE = ["EXP-DTH"] }\n'))
    (row,) = found.association
    assert (row.row, row.memtype, row.kept_in) == (3, "PROD-DTH", "a")
    a, b = (make_plan(f'[[post]]\nstep = "updatewcs"\nuse_db = {value}\n') for value in ("false", "true"))
    tasks = {task.id: task.why for task in compare_plans(a, b).tasks}
    assert tasks == dict.fromkeys(("updatewcs/j9l960a7q", "updatewcs/j9l960a9q"), "other options")


def test_a_raw_of_other_content_is_a_difference_and_all_after_it_is_done_again():
    changed = make_inventory(make_exposure())
    exposure = changed.exposures[0]
    other = Inventory(
        (type(exposure)(exposure.rootname, FileIdentity(exposure.raw.path, 198720, sha256="f" * 64), exposure.hdus),),
        (),
        changed.context,
        changed.references,
    )
    step = '[[post]]\nstep = "updatewcs"\n'
    found = compare_plans(make_plan(step, changed), make_plan(step, other))
    assert [one.name for one in found.inputs] == ["j9l960a7q_raw.fits"]
    assert [task.why for task in found.tasks] == ["other inputs", "it follows a task that is done again"]


recipes = st.builds(
    lambda switches, target, drop, step: "".join(
        [
            "[association]\ndrop = { MEMNAME = ['J9L960A9Q'] }\n" if drop else "",
            "[switches]\n" + "".join(f'{name} = "{value}"\n' for name, value in switches.items()),
            f'[[headers]]\nset = {{ TARGNAME = "{target}" }}\nreason = "x"\n' if target else "",
            f'[[post]]\nstep = "updatewcs"\nuse_db = {step}\n' if step else "",
        ]
    ),
    st.dictionaries(st.sampled_from(["PCTECORR", "DARKCORR", "FLATCORR"]), st.sampled_from(["PERFORM", "OMIT"])),
    st.sampled_from(["", "NGC104", "NGC-104"]),
    st.booleans(),
    st.sampled_from(["", "true", "false"]),
)
choices = st.dictionaries(
    st.sampled_from(["DARKFILE", "BIASFILE", "PCTETAB"]), st.sampled_from(["N/A", "x.fits", "y.fits"])
)


@settings(max_examples=60)
@given(recipes, recipes, choices, choices)
def test_what_differs_applied_to_one_plan_gives_the_effects_of_the_other(one, other, chosen, chosen_other):
    a, b = make_plan(one, **chosen), make_plan(other, **chosen_other)
    comparison = compare_plans(a, b)
    assert compare_plans(a, a).empty
    assert compare_plans(b, from_json(to_json(b))).empty
    after, wanted = apply_comparison(effects(a), comparison), effects(b)
    for place, value in wanted.items():
        # A card that A leaves as delivered, and B sets to what was delivered, is in neither list.
        if place in after:
            assert same_reference(after[place], value) or after[place] == value, place
    undone = {place for place in after if place not in wanted}
    delivered = {**make_exposure().primary, "ROOTNAME": None}
    assert all(after[place] == delivered.get(place[2]) for place in undone if place[2] not in ("CRDS_CTX",))
    back = compare_plans(b, a)
    assert {(c.keyword, c.a, c.b) for c in comparison.switches} == {(c.keyword, c.b, c.a) for c in back.switches}
    assert {task.id for task in comparison.tasks} == {task.id for task in back.tasks}


@given(recipes)
def test_a_plan_is_the_same_after_a_way_through_json(text):
    plan = make_plan(text)
    assert from_json(to_json(plan)) == plan
    assert to_json(from_json(to_json(plan))) == to_json(plan)


def test_terminal_and_markdown_say_the_same():
    b = make_plan('[switches]\nPCTECORR = "OMIT"\n[[headers]]\nset = { TARGNAME = "a*b`c|d" }\nreason = "[why]"\n')
    found = compare_plans(make_plan(), b, ("old.toml", "new.toml"))
    file = StringIO()
    Console(file=file, width=100, markup=False).print(render_comparison(found))
    text = file.getvalue()
    assert "  PCTECORR: PERFORM -> OMIT  (j9l960a7q, j9l960a9q)" in text
    assert text.rstrip().endswith("1 switch, 1 header card, 2 tasks differ.")
    markdown = to_markdown(found)
    assert markdown.startswith("### `old.toml` → `new.toml`\n\n1 switch, 1 header card, 2 tasks differ.\n")
    assert "- `PCTECORR: PERFORM -> OMIT  (j9l960a7q, j9l960a9q)`  \n" in markdown
    assert "- `TARGNAME: (absent) -> a*b'c|d" in markdown
    assert r"\[why\]" in markdown
