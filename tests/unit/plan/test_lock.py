"""A lock holds what a recipe was resolved to, in a form that people can diff and nobody can change unseen."""

from __future__ import annotations

import pytest
import tomli
from factories import make_engines, make_exposure, make_inventory
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.errors import IntegrityError
from acsrecipe.plan.build import build_plan
from acsrecipe.plan.lock import Lock, LockedFile, compare_locks, from_toml, lock_plan, move_pin, to_toml
from acsrecipe.recipe.toml import parse_recipe

RECIPE = """\
format = 1
name = "ngc104"
[observations]
ids = ["J9L960A7Q"]
archive = { folder = "data" }
[references]
cache = "crds"
[switches]
PCTECORR = "OMIT"
"""
VERSIONS = {"numpy": "2.0.0", "astropy": "6.1.0"}


def make_lock(text: str = RECIPE, **hashes: str) -> Lock:
    loaded = parse_recipe(text, "ngc104.toml")
    plan = build_plan(loaded, make_inventory(make_exposure()), make_engines(), {})
    known = {(r.keyword, r.name): hashes.get(r.keyword, "9" * 64) for task in plan.tasks for r in task.references}
    return lock_plan(plan, loaded.recipe, VERSIONS, known, {"DARKFILE"})


def texts(a: Lock, b: Lock) -> list[str]:
    return [one.text for one in compare_locks(a, b)]


def test_a_lock_is_the_same_after_a_way_through_toml():
    lock = make_lock()
    assert from_toml(to_toml(lock), "x.lock") == lock
    assert compare_locks(lock, from_toml(to_toml(lock), "x.lock")) == ()


def test_a_lock_is_toml_that_any_parser_reads_one_line_an_entry():
    text = to_toml(make_lock())
    data = tomli.loads(text)
    assert data["engine"] == {"name": "embedded", "version": "0.1.0"}
    assert [file["role"] for file in data["files"]["inputs"]] == ["RAW"]
    (dark,) = (file for file in data["files"]["references"] if file["role"] == "DARKFILE")
    assert dark["custom"] is True
    assert sum('role = "DARKFILE"' in line for line in text.splitlines()) == 1


@given(st.data())
def test_a_changed_byte_anywhere_is_seen(data):
    text = to_toml(make_lock())
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda letter: letter != text[at]))
    with pytest.raises(IntegrityError, match="seal does not hold") as caught:
        from_toml(text[:at] + other + text[at + 1 :], "x.lock")
    assert caught.value.code == "L001"
    assert caught.value.exit_code == 8


def test_a_lock_cut_short_or_of_another_version_is_refused():
    text = to_toml(make_lock())
    for wrong in ("", text[:-1], text.split("[seal]")[0], text + "\n"):
        with pytest.raises(IntegrityError, match="seal"):
            from_toml(wrong, "x.lock")
    newer = to_toml(make_lock()).rpartition("\n[seal]\n")[0].replace("format = 1", "format = 2")
    import hashlib

    with pytest.raises(IntegrityError, match="not a lock of this version"):
        from_toml(f'{newer}\n[seal]\nsha256 = "{hashlib.sha256(newer.encode()).hexdigest()}"\n', "x.lock")


def test_comments_order_and_whereabouts_are_not_locked():
    other = RECIPE.replace('cache = "crds"', 'cache = "/elsewhere"').replace('"data"', '"raw"') + "# remark\n"
    assert texts(make_lock(), make_lock(other)) == []


def test_a_changed_switch_names_its_part_of_the_recipe():
    (text,) = texts(make_lock(), make_lock(RECIPE.replace('"OMIT"', '"PERFORM"').replace("PCTECORR", "SINKCORR"))) or [
        ""
    ]
    assert text.startswith("recipe [switches] of ngc104.toml: the lock has content ")


def test_what_differs_is_named_with_both_values():
    lock = make_lock()
    now = lock.model_copy(
        update={
            "engine": lock.engine.model_copy(update={"version": "0.2.0"}),
            "packages": {"numpy": "2.1.0", "astropy": "6.1.0"},
            "references": make_lock(DARKFILE="8" * 64).references,
            "inputs": (LockedFile(role="RAW", name="j9l960a7q_raw.fits", size=198720, sha256="c" * 64),),
        }
    )
    found = texts(lock, now)
    assert "engine that calibrates: the lock has embedded 0.1.0, found embedded 0.2.0" in found
    assert "package numpy: the lock has 2.0.0, found 2.1.0" in found
    assert f"reference DARKFILE new_darkfile.fits: the lock has sha256 {'9' * 64}, found sha256 {'8' * 64}" in found
    assert any(text.startswith("input RAW j9l960a7q_raw.fits: the lock has sha256 j9l960a7q") for text in found)
    assert len(found) == 4


def test_one_pin_moves_and_all_others_stay():
    lock, dark = make_lock(), make_lock(DARKFILE="8" * 64, BIASFILE="7" * 64)
    now = dark.model_copy(update={"packages": {"numpy": "2.1.0", "crds": "14"}})
    moved = move_pin(lock, now, "DARKFILE")
    assert moved is not None
    assert [one.name for one in compare_locks(lock, moved)] == ["DARKFILE new_darkfile.fits"]
    moved = move_pin(lock, now, "numpy")
    assert moved is not None
    assert moved.packages == {"astropy": "6.1.0", "numpy": "2.1.0"}
    moved = move_pin(lock, now, "astropy")
    assert moved is not None
    assert moved.packages == {"numpy": "2.0.0"}
    moved = move_pin(lock, now, "new_biasfile.fits")
    assert moved is not None
    assert [one.name for one in compare_locks(lock, moved)] == ["BIASFILE new_biasfile.fits"]
    assert move_pin(lock, now, "numpi") is None
    for what in ("context", "references", "inputs", "engine", "recipe", "packages"):
        assert move_pin(lock, now, what) is not None
