"""The rules of the house that no linter knows (docs/architecture.md)."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli

import acsrecipe

PACKAGE = Path(acsrecipe.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES = 500


def names(path: Path) -> Iterator[tuple[str, int]]:
    """Every dotted name that a module uses, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}", node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield f"{node.func.id}()", node.lineno


def offenders(forbidden: set[str], *, but: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)}:{line} {name}"
        for path in MODULES
        if not str(path.relative_to(PACKAGE)).startswith(but)
        for name, line in names(path)
        if name in forbidden
    ]


# stwcs and crds are configured by the environment alone: these processes or blocks are made for nothing else.
CONFIGURED_BY_ENVIRONMENT = ("steps/updatewcs_child.py", "inputs/crds_")


def test_only_cli_reads_the_environment():
    assert offenders({"os.environ", "os.getenv"}, but=("cli/", *CONFIGURED_BY_ENVIRONMENT)) == []


# Modules that are run as child processes, and end with an exit status.
CHILDREN = ("run/worker.py", "steps/updatewcs_child.py", "inputs/crds_fetch.py")


def test_only_cli_prints_and_exits():
    allowed = ("cli/", "__main__.py", *CHILDREN)
    assert offenders({"print()", "sys.exit", "exit()"}, but=allowed) == []


def test_nobody_changes_folder_or_uses_a_shell():
    assert offenders({"os.chdir", "os.system", "os.popen", "contextlib.chdir"}) == []


def test_no_module_is_longer_than_the_house_allows():
    long = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


def test_every_module_says_what_it_is_for():
    silent = [path.name for path in MODULES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []


@pytest.mark.parametrize("arguments", [["--help"], ["check", "recipes/acs_wfc_reduction.toml"]])
def test_help_and_check_load_no_astronomy_library(arguments):
    root = PACKAGE.parent
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "acsrecipe", *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    loaded = {line.rsplit("|", 1)[-1].strip().partition(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"astropy", "crds", "astroquery", "numpy", "numba", "stwcs", "matplotlib", "requests"})


def test_every_library_that_is_imported_is_asked_for():
    """A new machine has only what pyproject.toml names; what another library happens to bring does not count."""
    project = tomli.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.split(r"[<>=!\[ ;]", line)[0].lower().replace("-", "_") for line in project["dependencies"]}
    imported = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add(node.module.partition(".")[0])
    ours = {"acsrecipe", "pydantic_core"}  # pydantic_core is pydantic's own.
    assert imported - set(sys.stdlib_module_names) - ours <= asked


def test_no_other_machine_can_be_reached_from_a_test():
    import socket

    with pytest.raises(AssertionError, match="only loopback"), socket.socket() as one:
        one.connect(("192.0.2.1", 80))


def test_tests_have_a_home_of_their_own(tmp_path_factory):
    assert Path.home().is_relative_to(tmp_path_factory.getbasetemp())
