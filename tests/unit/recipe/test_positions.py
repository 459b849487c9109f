from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acsrecipe.recipe.positions import MOST_ENTRIES, MOST_LEVELS, scan

# --- TOML of every form: bare, quoted and dotted keys, inline tables, arrays of tables, strings over many lines.
_names = st.sampled_from(["a", "b", "c", "d", "1", "-x_"])
_parts = st.one_of(
    _names,
    _names.map(lambda name: f'"{name}"'),
    _names.map(lambda name: f"'{name}'"),
    st.sampled_from(['"\\u0041"', '"q.r"', "'#'", '""', '"a\\"b"', '"é"']),
)
_keys = st.lists(_parts, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([".", " . ", ".\t"]).map(lambda dot: dot.join(parts))
)
_scalars = st.one_of(
    st.sampled_from(
        ["1", "+1_000", "0x1F", "-1.5e3", "inf", "nan", "true", "1979-05-27", "1979-05-27T07:32:00.5-07:00", "07:32:00"]
    ),
    st.sampled_from(['"s"', "'l'", '""', "''", r'"\\"', r'"\""', "''''''", '""""""', '"""a"""""', "'''a'''''"]),
    st.sampled_from(["1979-05-27 07:32:00", '"a # ] } , = b"', '"""m\n[x]\n k=1 """', '"""\n"" \\""" """']),
    st.sampled_from(["'''\n]]\n'''", '"""\\\n z"""']),
)
_blank = st.sampled_from(["", " ", "\t"])
_gap = st.sampled_from(["", " ", "\n", " # c ]\n", "\n\n"])


def _arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda items, gap, comma: f"[{gap}{(comma + gap).join(items)}{gap}]",
        st.lists(values, max_size=3),
        _gap,
        st.sampled_from([",", " ,"]),
    )


def _inline_tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda pairs, blank: f"{{{blank}{f',{blank}'.join(f'{k}{blank}={blank}{v}' for k, v in pairs)}{blank}}}",
        st.lists(st.tuples(_keys, values), max_size=3),
        _blank,
    )


_values = st.recursive(_scalars, lambda values: st.one_of(_arrays(values), _inline_tables(values)), max_leaves=6)
_pairs = st.builds(
    lambda left, key, value, end: f"{left}{key}{left}={left}{value}{end}\n",
    _blank,
    _keys,
    _values,
    st.sampled_from(["", " # x = 1", "#"]),
)
_headers = st.builds(
    lambda left, key, form: form.format(f"{left}{key}{left}"), _blank, _keys, st.sampled_from(["[{}]\n", "[[{}]] #c\n"])
)
_documents = st.lists(st.one_of(_pairs, _pairs, _headers, st.just("\n")), max_size=7).map("".join)
_scraps = st.lists(
    st.sampled_from([*"ab.=[]{},\"'\n#\\ \t1-", '"""', "'''", "[[", "]]", "a=1\n", "[a]\n", "[[a]]\n", "b.c=2\n"]),
    max_size=25,
).map("".join)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Give every path of parsed TOML with what is there."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield (*path, key), item
        yield from paths(item, (*path, key))


@settings(max_examples=400)
@given(st.one_of(_documents, _documents, _scraps, st.text(max_size=60)))
@example('"""a"""=1')
@example("a=[[],[{b=1}]]\n[[c]]\n[c.d]\ne=1\n[[c]]\n[[c.f]]\n")
def test_every_key_of_valid_toml_is_found_and_nothing_else(text: str) -> None:
    found = scan(text)
    try:
        data = tomli.loads(text)
    except ValueError:
        return
    if "\r" in text:
        return
    assert found.complete
    assert found.excess is None
    assert found.repeated == []
    assert set(found.keys) == {path for path, _ in paths(data)}


@settings(max_examples=150)
@given(_documents)
def test_a_value_stands_where_it_is_said_to_stand(text: str) -> None:
    try:
        data = tomli.loads(text)
    except ValueError:
        return
    found = scan(text)
    for path, value in paths(data):
        if isinstance(value, dict | list):
            continue
        rest = text[found.values[path] :]
        assert any(_reads_as(rest[:length], value) for length in range(1, len(rest) + 1))


def _reads_as(token: str, value: object) -> bool:
    try:
        read = tomli.loads(f"k = {token}")["k"]
    except ValueError:
        return False
    return read == value or (read != read and value != value)


def test_positions_of_a_recipe_are_lines_and_columns_from_one() -> None:
    text = """format = 1
[switches]
PCTECORR = "OMIT"

[[headers]]
set = { EXPTIME = 1.0, "CCDGAIN" = 2.0 }
reason = \"\"\"
two lines\"\"\"
[[headers]]
where.FILTER1 = ["F606W",
  'F814W']
"""
    found = scan(text)

    def key(*path: str | int) -> tuple[int, int]:
        return found.line_and_column(found.keys[path])

    assert key("format") == (1, 1)
    assert key("switches") == (2, 2)
    assert key("switches", "PCTECORR") == (3, 1)
    assert key("headers", 0) == (5, 3)
    assert key("headers", 0, "set", "CCDGAIN") == (6, 24)
    assert key("headers", 0, "reason") == (7, 1)
    assert key("headers", 1) == (9, 3)
    assert key("headers", 1, "where") == (10, 1)
    assert key("headers", 1, "where", "FILTER1") == (10, 7)
    assert key("headers", 1, "where", "FILTER1", 1) == (11, 3)
    assert found.line_and_column(found.values["headers", 0, "set", "CCDGAIN"]) == (6, 36)


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a = 1\na = 2\n", ("a",), 2),
        ("[t]\nx = 1\n\n[t]\n", ("t",), 4),
        ("t.a = 1\nt.b = 2\nt.a = 3\n", ("t", "a"), 3),
        ("k = { a = 1, a = 2 }\n", ("k", "a"), 1),
        ("a = 1\na.b = 2\n", ("a",), 2),
    ],
)
def test_a_key_that_is_set_again_is_noted_with_its_place(text: str, path: tuple[str, ...], line: int) -> None:
    with pytest.raises(ValueError, match=r"at line"):
        tomli.loads(text)
    (repeated,) = scan(text).repeated
    assert repeated[0] == path
    assert scan(text).line_and_column(repeated[1])[0] == line


def test_bounds_are_named_where_they_are_broken() -> None:
    deep = scan("a = " + "[" * (MOST_LEVELS + 1))
    assert deep.excess is not None
    assert deep.excess.code == "R006"
    many = scan("".join(f"k{index} = 1\n" for index in range(MOST_ENTRIES + 1)))
    assert many.excess is not None
    assert many.line_and_column(many.excess.offset)[0] == MOST_ENTRIES + 1
    just = scan(".".join("k" * MOST_LEVELS) + " = 1")
    assert just.excess is None
