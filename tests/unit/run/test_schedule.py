"""Tasks are given out when those they follow are done; an exposure goes all its way before the next one starts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from acsrecipe.plan.model import Output, PlannedFile, Task
from acsrecipe.run.schedule import Schedule, find_makers, find_users


def task(name: str, *after: str, **more: object) -> Task:
    return Task(id=name, kind=name.partition("/")[0], exposures=(), after=after, **more)


def drain(schedule: Schedule) -> list[str]:
    order = []
    while (one := schedule.next() or schedule.next(fetching=True)) is not None:
        order.append(one.id)
        schedule.finish(one.id)
    return order


def test_what_follows_a_finished_task_comes_before_what_is_new():
    tasks = [task("a/1"), task("a/2"), task("b/1", "a/1"), task("b/2", "a/2")]
    assert drain(Schedule(tasks)) == ["a/1", "b/1", "a/2", "b/2"]


def test_tasks_that_fetch_are_given_out_by_themselves_and_hurry_nobody():
    tasks = [task("fetch/1"), task("fetch/2"), task("a/1", "fetch/1"), task("a/2", "fetch/2"), task("b/1", "a/1")]
    schedule = Schedule(tasks)
    assert schedule.next() is None
    assert [schedule.next(fetching=True).id for _ in "12"] == ["fetch/1", "fetch/2"]
    schedule.finish("fetch/2")
    assert schedule.next().id == "a/2"


def test_a_failure_gives_up_all_that_follows_and_nothing_else():
    tasks = [task("a/1"), task("a/2"), task("b/1", "a/1"), task("c/1", "b/1"), task("b/2", "a/2")]
    schedule = Schedule(tasks)
    schedule.next()
    assert [one.id for one in schedule.give_up("a/1")] == ["b/1", "c/1"]
    assert drain(schedule) == ["a/2", "b/2"]
    assert len(schedule) == 0


def test_giving_up_all_leaves_those_that_run():
    schedule = Schedule([task("a/1"), task("a/2"), task("a/3"), task("b/1", "a/1")])
    running = schedule.next()
    assert [one.id for one in schedule.give_up_all()] == ["a/2", "a/3", "b/1"]
    assert len(schedule) == 1
    schedule.finish(running.id)
    assert len(schedule) == 0


def test_what_is_put_back_is_given_out_again():
    schedule = Schedule([task("a/1"), task("a/2")])
    assert schedule.next().id == "a/1"
    schedule.put_back("a/1")
    assert drain(schedule) == ["a/1", "a/2"]


@given(
    edges=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40), failing=st.sets(st.integers(0, 14))
)
def test_every_task_is_given_out_once_after_those_it_follows_or_given_up(edges, failing):
    after = {number: {a for a, b in edges if b == number and a < number} for number in range(15)}
    tasks = [task(str(number), *map(str, sorted(after[number]))) for number in range(15)]
    schedule, done, lost = Schedule(tasks), [], set()
    while len(schedule):
        one = schedule.next()
        assert one is not None
        assert set(one.after) <= set(done)
        if int(one.id) in failing:
            lost |= {one.id, *(other.id for other in schedule.give_up(one.id))}
        else:
            schedule.finish(one.id)
            done.append(one.id)
    assert len(done) == len(set(done))
    assert not lost & set(done)
    assert lost | set(done) == {one.id for one in tasks}


def test_the_nearest_maker_of_a_file_is_found_through_tasks_that_do_not_touch_it():
    flt = Output(name="x_flt.fits", folder="", size=1)
    tasks = [
        task("fetch/x", outputs=(Output(name="x_raw.fits", folder="", size=1),)),
        task(
            "calibrate/x",
            "fetch/x",
            inputs=(PlannedFile(role="RAW", path="mast:HST/x_raw.fits", size=1, source="mast"),),
            outputs=(flt,),
        ),
        task("updatewcs/x", "calibrate/x", outputs=(flt,), parameters={"files": ["x_flt.fits"]}),
        task("note/x", "updatewcs/x"),
        task("plot/x", "note/x", parameters={"files": ["x_flt.fits"]}),
    ]
    makers = find_makers(tasks)
    assert makers["calibrate/x"] == {"x_raw.fits": "fetch/x"}
    assert makers["updatewcs/x"] == {"x_flt.fits": "calibrate/x"}
    assert makers["plot/x"] == {"x_flt.fits": "updatewcs/x"}
    assert find_users(tasks, makers) == {
        "fetch/x": {"calibrate/x"},
        "calibrate/x": {"updatewcs/x"},
        "updatewcs/x": {"plot/x"},
    }
