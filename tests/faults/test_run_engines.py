"""Rows 5, 9, 10, 27 to 31 of the fault table: engines, workers and drivers that end badly, hang or meet each other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from standins.fake_calacs import FakeCalacs

from acsrecipe.api import build_plan, load_recipe, run_plan
from acsrecipe.demo.dataset import Dataset, make_dataset
from acsrecipe.environment import Environment
from acsrecipe.errors import LockedError
from acsrecipe.run.journal import read_journal

SECRET = "s3cr3t-t0ken-0123456789"
A, B, C, D = "j9l960a7q", "j9l960a9q", "j9l960abq", "j9l960adq"
CODES = {"E002": 5, "E004": 5, "E005": 5, "E006": 5, "E010": 5, "E011": 5, "E013": 5, "E090": 5}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Four mini exposures, and a recipe that has calacs.e calibrate them and does nothing after."""
    made = make_dataset(tmp_path_factory.mktemp("engines") / "demo", seed=1, mode="pre_dth")
    text = made.recipe.read_text().split("[[post]]")[0].replace('engine = "auto"', 'engine = "calacs"')
    made.recipe.write_text(text)
    return made


@pytest.fixture
def calacs(tmp_path: Path) -> FakeCalacs:
    return FakeCalacs(tmp_path / "bin")


@pytest.fixture
def variables(calacs: FakeCalacs) -> dict[str, str]:
    """The environment of a shell in which the fake is found."""
    return {"PATH": f"{calacs.folder}:/usr/bin:/bin", "HOME": os.environ["HOME"], "COLUMNS": "200"}


@pytest.fixture
def run_it(dataset: Dataset, variables: dict[str, str], tmp_path: Path) -> Callable:
    """Run the recipe in this process (with workers of its own) into a folder."""

    def run(folder: str = "run", **how: object):
        environment = Environment.of(variables)
        recipe = load_recipe(dataset.recipe)
        return run_plan(
            build_plan(recipe, environment=environment), recipe, tmp_path / folder, environment=environment, **how
        )

    return run


def command(dataset: Dataset, folder: Path, *more: str) -> list[str]:
    return [sys.executable, "-P", "-m", "acsrecipe", "run", str(dataset.recipe), "--output", str(folder), *more]


def finish(argv: list[str], variables: dict[str, str], **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=variables, capture_output=True, text=True, timeout=120, check=False, **how)


def start(argv: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(argv, env=variables, stderr=subprocess.PIPE, text=True)


def products(folder: Path) -> list[str]:
    return sorted(path.name.partition("_")[0] for path in (folder / "products").glob("*_flt.fits"))


def wait_for(what: Callable[[], object], seconds: float = 15.0) -> object:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(0.02)
    pytest.fail("it did not come in time")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("modes", "codes"),
    [
        ({A: "status:2", B: "signal:11", C: "nothing"}, {A: "E004", B: "E004", C: "E010"}),
        ({A: "signal:6", B: "uncalibrated", C: "partial"}, {A: "E004", B: "E013", C: "E011"}),
        ({A: "binary", B: "leaves", C: "flood"}, {A: "E004", B: "E004", C: "E011"}),
    ],
)
def test_engines_that_fail_cost_their_own_exposure_and_the_next_run_finishes(run_it, calacs, tmp_path, modes, codes):
    calacs.behave(**modes)
    result = run_it(jobs=2)
    assert {name.partition("/")[2]: error.code for name, error in result.failed.items()} == codes
    assert {CODES[error.code] for error in result.failed.values()} == {5}
    assert products(tmp_path / "run") == [D]
    assert list((tmp_path / "run" / "work").iterdir()) == []
    for name, error in result.failed.items():
        log = tmp_path / "run" / "logs" / f"failed-{name.replace('/', '-')}-calacs.log"
        assert str(log) in error.hint
        text = log.read_text()
        assert "CALBEG" in text or "left out" in text
        assert log.stat().st_size < 9_000_000, "the log is capped"
        assert "\x1b" not in str(error) + text
    calacs.behave()
    again = run_it(jobs=2)
    assert again.succeeded
    assert len(again.finished) == 3
    assert products(tmp_path / "run") == [A, B, C, D]


def test_fail_fast_starts_nothing_more(run_it, calacs, tmp_path):
    calacs.behave(**{A: "status:2"})
    result = run_it(jobs=1, keep_going=False)
    assert set(result.failed) == {f"calibrate/{A}"}
    assert set(result.skipped) == {f"calibrate/{root}" for root in (B, C, D)}
    assert [one["root"] for one in calacs.noted("started")] == [A]


def test_an_engine_that_hangs_is_stopped_at_its_deadline(run_it, calacs, tmp_path):
    calacs.behave(**{B: "hang"})
    began = time.monotonic()
    result = run_it(jobs=2, deadline=1.0)
    assert time.monotonic() - began < 20
    (error,) = result.failed.values()
    assert (error.code, error.exit_code) == ("E004", 5)
    assert "did not end in time" in error.message
    assert products(tmp_path / "run") == [A, C, D]
    assert not any(is_alive(one["pid"]) for one in calacs.noted("started"))


def test_a_worker_that_hangs_is_ended_a_while_after_its_deadline(dataset, variables, calacs, tmp_path):
    from acsrecipe.run import execute

    calacs.behave(**{B: "stop-worker"})
    environment = Environment.of(variables)
    options = execute.RunOptions(
        base=dataset.folder,
        output=tmp_path / "run",
        jobs=2,
        environment=environment.passed_on or {},
        search_path=environment.search_path,
        deadline=2.0,
        late=1.0,
    )
    result = execute.run_plan(build_plan(load_recipe(dataset.recipe), environment=environment), options)
    (error,) = result.failed.values()
    assert (error.code, error.exit_code) == ("E006", 5)
    assert products(tmp_path / "run") == [A, C, D]


@pytest.mark.parametrize("mode", ["kill-worker", "killed-once"])
def test_a_worker_or_engine_that_is_killed_is_tried_once_more_with_fewer_at_once(run_it, calacs, tmp_path, mode):
    calacs.behave(**{B: mode})
    result = run_it(jobs=2)
    assert result.succeeded, result.failed
    log = read_journal(tmp_path / "run" / "provenance.jsonl")
    (retried,) = [event for event in log if event["event"] == "task-retried"]
    assert (retried["task"], retried["at_once"]) == (f"calibrate/{B}", 1)
    assert "SIGKILL" in retried["error"]
    again = [event for event in log if event["event"] == "task-started" and event["task"] == f"calibrate/{B}"]
    assert len({event["attempt"] for event in again}) == 2
    assert "tried once more" in again[1]["reason"]
    assert products(tmp_path / "run") == [A, B, C, D]


def test_a_worker_that_dies_every_time_fails_its_task_only(run_it, calacs, tmp_path):
    calacs.behave(**{B: "always-kill-worker"})
    result = run_it(jobs=2)
    (error,) = result.failed.values()
    assert (error.code, error.exit_code) == ("E090", 5)
    assert "memory" in error.hint
    assert len([one for one in calacs.noted("started") if one["root"] == B]) == 2
    assert products(tmp_path / "run") == [A, C, D]


def test_an_engine_without_memory_fails_its_task_only(dataset, variables, calacs, tmp_path):
    calacs.behave(**{B: "memory"})
    limited = f"ulimit -v 2500000; exec {' '.join(command(dataset, tmp_path / 'run', '-j', '1'))}"
    done = finish(["bash", "-c", limited], variables)
    assert done.returncode == 5, done.stderr
    assert "MemoryError" in done.stderr
    assert products(tmp_path / "run") == [A, C, D]


def test_no_worker_can_be_started_is_an_error_not_a_hang(run_it, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    result = run_it(jobs=2)
    assert {error.code for error in result.failed.values()} == {"E091"}


def test_few_file_descriptors_are_enough(dataset, variables, tmp_path):
    limited = f"ulimit -n 64; exec {' '.join(command(dataset, tmp_path / 'run', '-j', '4'))}"
    done = finish(["bash", "-c", limited], variables)
    assert done.returncode == 0, done.stderr
    assert products(tmp_path / "run") == [A, B, C, D]


def test_a_second_driver_is_refused_within_a_second_and_told_who_is_first(dataset, variables, calacs, tmp_path):
    calacs.behave(every="slow:3")
    first = start(command(dataset, tmp_path / "run"), variables)
    wait_for(lambda: calacs.noted("started"))
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-P", "-m", "acsrecipe", "--version"], env=variables, capture_output=True, check=True
    )
    startup = time.monotonic() - began
    began = time.monotonic()
    second = subprocess.run(
        command(dataset, tmp_path / "run"), env=variables, capture_output=True, text=True, timeout=60
    )
    spent = time.monotonic() - began
    other = subprocess.run(
        command(dataset, tmp_path / "other"), env=variables, capture_output=True, text=True, timeout=60
    )
    _, said = first.communicate(timeout=60)
    assert second.returncode == 9, second.stderr
    assert f"pid {first.pid} on " in second.stderr
    assert "--output" in second.stderr
    assert spent - startup < 1.0, f"{spent:.2f} s, of which starting Python took {startup:.2f} s"
    assert first.returncode == 0, said
    assert other.returncode == 0, "another folder is no matter"
    assert products(tmp_path / "run") == products(tmp_path / "other") == [A, B, C, D]


def test_two_drivers_that_start_at_the_same_moment_never_both_work(dataset, variables, calacs, tmp_path):
    calacs.behave(every="slow:1")
    both = [
        subprocess.Popen(command(dataset, tmp_path / "run"), env=variables, stderr=subprocess.PIPE, text=True)
        for _ in "12"
    ]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 9], said
    assert sorted(one["root"] for one in calacs.noted("started")) == [A, B, C, D]


def test_engines_die_with_a_driver_that_is_killed_and_the_next_run_finishes(
    dataset, variables, calacs, tmp_path, run_it
):
    calacs.behave(every="hang")
    driver = subprocess.Popen(command(dataset, tmp_path / "run", "-j", "2"), env=variables, stderr=subprocess.DEVNULL)
    wait_for(lambda: len(calacs.noted("started")) == 2)
    driver.kill()
    driver.wait()
    wait_for(lambda: not any(is_alive(one["pid"]) for one in calacs.noted("started")), 5)
    calacs.behave()
    assert run_it(jobs=2).succeeded
    assert products(tmp_path / "run") == [A, B, C, D]
    assert list((tmp_path / "run" / "work").iterdir()) == []


def test_what_an_orphan_writes_late_lands_in_its_dead_attempt_only(dataset, variables, calacs, tmp_path, run_it):
    calacs.behave(**{A: "orphan:4"})
    driver = subprocess.Popen(command(dataset, tmp_path / "run", "-j", "1"), env=variables, stderr=subprocess.DEVNULL)
    (orphan,) = wait_for(lambda: calacs.noted("orphan"))
    driver.kill()
    driver.wait()
    calacs.behave()
    result = run_it(jobs=2)
    assert result.succeeded
    assert is_alive(orphan["pid"])
    assert any(orphan["cwd"] in warning for warning in result.warnings), "it is told of"
    good = {path.name: path.read_bytes() for path in (tmp_path / "run" / "products").iterdir()}
    wait_for(lambda: calacs.noted("wrote"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "run" / "products").iterdir()} == good
    assert calacs.noted("wrote") == [{"cwd": orphan["cwd"]}]
    assert (Path(orphan["cwd"]) / f"{A}_flt.fits").read_bytes() == b"late and wrong"
    wait_for(lambda: not is_alive(orphan["pid"]))
    again = run_it(jobs=2)
    assert again.finished == ()
    assert list((tmp_path / "run" / "work").iterdir()) == [], "a later run clears it away"


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2])
def test_interrupts_end_the_run_leave_nothing_half_and_say_how_to_go_on(
    dataset, variables, calacs, tmp_path, run_it, signals
):
    calacs.behave(**{B: "hang", C: "hang", D: "hang"})
    driver = subprocess.Popen(
        command(dataset, tmp_path / "run", "-j", "2"), env=variables, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(calacs.noted("started")) >= 3)
    began = time.monotonic()
    for number in signals:
        driver.send_signal(number)
        time.sleep(0.05)
    _, said = driver.communicate(timeout=30)
    spent = time.monotonic() - began
    # A second one may find Python on its way out, which then ends by the signal: the same to a shell.
    assert driver.returncode in ((130, -signal.SIGINT) if len(signals) == 2 else (130,)), said
    assert spent < (2 if len(signals) == 2 else 9), f"it took {spent:.1f} s"
    if len(signals) == 1:
        assert "run the same command again" in said
        assert read_journal(tmp_path / "run" / "provenance.jsonl")[-1]["event"] == "run-interrupted"
    wait_for(lambda: not any(is_alive(one["pid"]) for one in calacs.noted("started")), 5)
    assert products(tmp_path / "run") == [A]
    calacs.behave()
    again = run_it(jobs=2)
    assert f"calibrate/{A}" in again.kept
    assert again.succeeded
    assert products(tmp_path / "run") == [A, B, C, D]


def test_a_hostile_environment_reaches_neither_workers_nor_engines(dataset, variables, calacs, tmp_path):
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("acsrecipe", "numpy", "json", "pickle", "astropy"):
        (evil / f"{name}.py").write_text(f"import pathlib; pathlib.Path({str(evil / 'imported')!r}).touch(); 1 / 0\n")
    hostile = {
        "imclobber": "yes",
        "jref": "/nowhere/",
        "LD_PRELOAD": "/nowhere/evil.so",
        "LD_LIBRARY_PATH": "/nowhere",
        "OMP_NUM_THREADS": "abc",
        "CRDS_PATH": "/nowhere",
        "CRDS_SERVER_URL": "http://127.0.0.1:9",
        "CRDS_DOWNLOAD_PLUGIN": f"touch {evil / 'plugin'}",
        "CRDS_CONTEXT": "hst_9999.pmap",
        "ASTROMETRY_STEP_CONTROL": "On",
        "MAST_API_TOKEN": SECRET,
        "PYTHONSTARTUP": str(evil / "json.py"),
        "iref": "x",
        "foo": "foo$foo$",
        "TMPDIR": str(tmp_path),
    }
    folder = tmp_path / "run"
    done = finish(command(dataset, folder), {**variables, **hostile}, cwd=evil)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in evil.iterdir() if path.suffix != ".py") == [], (
        "nothing of it was imported or run"
    )
    for one in calacs.noted("started"):
        assert set(one["env"]) - {"LC_CTYPE", "PWD"} == {"PATH", "HOME", "TMPDIR", "LANG", "jref", "OMP_NUM_THREADS"}
        assert one["env"]["jref"] == "ref/"
        assert one["env"]["OMP_NUM_THREADS"].isdigit()
    for path in folder.rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), f"the token is in {path}"
    assert SECRET not in done.stdout + done.stderr


def test_modules_on_pythonpath_do_not_reach_the_workers(dataset, variables, tmp_path):
    evil = tmp_path / "evil"
    evil.mkdir()
    # The driver is the user's own Python and gets what the user sets; who works on data must not.
    (evil / "sitecustomize.py").write_text(
        f"import os; open({str(evil / 'seen')!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
    )
    driver = subprocess.Popen(
        command(dataset, tmp_path / "run"), env={**variables, "PYTHONPATH": str(evil)}, stderr=subprocess.DEVNULL
    )
    assert driver.wait(timeout=120) == 0
    assert (evil / "seen").read_text().split() == [str(driver.pid)]


NAMES = {
    "shell": "with a blank/one,two/$HOME and foo$/[1]x[abc]/(a)'b'\"c\"/%s%n{0}/-rf",
    "letters": "Übung-星-\u202e/two\nlines",
}


def deep(folder: Path, length: int) -> Path:
    """A path of about that many bytes."""
    while length - len(os.fsencode(folder)) > 251:
        folder = folder / ("d" * 200)
    return folder / ("e" * max(1, length - len(os.fsencode(folder)) - 1))


def run_below(place: Path, dataset: Dataset, variables: dict[str, str]) -> Path:
    """Have data, references, recipe and run below a folder, and run twice."""
    place.mkdir(parents=True)
    shutil.copytree(dataset.folder, place / "demo")
    recipe, environment = load_recipe(place / "demo" / "recipe.toml"), Environment.of(variables)
    for kept in (0, 5):
        result = run_plan(
            build_plan(recipe, environment=environment), recipe, place / "run", environment=environment, jobs=2
        )
        assert result.succeeded, result.failed
        assert len(result.kept) == kept
    assert products(place / "run") == [A, B, C, D]
    assert not (place / "run" / "work").is_symlink()
    return place / "run"


@pytest.mark.parametrize("where", [*NAMES, 257, 1100, 4000])
def test_whatever_the_users_path_is_the_engine_gets_short_safe_relative_names(
    dataset, variables, calacs, tmp_path, where
):
    """Row 30, with the folder of the data, of the references and of the run all below the hostile name."""
    place = tmp_path / NAMES[where] if isinstance(where, str) else deep(tmp_path, where - 100)
    run_below(place, dataset, variables)
    for started in calacs.noted("started"):
        assert started["argv"][-1] == f"{started['root']}_raw.fits"
        assert not any(str(place) in value for value in (*started["argv"], *started["env"].values()))
        assert len(os.fsencode(started["cwd"])) <= 980


@pytest.mark.calacs
@pytest.mark.parametrize("where", [*NAMES, 257, 1100, 4000])
def test_the_real_calacs_works_in_hostile_paths(dataset, calacs_exe, tmp_path, where):
    place = tmp_path / NAMES[where] if isinstance(where, str) else deep(tmp_path, where - 100)
    run_below(place, dataset, {"PATH": f"{calacs_exe.parent}:/usr/bin:/bin", "HOME": os.environ["HOME"]})


def test_the_lock_is_refused_within_a_second_in_python_too(run_it, calacs, tmp_path):
    from acsrecipe.run.workdir import RunFolder

    folder = RunFolder(tmp_path / "run")
    folder.prepare()
    with folder.alone():
        began = time.monotonic()
        with pytest.raises(LockedError, match=f"pid {os.getpid()}"):
            RunFolder(tmp_path / "run").refuse_second()
        assert time.monotonic() - began < 0.5


def test_a_complete_cache_that_is_read_only_is_fine(dataset, variables, tmp_path):
    """Row 8: data and CRDS cache on a disk that takes no writes."""
    mount = f"mount --bind {dataset.folder} {dataset.folder} && mount -o remount,ro,bind {dataset.folder}"
    probe = finish(["unshare", "-m", "sh", "-c", mount], variables)
    if probe.returncode != 0:
        pytest.skip("this machine lets no process mount a disk of its own (unshare -m)")
    go = f"{mount} && ! touch {dataset.folder}/x && exec {' '.join(command(dataset, tmp_path / 'run'))}"
    done = finish(["unshare", "-m", "sh", "-c", go], variables)
    assert done.returncode == 0, done.stderr
    assert products(tmp_path / "run") == [A, B, C, D]


def test_a_written_plan_is_run_exactly_or_refused_with_the_difference(dataset, variables, calacs, tmp_path):
    """Rows 14 and 15: the recipe has changed since, which is no matter; the world has, which is."""
    copy = tmp_path / "demo"
    shutil.copytree(dataset.folder, copy)
    (recipe, raw), plan = (copy / "recipe.toml", copy / "data" / f"{A}_raw.fits"), copy / "plan.json"
    base = [sys.executable, "-P", "-m", "acsrecipe"]
    assert finish([*base, "plan", str(recipe), "-o", str(plan)], variables).returncode == 0
    recipe.write_text(recipe.read_text().replace('PCTECORR = "OMIT"', 'PCTECORR = "OMIT"\nDARKCORR = "OMIT"'))
    run = [*base, "run", str(plan), "-o", str(tmp_path / "run")]
    done = finish(run, variables)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "plan.json").read_bytes() == plan.read_bytes()
    raw.write_bytes(raw.read_bytes()[:-1] + b"!")
    refused = finish(run, variables)
    assert refused.returncode == 8
    assert f"data/{A}_raw.fits has other content" in refused.stderr
    gone = finish(run, {**variables, "PATH": "/usr/bin:/bin"})
    assert gone.returncode == 8
    assert "engine calacs 10.5.0 (16-Mar-2026) -> not here" in gone.stderr
    assert len(calacs.noted("started")) == 4
    plan.rename(tmp_path / "plan.json")
    lost = finish([*base, "run", str(tmp_path / "plan.json")], variables, cwd=tmp_path)
    assert lost.returncode == 2
    assert "--base" in lost.stderr


def test_the_fake_engine_is_the_one_that_these_tests_run(calacs, variables):
    """Row 50: where it did not shadow a real calacs.e, the tests above would prove nothing."""
    from acsrecipe.engines.calacs import find

    assert find(variables["PATH"]) == calacs.folder / "calacs.e"
