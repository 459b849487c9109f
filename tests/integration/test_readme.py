"""What the README tells people to type works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from acsrecipe.demo.dataset import make_dataset
from acsrecipe.recipe.toml import parse_recipe

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)[1]


def test_the_recipe_is_right():
    assert parse_recipe(block("toml"), "README.md").recipe.name == "ngc104-f606w"


def test_the_python_example_runs_as_it_stands(tmp_path):
    make_dataset(tmp_path / "demo", seed=1, mode="pre_dth", exposures=1)
    done = subprocess.run(
        [sys.executable, "-c", block("python")], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "PCTECORR PERFORM -> OMIT because of recipe.toml:14" in done.stdout
    assert done.stdout.splitlines()[-1] == "True night1/products"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:bin/|`)acsrecipe (\w+)", README))))
def test_every_command_that_is_named_exists_and_has_help_with_an_example(command):
    done = subprocess.run(
        [sys.executable, "-m", "acsrecipe", command, "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Example" in done.stdout


def test_every_file_that_is_linked_is_there():
    root = Path(__file__).resolve().parents[2]
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (root / target).exists(), target
