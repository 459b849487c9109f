"""Plans say exactly what differs from the files as delivered, and why; and refuse what can't be done."""

from __future__ import annotations

import json
import random

import pytest
from factories import make_association, make_engines, make_exposure, make_inventory
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.inputs.model import FileIdentity, HduHeader, Inventory, ReferenceChoice
from acsrecipe.plan.build import build_plan
from acsrecipe.plan.model import EngineAbility, Plan, from_json, to_json
from acsrecipe.recipe.toml import LoadedRecipe, parse_recipe
from acsrecipe.steps.catalogue import get_step

HEAD = """\
format = 1
name = "test"

[observations]
ids = ["J9L960010"]
archive = { folder = "data" }

[references]
context = "hst_0002.pmap"
cache = "crds"
"""
OMIT = '[switches]\nPCTECORR = "OMIT"\n'


ENGINES = make_engines()
STEPS = {step: get_step(step) for step in ("updatewcs", "compare-plot")}


def recipe(text: str = OMIT, references: str = "") -> LoadedRecipe:
    return parse_recipe(HEAD + references + text, "folder/test.toml")


def codes(plan: Plan) -> list[str]:
    return [finding.code for finding in plan.findings]


def test_a_switch_change_says_old_new_and_the_line_of_the_recipe():
    plan = build_plan(recipe(), make_inventory(make_exposure()), ENGINES, STEPS)
    change = next(one for one in plan.header_changes if one.keyword == "PCTECORR")
    assert (change.file, change.hdu, change.old, change.new) == (
        "data/j9l960a7q_raw.fits",
        "PRIMARY",
        "PERFORM",
        "OMIT",
    )
    line = HEAD.count("\n") + 2
    assert change.why.where == f"test.toml:{line}"
    assert plan.runnable


def test_a_switch_that_is_already_so_is_no_change():
    plan = build_plan(recipe(), make_inventory(make_exposure(PCTECORR="omit")), ENGINES, STEPS)
    assert [change.keyword for change in plan.header_changes] == ["CRDS_CTX"]


def test_overrides_apply_where_their_condition_holds():
    text = OMIT + '[[headers]]\nset = { EXPTIME = 351 }\nwhere = { FILTER1 = "f606w" }\nreason = "clock"\n'
    exposures = make_exposure(), make_exposure("j9l960a9q", FILTER1="F814W")
    plan = build_plan(recipe(text), make_inventory(*exposures), ENGINES, STEPS)
    changed = [change for change in plan.header_changes if change.keyword == "EXPTIME"]
    assert [(change.file, change.old, change.new) for change in changed] == [("data/j9l960a7q_raw.fits", 350.0, 351.0)]
    assert type(changed[0].new) is float
    assert changed[0].why.text == "clock"


def test_an_override_that_fits_nothing_is_a_warning():
    text = OMIT + '[[headers]]\nset = { EXPTIME = 1.0 }\nwhere = { FILTER1 = "F220W" }\nreason = "r"\n'
    assert "P101" in codes(build_plan(recipe(text), make_inventory(make_exposure()), ENGINES, STEPS))


def test_setting_a_card_twice_warns_and_keeps_the_delivered_value_as_old():
    block = '[[headers]]\nset = {{ EXPTIME = {} }}\nreason = "r"\n'
    text = OMIT + block.format("1.0") + block.format("2.0")
    plan = build_plan(recipe(text), make_inventory(make_exposure()), ENGINES, STEPS)
    changed = [change for change in plan.header_changes if change.keyword == "EXPTIME"]
    assert [(change.old, change.new) for change in changed] == [(350.0, 2.0)]
    assert "P103" in codes(plan)


def test_references_come_from_crds_with_rule_and_useafter():
    plan = build_plan(recipe(), make_inventory(make_exposure()), ENGINES, STEPS)
    dark = next(change for change in plan.reference_changes if change.keyword == "DARKFILE")
    assert (dark.old, dark.new) == ("jref$old_drk.fits", "jref$new_darkfile.fits")
    assert dark.why.kind == "crds"
    assert dark.why.context == "hst_0002.pmap"
    assert dark.why.mapping == "hst_acs_darkfile_0001.rmap"
    assert dark.why.useafter == "2006-01-01 00:00:00"
    assert dark.why.matched == {"DETECTOR": "WFC"}
    table = next(change for change in plan.reference_changes if change.keyword == "PCTETAB")
    assert (table.new, table.why.kind, table.why.text) == ("N/A", "irrelevant", "not needed: PCTECORR = OMIT")


def test_a_reference_of_the_recipe_stands_above_crds():
    loaded = recipe(references='override = { DARKFILE = "refs/our_drk.fits" }\n')
    inventory = make_inventory(make_exposure())
    custom = {"DARKFILE": FileIdentity("refs/our_drk.fits", 5, sha256="d" * 64)}
    inventory = Inventory(**{**vars(inventory), "custom": custom})
    plan = build_plan(loaded, inventory, ENGINES, STEPS)
    dark = next(change for change in plan.reference_changes if change.keyword == "DARKFILE")
    assert dark.new == "jref$our_drk.fits"
    assert dark.why.kind == "recipe"
    used = next(one for one in plan.tasks[0].references if one.keyword == "DARKFILE")
    assert (used.path, used.sha256) == ("refs/our_drk.fits", "d" * 64)


def test_the_product_row_of_an_association_goes_and_its_exposures_stand_alone():
    text = '[association]\nkeep = { MEMTYPE = ["EXP-DTH"] }\n' + OMIT
    association = make_association(("J9L960A7Q", "EXP-DTH"), ("J9L960A9Q", "EXP-DTH"), ("J9L960010", "PROD-DTH"))
    exposures = make_exposure(association="j9l960010"), make_exposure("j9l960a9q", association="j9l960010")
    plan = build_plan(recipe(text), make_inventory(*exposures, associations=(association,)), ENGINES, STEPS)
    change = plan.association_changes[0]
    assert [row.memname for row in change.dropped] == ["J9L960010"]
    assert change.dropped[0].why
    assert [task.id for task in plan.tasks] == ["association/j9l960010", "calibrate/j9l960a7q", "calibrate/j9l960a9q"]
    assert plan.tasks[0].parameters["rows"] == [1, 2]


def test_a_cr_split_group_is_one_task_with_one_combined_product():
    engine = (EngineAbility("calacs", "10.5.0", available=True),)
    rows = ("J9L960A7Q", "EXP-CRJ"), ("J9L960A9Q", "EXP-CRJ"), ("J9L960010", "PROD-CRJ")
    exposures = make_exposure(), make_exposure("j9l960a9q")
    inventory = make_inventory(*exposures, associations=(make_association(*rows),), CRREJTAB="crr.fits")
    plan = build_plan(recipe(), inventory, engine, STEPS)
    task = next(task for task in plan.tasks if task.kind == "calibrate")
    assert task.id == "calibrate/j9l960010"
    assert task.parameters["rows"] == [1, 2, 3]
    assert [output.name for output in task.outputs] == [
        "j9l960a7q_flt.fits",
        "j9l960a9q_flt.fits",
        "j9l960010_crj.fits",
    ]


def test_members_of_a_group_that_disagree_are_reported():
    rows = ("J9L960A7Q", "EXP-CRJ"), ("J9L960A9Q", "EXP-CRJ"), ("J9L960010", "PROD-CRJ")
    exposures = make_exposure(), make_exposure("j9l960a9q", FLATCORR="OMIT")
    inventory = make_inventory(*exposures, associations=(make_association(*rows),), CRREJTAB="crr.fits")
    plan = build_plan(recipe(), inventory, ENGINES, STEPS)
    finding = next(one for one in plan.findings if one.code == "A020")
    assert "FLATCORR = OMIT in j9l960a9q will not count" in finding.message


@pytest.mark.parametrize(
    ("cards", "code"),
    [
        ({"DARKTIME": None}, "P004"),
        ({"BLEVCORR": "OMIT"}, "P005"),
        ({"FLATCORR": "YES"}, "P001"),
        ({"SUBARRAY": None}, "P002"),
        (
            dict.fromkeys(["DQICORR", "BIASCORR", "BLEVCORR", "DARKCORR", "FLATCORR", "PHOTCORR"], "OMIT"),
            "P003",
        ),
    ],
)
def test_what_calacs_would_fail_on_or_ruin_silently_stops_the_plan(cards, code):
    plan = build_plan(recipe(), make_inventory(make_exposure(**cards)), ENGINES, STEPS)
    assert code in codes(plan)
    assert not plan.runnable


def test_a_needed_reference_that_is_not_applicable_stops_the_plan():
    plan = build_plan(recipe(), make_inventory(make_exposure(), SATUFILE="N/A"), ENGINES, STEPS)
    finding = next(one for one in plan.findings if one.code == "P202")
    assert "SATUFILE" in finding.message
    assert "BIASCORR = PERFORM" in finding.message


def test_a_reference_that_is_not_in_the_cache_stops_the_plan_which_still_shows_every_change():
    plan = build_plan(recipe(), make_inventory(make_exposure(), DARKFILE="new_drk.fits"), ENGINES, STEPS)
    assert "P203" in codes(plan)
    assert not plan.runnable
    assert "jref$new_drk.fits" in [change.new for change in plan.reference_changes]


def custom(inventory: Inventory, cards: dict[str, object], shape: tuple[int, int] = (304, 116)) -> Inventory:
    """Give an inventory a dark of the recipe's own, with these cards and this shape of its SCI extensions."""

    def headers(primary: dict[str, object], size: tuple[int, int]) -> tuple[HduHeader, ...]:
        science = {"NAXIS1": size[0], "NAXIS2": size[1]}
        return (HduHeader("PRIMARY", 1, primary), *(HduHeader("SCI", number, science) for number in (1, 2)))

    ours = FileIdentity("refs/our_drk.fits", 5, sha256="d" * 64)
    read = {ours.path: headers(cards, shape), "crds/new_darkfile.fits": headers({}, (304, 116))}
    return Inventory(**{**vars(inventory), "custom": {"DARKFILE": ours}, "reference_headers": read})


OURS = 'override = { DARKFILE = "refs/our_drk.fits" }\n'


@pytest.mark.parametrize(
    ("cards", "shape", "code", "severity"),
    [
        ({"DETECTOR": "HRC"}, (304, 116), "P208", "error"),
        ({"INSTRUME": "WFC3"}, (304, 116), "P208", "error"),
        ({"FILETYPE": "BIAS"}, (304, 116), "P209", "warning"),
        ({}, (100, 100), "P210", "error"),
    ],
)
def test_a_reference_of_ones_own_that_does_not_fit_is_found(cards, shape, code, severity):
    inventory = custom(make_inventory(make_exposure()), cards, shape)
    plan = build_plan(recipe(references=OURS), inventory, ENGINES, STEPS)
    finding = next(one for one in plan.findings if one.code == code)
    assert finding.severity == severity
    assert finding.where == f"test.toml:{HEAD.count(chr(10)) + 1}"
    assert "refs/our_drk.fits" in finding.message


def test_a_reference_of_ones_own_that_fits_is_no_finding():
    cards = {"DETECTOR": "WFC", "INSTRUME": "ACS", "FILETYPE": "DARK"}
    plan = build_plan(recipe(references=OURS), custom(make_inventory(make_exposure()), cards), ENGINES, STEPS)
    assert not {"P208", "P209", "P210", "P211"} & set(codes(plan))


def test_an_override_without_effect_is_said():
    loaded = recipe(references='override = { PCTETAB = "refs/our_cte.fits" }\n')
    inventory = make_inventory(make_exposure())
    ours = {"PCTETAB": FileIdentity("refs/our_cte.fits", 5, sha256="d" * 64)}
    plan = build_plan(loaded, Inventory(**{**vars(inventory), "custom": ours}), ENGINES, STEPS)
    assert "PCTECORR = OMIT" in next(one for one in plan.findings if one.code == "P211").message


def test_what_crds_complains_of_is_an_error_where_the_reference_is_needed():
    inventory = make_inventory(make_exposure())
    choices = dict(inventory.references["j9l960a7q"])
    choices["PFLTFILE"] = ReferenceChoice("PFLTFILE", "", mapping="m.rmap", problem="FILTER1 = 'F999W' is not allowed")
    choices["MDRIZTAB"] = ReferenceChoice("MDRIZTAB", "", mapping="m.rmap", problem="no match")
    inventory = Inventory(**{**vars(inventory), "references": {"j9l960a7q": choices}})
    plan = build_plan(recipe(), inventory, ENGINES, STEPS)
    found = {one.message.split(":")[0]: one.severity for one in plan.findings if one.code == "P201"}
    assert found == {"CRDS can't choose a PFLTFILE": "error", "CRDS can't choose a MDRIZTAB": "warning"}
    assert "P203" not in codes(plan)
    assert "P202" not in codes(plan)


def test_a_pctetab_of_an_older_generation_stops_a_plan_that_needs_it():
    engine = (EngineAbility("calacs", "10.5.0", available=True),)
    inventory = make_inventory(make_exposure(), PCTETAB="old_cte.fits", DRKCFILE="new_dkc.fits")
    choices = dict(inventory.references["j9l960a7q"])
    file = FileIdentity("crds/old_cte.fits", 5)
    choices["PCTETAB"] = ReferenceChoice("PCTETAB", "old_cte.fits", file)
    headers = {file.path: (HduHeader("PRIMARY", 1, {"CTE_NAME": "PixelCTE 2012"}),)}
    made = {**vars(inventory), "references": {"j9l960a7q": choices}, "reference_headers": headers}
    assert "P207" in codes(build_plan(recipe(text=""), Inventory(**made), engine, STEPS))
    assert "P207" not in codes(build_plan(recipe(), Inventory(**made), engine, STEPS))


def test_what_the_engine_can_not_do_is_said_by_the_plan_with_the_engine_that_can():
    plan = build_plan(recipe(text=""), make_inventory(make_exposure()), ENGINES, STEPS, engine="embedded")
    finding = next(one for one in plan.findings if one.code == "P302")
    assert "it does not correct CTE (PCTECORR = 'PERFORM')" in finding.message
    assert 'engine = "calacs"' in finding.hint


def test_an_engine_that_is_not_here_stops_the_plan():
    plan = build_plan(recipe(), make_inventory(make_exposure()), ENGINES, STEPS, engine="calacs")
    assert "P301" in codes(plan)
    assert plan.header_changes


def test_auto_says_why_it_chose():
    plan = build_plan(recipe(), make_inventory(make_exposure()), ENGINES, STEPS)
    assert plan.engine.name == "embedded"
    assert "calacs is not here" in plan.engine.why


def test_post_steps_follow_what_they_work_on_and_only_final_files_are_products():
    text = OMIT + '[[post]]\nstep = "updatewcs"\n[[post]]\nstep = "compare-plot"\n'
    plan = build_plan(recipe(text), make_inventory(make_exposure()), ENGINES, STEPS)
    calibrate, update, plot = plan.tasks
    assert [output.folder for output in calibrate.outputs] == [""]
    assert update.after == ("calibrate/j9l960a7q",)
    assert [output.folder for output in update.outputs] == ["products"]
    assert plot.after == ("updatewcs/j9l960a7q",)
    assert [output.name for output in plan.products] == ["j9l960a7q_flt.fits", "j9l960a7q_compare.png"]


def test_json_round_trips_and_the_id_is_that_of_the_text():
    plan = build_plan(recipe(), make_inventory(make_exposure()), ENGINES, STEPS)
    assert from_json(to_json(plan)) == plan
    assert from_json(to_json(plan)).id == plan.id


@given(seed=st.integers(0, 2**32))
def test_the_plan_has_the_same_bytes_whatever_the_order_of_dicts(seed):
    def shuffled(mapping):
        items = list(mapping.items())
        random.Random(seed).shuffle(items)
        return dict(items)

    inventory = make_inventory(make_exposure(), make_exposure("j9l960a9q"))
    other = Inventory(
        **{**vars(inventory), "references": shuffled({k: shuffled(v) for k, v in inventory.references.items()})}
    )
    assert to_json(build_plan(recipe(), inventory, ENGINES, STEPS)) == to_json(
        build_plan(recipe(), other, ENGINES, STEPS)
    )


def test_fingerprints_follow_content_not_place():
    def made(path: str, sha256: str) -> str:
        exposure = make_exposure()
        moved = type(exposure)(**{**vars(exposure), "raw": FileIdentity(path, 198720, sha256=sha256)})
        return build_plan(recipe(), make_inventory(moved), ENGINES, STEPS).tasks[0].fingerprint

    here = made("data/j9l960a7q_raw.fits", "1" * 64)
    assert made("elsewhere/j9l960a7q_raw.fits", "1" * 64) == here
    assert made("data/j9l960a7q_raw.fits", "2" * 64) != here


def test_the_json_has_the_keys_that_scripts_rely_on():
    data = json.loads(to_json(build_plan(recipe(), make_inventory(make_exposure()), ENGINES, STEPS)))
    assert {
        "association_changes",
        "header_changes",
        "reference_changes",
        "tasks",
        "products",
        "findings",
        "context",
    } <= set(data)
    assert set(data["header_changes"][0]) == {"file", "hdu", "keyword", "old", "new", "why"}
    assert set(data["reference_changes"][0]) == {"file", "keyword", "old", "new", "why"}
