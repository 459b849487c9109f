"""The door to the engines: what there is, by which name, and at what cost."""

from __future__ import annotations

import subprocess
import sys

import pytest

from acsrecipe.engines.catalogue import ENGINES, abilities, get_engine
from acsrecipe.errors import EngineError


def test_the_abilities_are_in_the_order_in_which_auto_tries_them(tmp_path):
    found = abilities(str(tmp_path))
    assert tuple(ability.name for ability in found) == ENGINES == ("calacs", "embedded")
    assert [ability.available for ability in found] == [False, True]
    assert all(ability.requirements for ability in found)


def test_engines_are_known_by_the_name_that_a_plan_has_with_or_without_version():
    assert get_engine("embedded").name == "embedded"
    assert get_engine("embedded 0.1.0").name == "embedded"
    with pytest.raises(EngineError, match="unknown engine 'calnica': expected calacs or embedded"):
        get_engine("calnica")


def test_calacs_without_its_program_is_an_error_with_a_hint(tmp_path):
    with pytest.raises(EngineError, match=r"calacs\.e is not on the search path") as caught:
        get_engine("calacs", str(tmp_path))
    assert "hstcal" in str(caught.value.hint)


def test_asking_what_there_is_loads_nothing_heavy():
    code = (
        "import sys; from acsrecipe.engines.catalogue import abilities; abilities('/nowhere');"
        "from acsrecipe.steps.catalogue import get_step; get_step('updatewcs'); get_step('compare-plot');"
        "print(sorted({'numpy', 'numba', 'astropy', 'stwcs', 'matplotlib', 'crds'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
