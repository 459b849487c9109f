"""A demo served over the loopback: MAST and CRDS stand-ins, and the recipe that asks them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from acsrecipe.demo.dataset import Dataset
from acsrecipe.demo.standins.crds import CrdsStandin, serve_crds
from acsrecipe.demo.standins.mast import MastServer, serve_mast


@dataclass(frozen=True)
class Served:
    """What is served, and where.

    Attributes
    ----------
    recipe : Path
        Beside the data set's own: the same, but that it asks servers.
    mast, crds : servers
        With ``url``, and what they were asked.
    downloads, cache : Path
        Folders, empty at first, for what is fetched.
    """

    recipe: Path
    mast: MastServer
    crds: CrdsStandin
    downloads: Path
    cache: Path


@contextmanager
def serve(dataset: Dataset) -> Iterator[Served]:
    """Serve a data set to this machine while the context lasts."""
    recipe = dataset.folder / "served.toml"
    recipe.write_text(ask_servers(dataset.recipe.read_text()))
    with serve_mast(MastServer(dataset.data)) as mast, serve_crds(dataset.crds) as crds:
        yield Served(recipe, mast, crds, dataset.folder / "fetched" / "mast", dataset.folder / "fetched" / "crds")


def ask_servers(recipe: str) -> str:
    """Write a demo's recipe anew: from MAST instead of a folder, with the latest context of the server."""
    text = re.sub(r"(?m)^archive = .*$", 'archive = "mast"', recipe)
    text = re.sub(r"(?m)^context = .*$", 'context = "latest"', text)
    return re.sub(r"(?m)^cache = .*$", 'cache = "fetched/crds"', text)
