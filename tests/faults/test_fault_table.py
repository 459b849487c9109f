"""docs/faults.md is true: fifty rows, each with tests that exist, or with the reason why there is none here."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
TABLE = TESTS.parent / "docs" / "faults.md"
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    """The last column by number."""
    found = [line.split("|") for line in TABLE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    return {int(cells[1]): cells[-2].strip() for cells in found}


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef))


def test_there_are_fifty_rows_and_at_least_forty_have_tests():
    table = rows()
    assert sorted(table) == list(range(1, 51))
    assert sum("::" in tests for tests in table.values()) >= 40


def test_every_test_that_is_named_exists():
    missing = [
        f"row {number}: {file}::{name}"
        for number, tests in rows().items()
        for file, name in NAMED.findall(tests)
        if not (TESTS / file).is_file() or name not in names_in(TESTS / file)
    ]
    assert missing == []


def test_a_row_without_a_test_says_why():
    for number, tests in rows().items():
        assert NAMED.search(tests) or tests.startswith("not here: "), f"row {number}"
