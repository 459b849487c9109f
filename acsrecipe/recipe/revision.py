"""Recipes out of a git history: a file as it was at a revision, and the revision that a file is at."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from acsrecipe.errors import Problem, RecipeError, Where
from acsrecipe.process import run_program
from acsrecipe.recipe.toml import MOST_BYTES

_REVISION = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_./~^@{}-]{0,199}")
_SECONDS = 30.0


def split_revision(name: str) -> tuple[str, str]:
    """Split ``recipe.toml@HEAD~1`` into the path and the revision, which is empty where none is named.

    A file that is there under the whole name is that file.
    """
    path, mark, revision = name.rpartition("@")
    if not mark or not path or Path(name).exists():
        return name, ""
    return path, revision


def read_at(path: Path, revision: str, search_path: str) -> bytes:
    """Give the bytes that a file had at a git revision.

    Parameters
    ----------
    path : Path
        It need not exist any more; its folder must.
    revision : str
        As git understands it: ``HEAD~1``, a tag, a hash.
    search_path : str
        Where git is looked for, as in ``PATH``.

    Raises
    ------
    RecipeError
        R001: git is not there, or knows no such revision or file.
    """
    where = Where(f"{path}@{revision}")
    # An archive, because what a program prints is cleaned for people on its way here, and a recipe has a sha256.
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise _refuse(where, f"{revision!r} is not the name of a git revision", "as in HEAD~1, v1.0 or a hash")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "recipe.tar"
        arguments = ["archive", "--format=tar", f"--output={target}", revision, "--", path.name]
        status, lines = _git(arguments, path.parent, search_path)
        if status:
            reason = lines[-1] if lines else "no reason given"
            raise _refuse(where, f"git does not give it: {reason}", "look at `git log` of the recipe")
        with tarfile.open(target) as archive:
            member = next((one for one in archive if one.isreg() and one.name == path.name), None)
            stream = archive.extractfile(member) if member is not None else None
            if stream is None:
                raise _refuse(where, "that revision has no plain file of this name", "look at `git log` of the recipe")
            return stream.read(MOST_BYTES + 1)


def revision_of(path: Path, search_path: str) -> str:
    """Give the hash of the last commit that touched a file, with ``+changes`` where the file differs from it.

    Empty where the file is in no repository or was never committed, or git is not there.
    """
    if not path.is_file():
        return ""
    try:
        status, lines = _git(["log", "-1", "--format=%H", "--", path.name], path.parent, search_path)
        found = lines[-1].strip() if lines else ""
        if status or not re.fullmatch(r"[0-9a-f]{40,64}", found):
            return ""
        status, _ = _git(["diff", "--no-ext-diff", "--quiet", "HEAD", "--", path.name], path.parent, search_path)
    except RecipeError:
        return ""
    return f"{found}+changes" if status else found


def _git(arguments: Sequence[str], folder: Path, search_path: str) -> tuple[int, list[str]]:
    """Run git with no configuration but the repository's own; give its exit status and lines of output."""
    program = shutil.which("git", path=search_path or None)
    if program is None:
        raise _refuse(Where(str(folder)), "git is not on the search path", "install git, or name a file")
    if not folder.is_dir():
        raise _refuse(Where(str(folder)), "there is no such folder", "name a recipe in a git repository")
    environment = {
        "PATH": search_path,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",
    }
    lines: list[str] = []
    argv = [program, "-c", "core.fsmonitor=false", *arguments]
    done = run_program(argv, cwd=folder, env=environment, deadline=_SECONDS, on_line=lines.append)
    return done.exit_status, lines


def _refuse(where: Where, message: str, hint: str) -> RecipeError:
    return RecipeError((Problem("R001", where, message, hint=hint),))
