"""The README's pictures are those of the code as it is."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", DOCS / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plan(pictures: ModuleType, tmp_path_factory: pytest.TempPathFactory):
    return pictures.plan_demo(tmp_path_factory.mktemp("pictures") / "demo")[1]


def test_the_picture_of_the_plan_is_current(pictures, plan):
    assert pictures.draw_plan(plan) == (DOCS / "pictures" / "plan.svg").read_text(), "run `make pictures`"


def test_the_picture_of_the_progress_is_current(pictures, plan):
    events = json.loads((DOCS / "pictures" / "events.json").read_text())
    assert pictures.draw_progress(plan, events) == (DOCS / "pictures" / "progress.svg").read_text(), (
        "run `make pictures`"
    )


def test_pictures_name_no_server():
    for path in (DOCS / "pictures").glob("*.svg"):
        assert "url(" not in path.read_text().replace("url(#", "")
