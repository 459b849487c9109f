"""What a page of docs shows of a command is what the command says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load_console():
    spec = importlib.util.spec_from_file_location("docs_console", DOCS / "console.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_console"] = module
    spec.loader.exec_module(module)
    return module


console = load_console()


@pytest.mark.parametrize("page", ["lock-diff-audit.md"])
def test_every_command_says_what_the_page_shows(page, tmp_path):
    steps = list(console.run_page((DOCS / page).read_text(encoding="utf-8"), tmp_path))
    assert len(steps) > 15
    for step, said in steps:
        assert console.fits(step.shown, said), f"$ {step.command}\n--- the page shows\n{step.shown}--- it says\n{said}"


def test_a_page_that_shows_something_else_is_found(tmp_path):
    text = "```console\n$ echo one; echo two\none\n$ echo three\n...\n```\n"
    first, second = console.run_page(text, tmp_path)
    assert not console.fits(first[0].shown, first[1])
    assert console.fits(second[0].shown, second[1])
    assert console.fits("a\n...\nd\n", "a\nb\nc\nd\n")
    assert console.renew(text, tmp_path) == "```console\n$ echo one; echo two\none\ntwo\n$ echo three\n...\n```\n"
