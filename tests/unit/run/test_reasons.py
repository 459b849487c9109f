"""Why a task runs again is said in words that name what changed, and where that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from acsrecipe.plan.model import HeaderChange, Output, Plan, PlannedFile, PlannedReference, Task, Why, fingerprint
from acsrecipe.run.journal import Finished
from acsrecipe.run.reasons import why_again
from acsrecipe.run.schedule import find_makers

RAW = PlannedFile(role="RAW", path="data/x_raw.fits", size=10, sha256="a" * 64)
DARK = PlannedReference(keyword="DARKFILE", name="one_drk.fits", path="crds/one_drk.fits", size=5, sha1="b" * 40)
FLT = Output(name="x_flt.fits", folder="products", size=100)


def calibrate(**other: Any) -> Task:
    fields = {
        "inputs": (RAW,),
        "references": (DARK,),
        "outputs": (FLT,),
        "engine": "calacs 10.4.1",
        "edits": {"x_raw.fits": (("PRIMARY", "PCTECORR", "OMIT"),)},
    }
    return Task(id="calibrate/x", kind="calibrate", exposures=("x",), **{**fields, **other})


def plan_of(*tasks: Task, changes: tuple[HeaderChange, ...] = ()) -> Plan:
    before: dict[str, str] = {}
    done = []
    for task in tasks:
        before[task.id] = fingerprint(task, before)
        done.append(task.model_copy(update={"fingerprint": before[task.id]}))
    return Plan(
        recipe="r",
        recipe_file="r.toml",
        recipe_sha256="",
        context=None,
        engine=None,
        association_changes=(),
        header_changes=changes,
        reference_changes=(),
        tasks=tuple(done),
        products=(),
        findings=(),
    )


def finished(plan: Plan) -> dict[str, Finished]:
    state = {}
    for task in plan.tasks:
        outputs = tuple({"name": one.name, "folder": one.folder, "path": one.name} for one in task.outputs)
        state[task.id] = Finished(task.fingerprint, outputs, {"asked": task.model_dump(mode="json")})
    return state


def reasons(old: Plan, new: Plan, lost: dict[str, str] | None = None) -> dict[str, str]:
    return why_again(new, finished(old), find_makers(new.tasks), lambda output: (lost or {}).get(output["name"], ""))


def test_nothing_runs_again_where_nothing_changed():
    assert reasons(plan_of(calibrate()), plan_of(calibrate())) == {}


def test_a_file_that_only_moved_is_no_reason():
    moved = calibrate(inputs=(RAW.model_copy(update={"path": "elsewhere/x_raw.fits"}),))
    assert reasons(plan_of(calibrate()), plan_of(moved)) == {}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"engine": "calacs 10.5.0"}, "engine calacs 10.4.1 -> 10.5.0"),
        ({"engine": "embedded 0.1.0"}, "engine calacs 10.4.1 -> embedded 0.1.0"),
        (
            {"references": (DARK.model_copy(update={"sha1": "c" * 40}),)},
            "DARKFILE changed: one_drk.fits has other content",
        ),
        ({"references": (DARK.model_copy(update={"name": "two_drk.fits"}),)}, "DARKFILE one_drk.fits -> two_drk.fits"),
        ({"references": ()}, "DARKFILE one_drk.fits is no longer used"),
        ({"inputs": (RAW.model_copy(update={"sha256": "d" * 64}),)}, "x_raw.fits changed"),
        ({"inputs": ()}, "x_raw.fits is no longer read"),
        ({"edits": {"x_raw.fits": (("PRIMARY", "PCTECORR", "PERFORM"),)}}, "PCTECORR OMIT -> PERFORM (r.toml:7)"),
        ({"edits": {}}, "PCTECORR OMIT -> COMPLETE (r.toml:7)"),
        ({"parameters": {"section": [0, 50]}}, "section none -> [0, 50]"),
        ({"outputs": (FLT, FLT.model_copy(update={"name": "x_flc.fits"}))}, "makes x_flc.fits"),
    ],
)
def test_what_changed_is_named(change, said):
    why = Why(kind="recipe", text="", where="r.toml:7")
    changes = (HeaderChange(file=RAW.path, hdu="PRIMARY", keyword="PCTECORR", old="COMPLETE", new="PERFORM", why=why),)
    assert reasons(plan_of(calibrate()), plan_of(calibrate(**change), changes=changes)) == {"calibrate/x": said}


def test_many_changes_are_counted_not_all_told():
    new = calibrate(engine="calacs 10.5.0", inputs=(), references=(), edits={}, parameters={"a": 1, "b": 2})
    said = reasons(plan_of(calibrate()), plan_of(new))["calibrate/x"]
    assert said.startswith("engine calacs 10.4.1 -> 10.5.0; x_raw.fits is no longer read; ")
    assert said.endswith("; and 3 more")


def test_what_follows_says_what_is_done_again():
    step = Task(
        id="plot/x", kind="plot", exposures=("x",), after=("calibrate/x",), parameters={"files": ["x_flt.fits"]}
    )
    old, new = plan_of(calibrate(), step), plan_of(calibrate(engine="calacs 10.5.0"), step)
    assert reasons(old, new)["plot/x"] == "calibrate/x is done again"


def test_a_lost_or_edited_output_is_named_and_a_lost_trailer_is_no_reason():
    plan = plan_of(calibrate())
    assert reasons(plan, plan, {"x_flt.fits": "is gone"}) == {"calibrate/x": "x_flt.fits is gone"}
    state = finished(plan)
    state["calibrate/x"].outputs[0]["folder"] = "logs"
    assert why_again(plan, state, find_makers(plan.tasks), lambda output: "is gone") == {}


def test_what_was_passed_on_and_swept_is_made_again_only_when_it_is_needed():
    hidden = calibrate(outputs=(FLT.model_copy(update={"folder": ""}),))
    step = Task(
        id="wcs/x",
        kind="wcs",
        exposures=("x",),
        after=("calibrate/x",),
        outputs=(FLT,),
        parameters={"files": ["x_flt.fits"]},
    )
    plan = plan_of(hidden, step)
    state = finished(plan)
    swept = lambda output: "is gone" if output["folder"] == "" else ""  # noqa: E731
    assert why_again(plan, state, find_makers(plan.tasks), swept) == {}
    everything = lambda output: "is gone"  # noqa: E731
    assert why_again(plan, state, find_makers(plan.tasks), everything) == {
        "wcs/x": "x_flt.fits is gone",
        "calibrate/x": "wcs/x needs what it makes",
    }


def test_a_log_without_the_earlier_task_gives_a_general_reason():
    state = finished(plan_of(calibrate()))
    del state["calibrate/x"].event["asked"]
    new = plan_of(calibrate(engine="calacs 10.5.0"))
    said = why_again(new, state, find_makers(new.tasks), lambda output: "")
    assert said == {"calibrate/x": "its recipe, inputs, references or engine changed"}
