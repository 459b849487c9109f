"""A folder of broken recipes, each with exactly what a user sees; anew with tests/broken_recipes/write_expected.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from acsrecipe.errors import RecipeError
from acsrecipe.recipe.codes import CODES
from acsrecipe.recipe.toml import parse_recipe, render_problems

CORPUS = Path(__file__).resolve().parents[2] / "broken_recipes"
BROKEN = sorted(CORPUS.glob("*.toml"))
# What a file of plain text, read by parse_recipe, can't show.
NOT_IN_THE_CORPUS = {"R001", "R002", "R099"}


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_recipe_shows_exactly_this(path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(path.read_bytes(), path.name)
    assert render_problems(caught.value.problems) == path.with_suffix(".txt").read_text(encoding="utf-8")
    assert caught.value.exit_code == 2


def test_the_corpus_is_large_and_whole() -> None:
    assert len(BROKEN) >= 30
    assert {path.stem for path in BROKEN} == {path.stem for path in CORPUS.glob("*.txt")}


def test_every_code_is_explained_and_every_code_is_shown() -> None:
    shown = {code for path in CORPUS.glob("*.txt") for code in re.findall(r"\[(R\d{3})\]$", path.read_text(), re.M)}
    assert shown | NOT_IN_THE_CORPUS == set(CODES)
    assert all(text.strip().endswith(".") for text in CODES.values())
