"""Every code that the program can say is explained, and so is every switch and reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import acsrecipe
from acsrecipe.cli.app import app
from acsrecipe.explanations import CODES, EXITS, FAMILIES
from acsrecipe.recipe.keywords import KEYWORDS, REFERENCES, SWITCHES

PACKAGE = Path(acsrecipe.__file__).parent


def explain(*topics: str) -> str:
    done = CliRunner().invoke(app, ["explain", *topics])
    assert done.exit_code == 0, done.exception
    return done.stdout


def test_every_code_in_the_program_is_explained_and_no_other():
    letters = "".join(FAMILIES)
    used: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        if path.name not in ("explanations.py", "codes.py"):
            text = path.read_text(encoding="utf-8")
            used.update(dict.fromkeys(re.findall(rf"[\"']([{letters}]\d{{3}})[\"']", text), path.name))
    assert {code: where for code, where in used.items() if code not in CODES} == {}
    assert {code for code in CODES if code not in used} == set()


def test_every_exit_code_of_an_error_is_explained():
    from acsrecipe import errors

    own = [one.exit_code for one in vars(errors).values() if isinstance(one, type) and hasattr(one, "exit_code")]
    assert set(own) <= set(EXITS)


@pytest.mark.parametrize("name", [*SWITCHES, *REFERENCES])
def test_every_switch_and_reference_is_explained(name):
    text = explain(name)
    assert text.startswith(f"{name} (")
    assert "In a recipe: " in text


def test_other_keywords_say_where_they_live_and_whether_a_recipe_may_set_them():
    for keywords in KEYWORDS.values():
        assert all(explain(name).startswith(name) for name in list(keywords)[:8])
    assert "changes_match = true" in explain("ccdgain")
    assert "can't set it" in explain("ROOTNAME")
    assert explain("P207", "8").startswith("P207: The PCTETAB is of an older generation")


def test_what_is_not_known_gets_a_hint():
    done = CliRunner().invoke(app, ["explain", "PCTECOR"])
    assert "PCTECORR" in str(done.exception.hint)
    done = CliRunner().invoke(app, ["explain", "P999"])
    assert "P207" in str(done.exception.hint)
