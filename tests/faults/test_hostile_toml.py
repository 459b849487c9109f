"""No text, however made, takes a recipe reader more than a moment, or ends in anything but a list of problems."""

from __future__ import annotations

import json
import os
import threading
import time
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from acsrecipe.errors import Problem, RecipeError
from acsrecipe.recipe.model import Recipe
from acsrecipe.recipe.toml import (
    LONGEST_LINE,
    MOST_BYTES,
    MOST_PROBLEMS,
    load_recipe,
    parse_recipe,
    problems_as_json,
    render_problems,
)

HEAD = 'format = 1\nname = "x"\n'
RECIPE = f'{HEAD}[observations]\nids = ["J9L960010"]\narchive = "mast"\n'
OVERRIDE = f'{RECIPE}[[headers]]\nreason = "x"\n'
MIB = 1 << 20

HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "a dotted key of 20 000 parts": (f"{RECIPE}{'.'.join('a' * 20_000)} = 1", "R006"),
    "a thousand deep headers": ("".join(f"[{'.'.join('a' * n)}]\n" for n in range(1, 1000)), "R006"),
    "arrays 900 deep": ("a = " + "[" * 900 + "]" * 900, "R006"),
    "arrays 60 000 deep and open": ("a = " + "[" * 60_000, "R006"),
    "arrays 90 000 deep over as many lines": ("a = " + "[\n" * 90_000, "R006"),
    "inline tables 900 deep": ("a = " + "{a=" * 900 + "1" + "}" * 900, "R006"),
    "a number of 5 000 digits": (f"{OVERRIDE}set = {{ NRPTEXP = {'9' * 5000} }}", "R007"),
    "a number of 100 digits": (f"{OVERRIDE}set = {{ NRPTEXP = {'9' * 100} }}", "R049"),
    "an exponent beyond floats": (f"{OVERRIDE}set = {{ EXPTIME = 1e400 }}", "R048"),
    "one byte more than 1 MiB": ("#" * 60_000 + "\n" * (MIB - 60_000 + 1), "R002"),
    "one line of 1 MiB": ("a = '" + "x" * (MIB - 10) + "'", "R002"),
    "1 MiB of comments": (("# " + "a" * 60 + "\n") * (MIB // 63), "R011"),
    "1 MiB of line ends": ("\n" * MIB, "R011"),
    "1 MiB of blanks": ((" " * 60_000 + "\n") * 17, "R011"),
    "1 MiB in one string": ('a = """' + ("x" * 60_000 + "\n") * 17 + '"""', "R010"),
    "1 MiB of escapes": ('a = """' + ("\\u0041" * 10_000 + "\n") * 17 + '"""', "R010"),
    "1 MiB of quotes": ('"\n' * (MIB // 2), "R004"),
    "1 MiB of brackets": ("[\n" * (MIB // 2), "R004"),
    "a string that never ends": ('a = """' + "\\\\\n" * (MIB // 3 - 10), "R004"),
    "90 000 keys": ("".join(f"k{n}=1\n" for n in range(90_000)), "R002"),
    "300 000 elements": ("a = [" + "1,\n" * 300_000 + "]", "R002"),
    "one key 50 000 times": ("a=1\n" * 50_000, "R019"),
    "9 900 unknown switches": (f"{RECIPE}[switches]\n" + "".join(f"S{n}CORR=1\n" for n in range(9900)), "R030"),
    "3 000 wrong overrides": (RECIPE + "".join(f"[[headers]]\nset={{Q{n}=nan}}\n" for n in range(3000)), "R048"),
    "2 000 steps in a row": (
        RECIPE + "".join(f"[[post]]\nstep='s{n}'\nafter=['s{n + 1}']\n" for n in range(2000)),
        "R012",
    ),
    "9 000 ids": (RECIPE.replace('"J9L960010"', ",\n".join(f"'z{n}'" for n in range(9000))), "R020"),
    "a key of 60 000 letters": (f"{'a' * 60_000} = 1", "R010"),
    "Latin-1": (f'{HEAD}description = "café"'.encode("latin-1"), "R003"),
    "UTF-16": (RECIPE.encode("utf-16"), "R003"),
    "half a character at the end": (RECIPE.encode() + "é".encode()[:1], "R003"),
    "a byte order mark": (b"\xef\xbb\xbf" + RECIPE.encode(), "R003"),
    "a lone surrogate": ("a = '\ud800'", "R003"),
    "NUL": (RECIPE + "\x00", "R003"),
    "an ESC": ("a = '\x1b[2J'", "R004"),
    "a lone carriage return": ("a = 1\rb = 2", "R004"),
    "a month of 99": ("a = 9999-99-99", "R004"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_in_under_a_second(name: str) -> None:
    text, code = HOSTILE[name]
    start = time.process_time()
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "hostile.toml")
    shown = render_problems(caught.value.problems)
    assert time.process_time() - start < 1
    assert code in {problem.code for problem in caught.value.problems}
    assert len(caught.value.problems) <= MOST_PROBLEMS + 1
    assert len(shown) < 100_000
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_what_is_left_out_of_many_problems_is_said() -> None:
    text, _ = HOSTILE["9 900 unknown switches"]
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "x.toml")
    assert caught.value.problems[-1].code == "R099"
    assert str(caught.value.problems[-1].where) == "x.toml"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_the_largest_text_allowed_is_read(ending: str) -> None:
    filler = "#" * (LONGEST_LINE - 1) + ending
    text = RECIPE.replace("\n", ending) + filler * ((MOST_BYTES - len(RECIPE) * 2) // len(filler))
    assert parse_recipe(text, "x.toml").recipe.observations.ids == ("J9L960010",)


# --- any text at all


def refused_or_read(content: str | bytes) -> None:
    """Check that only a RecipeError comes out, whole, with places that exist."""
    problems: tuple[Problem, ...] = ()
    try:
        loaded = parse_recipe(content, "any.toml")
        assert loaded.where("observations").line > 0
    except RecipeError as error:
        problems = error.problems
    lines = (content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content).count(b"\n") + 1
    for problem in problems:
        assert 0 <= problem.where.line <= lines
        assert problem.where.column <= len(problem.source_line) + 1 or not problem.source_line
    assert len(json.loads(problems_as_json(problems))["problems"]) == len(problems)
    assert all(character.isprintable() or character == "\n" for character in render_problems(problems))


@settings(max_examples=200)
@given(st.one_of(st.text(max_size=200), st.binary(max_size=200)))
def test_any_text_is_a_recipe_or_a_list_of_problems(content: str | bytes) -> None:
    refused_or_read(content)


FULL = (Path(__file__).resolve().parents[2] / "recipes" / "local_folder.toml").read_text()


@settings(max_examples=200)
@given(st.data())
def test_a_recipe_with_a_few_characters_changed_is_a_recipe_or_a_list_of_problems(data: st.DataObject) -> None:
    text = FULL
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 6)))
        text = text[:start] + data.draw(st.text("\"'[]{}=,.#\n\\ aJ0-\t\x00é", max_size=4)) + text[end:]
    refused_or_read(text)


_words = st.sampled_from(
    [
        "*",
        "?",
        "J9L960010",
        "mast",
        "latest",
        "PERFORM",
        "updatewcs",
        "compare-plot",
        "../x",
        "~",
        "$a",
        "a.fits",
        "é",
        "https://[",
        "EXP-DTH",
        "RAW",
        "CCDGAIN",
    ]
)
_scalars = st.one_of(
    _words,
    st.text(max_size=8),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.booleans(),
    st.just(date(2006, 3, 5)),
)
_keys = st.one_of(st.sampled_from(list(Recipe.model_fields)), st.text(min_size=1, max_size=9))
_anything = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=8,
)


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=True) if value.isascii() else '"é"'
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{_toml(key)} = {_toml(item)}' for key, item in _distinct(value))} }}"
        case _:
            return str(value)


def _distinct(table: dict[str, object]) -> list[tuple[str, object]]:
    return list({(key if key.isascii() else "é"): item for key, item in table.items()}.items())


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(list(Recipe.model_fields)), _anything, max_size=6))
def test_any_value_at_any_key_is_a_recipe_or_a_list_of_problems(table: dict[str, object]) -> None:
    refused_or_read("".join(f"{key} = {_toml(value)}\n" for key, value in table.items()))


_shapes = {
    "observations": ("ids", "proposal", "archive", "products"),
    "association": ("keep", "drop"),
    "switches": ("PCTECORR", "DARKCORR", "X"),
    "references": ("context", "cache", "server", "override"),
    "calibrate": ("engine", "threads"),
}


@settings(max_examples=200)
@given(st.data())
def test_any_value_inside_the_tables_is_a_recipe_or_a_list_of_problems(data: st.DataObject) -> None:
    text = HEAD
    for table, keys in _shapes.items():
        if data.draw(st.booleans()):
            chosen = data.draw(st.lists(st.sampled_from(keys), unique=True, max_size=3))
            text += f"[{table}]\n" + "".join(f"{key} = {_toml(data.draw(_anything))}\n" for key in chosen)
    for table, keys in {"headers": ("set", "where", "reason", "hdu"), "post": ("step", "after", "section")}.items():
        for _ in range(data.draw(st.integers(0, 2))):
            chosen = data.draw(st.lists(st.sampled_from(keys), unique=True, max_size=4))
            text += f"[[{table}]]\n" + "".join(f"{key} = {_toml(data.draw(_anything))}\n" for key in chosen)
    refused_or_read(text)


# --- files that are not what they seem


def problem_of(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    (problem,) = caught.value.problems
    return f"{problem.code} {problem.message}"


def test_files_that_are_no_recipes_are_refused_without_waiting(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.toml"
    os.mkfifo(fifo)
    loop = tmp_path / "loop.toml"
    loop.symlink_to(loop)
    assert problem_of(tmp_path / "absent.toml") == "R001 the recipe can't be read: No such file or directory"
    assert problem_of(tmp_path) == "R001 the recipe can't be read: it is a folder"
    assert problem_of(Path("/dev/zero")) == "R001 the recipe can't be read: it is not a regular file"
    assert problem_of(loop).startswith("R001 the recipe can't be read: Too many levels")
    assert problem_of(Path("nul\x00.toml")).startswith("R001 the recipe can't be read")
    waiting = threading.Thread(target=problem_of, args=(fifo,), daemon=True)
    waiting.start()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_file_that_grows_for_ever_is_read_only_as_far_as_a_recipe_may_be_long(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse.toml"
    with sparse.open("wb") as stream:
        stream.truncate(1 << 40)
    assert problem_of(sparse) == "R002 a recipe has at most 1 MiB, this file has more"
