"""A plan that was made earlier is refused, with every difference, where the world has changed since."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from acsrecipe.errors import IntegrityError
from acsrecipe.plan.model import EngineAbility, EngineUsed, Plan, PlannedFile, PlannedReference, Task, fingerprint
from acsrecipe.run.drift import refuse_drift

HERE = (EngineAbility("calacs", "10.5.0", available=True), EngineAbility("embedded", "0.1.0", available=True))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for name in ("x_raw.fits", "y_drk.fits"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def plan(base: Path) -> Plan:
    raw, dark = ((base / name).read_bytes() for name in ("x_raw.fits", "y_drk.fits"))
    task = Task(
        id="calibrate/x",
        kind="calibrate",
        exposures=("x",),
        inputs=(PlannedFile(role="RAW", path="x_raw.fits", size=10, sha256=hashlib.sha256(raw).hexdigest()),),
        references=(
            PlannedReference(
                keyword="DARKFILE",
                name="y_drk.fits",
                path="y_drk.fits",
                size=10,
                sha1=hashlib.sha1(dark).hexdigest(),
            ),
        ),
        engine="calacs 10.5.0",
    )
    return Plan(
        recipe="r",
        recipe_file="r.toml",
        recipe_sha256="",
        context=None,
        engine=EngineUsed(name="calacs", version="10.5.0", why=""),
        association_changes=(),
        header_changes=(),
        reference_changes=(),
        tasks=(task.model_copy(update={"fingerprint": fingerprint(task, {})}),),
        products=(),
        findings=(),
    )


def refused(plan: Plan, base: Path, engines=HERE) -> str:
    with pytest.raises(IntegrityError) as caught:
        refuse_drift(plan, base, engines)
    assert caught.value.exit_code == 8
    assert "make the plan again" in str(caught.value.hint)
    return caught.value.message


def test_a_world_that_is_as_it_was_is_fine(plan, base):
    refuse_drift(plan, base, HERE)


def test_another_engine_is_named_with_both_versions(plan, base):
    newer = (EngineAbility("calacs", "10.6.0", available=True),)
    assert refused(plan, base, newer) == "engine calacs 10.5.0 -> 10.6.0"
    gone = (EngineAbility("calacs", "", available=False, detail="not on the search path"),)
    assert refused(plan, base, gone) == "engine calacs 10.5.0 -> not here: not on the search path"


def test_files_and_references_that_changed_are_named_all_of_them(plan, base):
    (base / "x_raw.fits").write_bytes(b"0123456789")
    (base / "y_drk.fits").write_bytes(b"shorter")
    message = refused(plan, base)
    assert message.startswith("2 things are not as when the plan was made")
    assert "x_raw.fits has other content: sha256" in message
    assert "DARKFILE y_drk.fits has 7 bytes, the plan saw 10" in message


def test_a_file_that_is_gone_is_named(plan, base):
    (base / "x_raw.fits").unlink()
    assert refused(plan, base) == "x_raw.fits can't be read: No such file or directory"


def test_a_plan_that_was_edited_by_hand_is_refused(plan, base):
    task = plan.tasks[0].model_copy(update={"edits": {"x_raw.fits": (("PRIMARY", "DARKCORR", "OMIT"),)}})
    message = refused(plan.model_copy(update={"tasks": (task,)}), base)
    assert message == "calibrate/x was changed in the plan itself: its fingerprint does not fit"
