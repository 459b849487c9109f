"""Lock a recipe, change one thing, and see it refused by name; a locked run gives the same products elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from acsrecipe.api.lock import lock_path, read_lock, write_lock
from acsrecipe.demo.dataset import Dataset, make_dataset

REFERENCES = "crds/references/hst"
VOLATILE = ("DATE", "IRAF-TLM", "ACSR_PLN", "ACSR_GIT")
"""Cards that may differ between two equal locked runs."""


def acsrecipe(*args: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "acsrecipe", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**environment, "PATH": "/usr/bin:/bin", "COLUMNS": "120", **variables},
    )


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A demo of one subarray exposure with a custom dark, locked."""
    dataset = make_dataset(tmp_path_factory.mktemp("lock") / "demo", seed=1, mode="pre_sub")
    (dataset.folder / "refs").mkdir()
    shutil.copyfile(dataset.folder / REFERENCES / "dmo0601ej_drk.fits", dataset.folder / "refs" / "our_drk.fits")
    recipe = dataset.recipe.read_text()
    recipe = recipe.replace('cache = "crds"\n', 'cache = "crds"\noverride = { DARKFILE = "refs/our_drk.fits" }\n')
    recipe = recipe.split("[[post]]")[0].replace('engine = "auto"', 'engine = "embedded"')
    dataset.recipe.write_text(recipe)
    done = acsrecipe("lock", dataset.recipe)
    assert done.returncode == 0, done.stderr
    return dataset


@pytest.fixture
def folder(pristine: Dataset, tmp_path: Path) -> Path:
    target = tmp_path / "copy"
    shutil.copytree(pristine.folder, target)
    return target


def flip(path: Path, offset: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def change_raw(folder: Path) -> str:
    (raw,) = (folder / "data").glob("*_raw.fits")
    flip(raw, 2880 * 20 + 7)
    return f"input RAW {raw.name}: the lock has sha256 "


def change_reference(folder: Path) -> str:
    flip(folder / REFERENCES / "dmo0201ej_bpx.fits")
    flip(folder / REFERENCES / "dmo0202ej_bpx.fits")
    return "reference BPIXTAB dmo0202ej_bpx.fits: the lock has sha256 "


def change_context(folder: Path) -> str:
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("hst_0002.pmap", "hst_0001.pmap"))
    return "context of CRDS: the lock has hst_0002.pmap, found hst_0001.pmap"


def change_engine(folder: Path) -> str:
    path = lock_path(folder / "recipe.toml")
    lock = read_lock(path)
    write_lock(lock.model_copy(update={"engine": lock.engine.model_copy(update={"version": "0.0.9"})}), path)
    return "engine that calibrates: the lock has embedded 0.0.9, found embedded "


def change_custom(folder: Path) -> str:
    flip(folder / "refs" / "our_drk.fits")
    return "reference DARKFILE our_drk.fits: the lock has sha256 "


def change_switch(folder: Path) -> str:
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[switches]\n", '[switches]\nSINKCORR = "OMIT"\n'))
    return "recipe [switches] of recipe.toml: the lock has content "


def change_package(folder: Path) -> str:
    path = lock_path(folder / "recipe.toml")
    lock = read_lock(path)
    write_lock(lock.model_copy(update={"packages": {**lock.packages, "numpy": "1.0"}}), path)
    return "package numpy: the lock has 1.0, found "


CHANGES = [change_raw, change_reference, change_context, change_engine, change_custom, change_switch, change_package]


def test_a_fresh_lock_is_as_it_is_now(folder: Path) -> None:
    done = acsrecipe("lock", folder / "recipe.toml", "--check")
    assert (done.returncode, done.stdout) == (0, f"{folder / 'recipe.lock'}: as it is now\n")


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_what_is_not_as_locked_is_refused_and_named(folder: Path, change: Callable[[Path], str]) -> None:
    named = change(folder)
    refused = acsrecipe("run", folder / "recipe.toml", "--locked", "-o", folder / "run")
    assert refused.returncode == 8, refused.stderr
    assert named in refused.stderr.replace("\n", " ").replace("  ", " ")
    assert "[L003]" in refused.stderr
    assert not (folder / "run" / "products").exists()
    assert acsrecipe("plan", folder / "recipe.toml", "--locked").returncode == 8
    stale = acsrecipe("lock", folder / "recipe.toml", "--check")
    assert stale.returncode == 10, stale.stderr
    assert named in stale.stdout


def test_a_lock_edited_by_hand_is_refused(folder: Path) -> None:
    lock = folder / "recipe.lock"
    lock.write_text(lock.read_text().replace("hst_0002.pmap", "hst_0001.pmap"))
    for command in (("run", folder / "recipe.toml", "--locked"), ("lock", folder / "recipe.toml", "--check")):
        done = acsrecipe(*command)
        assert done.returncode == 8
        assert "its seal does not hold" in done.stderr
    lock.unlink()
    done = acsrecipe("run", folder / "recipe.toml", "--locked")
    assert done.returncode == 2
    assert "there is no lock" in done.stderr


def test_one_pin_is_moved_and_what_that_changes_is_shown(folder: Path) -> None:
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('"hst_0002.pmap"', '"hst_0001.pmap"'))
    assert acsrecipe("lock", recipe).returncode == 0
    recipe.write_text(recipe.read_text().replace('"hst_0001.pmap"', '"latest"'))
    done = acsrecipe("lock", recipe, "--upgrade", "context")
    assert done.returncode == 0, done.stderr
    assert "context of CRDS: the lock has hst_0001.pmap, found hst_0002.pmap" in done.stdout
    assert "BPIXTAB: dmo0201ej_bpx.fits -> dmo0202ej_bpx.fits" in done.stdout
    assert "would be done again" in done.stdout
    stale = acsrecipe("lock", recipe, "--check")
    assert stale.returncode == 10
    assert [line.split(":")[0] for line in stale.stdout.splitlines()] == ["recipe [references] of recipe.toml"]
    assert acsrecipe("lock", recipe, "--upgrade", "recipe").returncode == 0
    assert acsrecipe("lock", recipe, "--check").returncode == 0
    # latest is pinned now: the cache's server_config may say another one.
    for path in (folder / "crds" / "config" / "hst").glob("server_config"):
        path.write_text(path.read_text().replace("hst_0002.pmap", "hst_0001.pmap"))
    assert acsrecipe("plan", recipe, "--locked").returncode == 0
    assert acsrecipe("lock", recipe, "--check").returncode == 10
    unknown = acsrecipe("lock", recipe, "--upgrade", "numpi")
    assert (unknown.returncode, "no pin 'numpi'" in unknown.stderr) == (2, True)


def test_a_pin_of_one_reference_moves_alone(folder: Path) -> None:
    flip(folder / "refs" / "our_drk.fits")
    change_reference(folder)
    done = acsrecipe("lock", folder / "recipe.toml", "--upgrade", "DARKFILE")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reference DARKFILE our_drk.fits: the lock has sha256 ")
    stale = acsrecipe("lock", folder / "recipe.toml", "--check")
    assert [line.split(":")[0] for line in stale.stdout.splitlines()] == ["reference BPIXTAB dmo0202ej_bpx.fits"]


def products(run: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted((run / "products").iterdir())}


def blank_volatile(path: Path) -> bytes:
    """A product's bytes without the cards that may differ."""
    data = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        starts = [info["hdrLoc"] for info in (hdu.fileinfo() for hdu in hdus)]
        ends = [info["datLoc"] for info in (hdu.fileinfo() for hdu in hdus)]
    for start, end in zip(starts, ends, strict=True):
        for at in range(start, end, 80):
            if data[at : at + 8].decode("ascii").strip() in VOLATILE:
                data[at : at + 80] = b" " * 80
    return bytes(data)


@pytest.mark.parametrize("engine", ["embedded", "calacs"])
def test_a_locked_run_elsewhere_and_by_another_user_gives_the_same_bytes(
    pristine: Dataset, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    path = "/usr/bin:/bin"
    first = tmp_path / "here" / "work"
    shutil.copytree(pristine.folder, first)
    recipe = first / "recipe.toml"
    text = recipe.read_text() + '\n[[post]]\nstep = "updatewcs"\n'
    if engine == "calacs":
        calacs = request.getfixturevalue("calacs_exe")
        path = f"{calacs.parent}:{path}"
        text = text.replace('engine = "embedded"', 'engine = "calacs"')
    recipe.write_text(text)
    assert acsrecipe("lock", recipe, PATH=path).returncode == 0
    second = tmp_path / "a longer name, elsewhere" / "of somebody else"
    shutil.copytree(first, second)
    runs = []
    for number, copy in enumerate((first, second)):
        user = f"user{number}"
        home = tmp_path / user
        home.mkdir()
        variables = {"PATH": path, "HOME": str(home), "USER": user, "LOGNAME": user, "TZ": f"UTC{number}"}
        done = acsrecipe("run", "recipe.toml", "--locked", "-o", f"run{number}", cwd=copy, **variables)
        assert done.returncode == 0, done.stderr
        runs.append(products(copy / f"run{number}"))
    assert runs[0].keys() == runs[1].keys()
    assert any(name.endswith("_flt.fits") for name in runs[0])
    for name, one in runs[0].items():
        assert blank_volatile(one) == blank_volatile(runs[1][name]), name
