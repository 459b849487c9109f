"""Tasks at once times threads of each: never more than the processors that were asked for."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.api import road
from acsrecipe.api.processors import count_processors, share_processors
from acsrecipe.demo.dataset import make_dataset
from acsrecipe.environment import Environment

MAYBE = st.none() | st.integers(1, 64)


@given(processors=st.integers(1, 64), jobs=MAYBE, threads=MAYBE, calibrations=st.integers(0, 200))
def test_exposures_at_once_times_threads_never_exceed_the_processors(processors, jobs, threads, calibrations):
    at_once, each = share_processors(processors, jobs=jobs, threads=threads, calibrations=calibrations)
    assert at_once >= 1
    assert each >= 1
    assert min(at_once, calibrations) * each <= max(processors, jobs or 0)
    assert jobs in (None, at_once)
    assert threads is None or each <= threads


@pytest.mark.parametrize(
    ("processors", "jobs", "threads", "calibrations", "expected"),
    [
        (2, None, None, 4, (2, 1)),
        (2, None, None, 1, (2, 2)),
        (2, 1, None, 4, (1, 2)),
        (2, None, 2, 4, (1, 2)),
        (2, 2, 2, 4, (2, 1)),
        (2, 1, 8, 4, (1, 2)),
        (2, None, 8, 4, (1, 2)),
        (2, 4, None, 9, (4, 1)),
        (16, None, 3, 9, (5, 3)),
        (8, None, 4, 0, (8, 4)),
    ],
)
def test_what_was_asked_for_is_kept_as_far_as_there_are_processors(processors, jobs, threads, calibrations, expected):
    assert share_processors(processors, jobs=jobs, threads=threads, calibrations=calibrations) == expected


def test_only_the_processors_that_this_process_may_use_count():
    assert 1 <= count_processors() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(("jobs", "expected"), [(None, (2, 4)), (1, (1, 4)), (8, (8, 4)), (4, (4, 4))])
def test_a_run_is_given_what_recipe_and_command_line_ask_for(tmp_path, monkeypatch, jobs, expected):
    dataset = make_dataset(tmp_path / "demo", exposures=2)
    text = dataset.recipe.read_text().replace('engine = "auto"', 'engine = "embedded"\nthreads = 4')
    dataset.recipe.write_text(text)
    seen = []
    monkeypatch.setattr(road, "count_processors", lambda: 8)
    monkeypatch.setattr(road, "_run_plan", lambda _plan, options, **_how: seen.append(options))
    recipe = road.load_recipe(dataset.recipe)
    plan = road.build_plan(recipe, environment=Environment())
    road.run_plan(plan, recipe, tmp_path / "run", environment=Environment(), jobs=jobs)
    assert [(one.jobs, one.threads) for one in seen] == [expected]
