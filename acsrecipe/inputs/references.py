"""CRDS references: the context that counts, the rules behind it, and what each exposure needs by them."""

from __future__ import annotations

import difflib

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_cache import (
    CONTEXT_NAME,
    Catalogue,
    Catalogued,
    CrdsCache,
    CrdsSettings,
    identify,
    open_cache,
    verify_reference,
)
from acsrecipe.inputs.crds_rules import Rules, load_rules, merge_headers
from acsrecipe.inputs.model import Context

__all__ = [
    "Catalogue",
    "Catalogued",
    "Context",
    "CrdsCache",
    "CrdsSettings",
    "Rules",
    "identify",
    "merge_headers",
    "open_cache",
    "open_rules",
    "verify_reference",
]

LATEST = ("latest", "hst-latest", "hst-operational")


def open_rules(settings: CrdsSettings, asked: str) -> Rules:
    """Find a context's rules for ACS.

    Parameters
    ----------
    settings : CrdsSettings
    asked : str
        The name of a context (``hst_0729.pmap``), or ``latest``.

    Raises
    ------
    ArchiveError
        Where the context or one of its rules is not in the cache, or is broken.
    """
    cache = open_cache(settings)
    name, source = _resolve(cache, asked)
    _require(cache, name)
    context = Context(name=name, asked=asked, source=source, cache=str(cache.root), synced=cache.synced)
    return load_rules(cache, context)


def _resolve(cache: CrdsCache, asked: str) -> tuple[str, str]:
    """Give the name of the context that was asked for, and where that name comes from."""
    if asked not in LATEST:
        if not CONTEXT_NAME.fullmatch(asked):
            msg = f"{asked!r} is not the name of a CRDS context"
            raise ArchiveError(
                msg,
                where="[references] context",
                hint="a name such as 'hst_0729.pmap', or 'latest'",
                code="C001",
            )
        return asked, "recipe"
    if not cache.latest:
        msg = f"the latest context is not known: {cache.root} never heard of a CRDS server"
        raise ArchiveError(
            msg,
            where="[references] context",
            hint="name a context, or give a CRDS server (CRDS_SERVER_URL)",
            code="C004",
        )
    if not CONTEXT_NAME.fullmatch(cache.latest):
        msg = f"the CRDS cache names {cache.latest[:80]!r} as the latest context, which is not the name of one"
        raise ArchiveError(
            msg,
            where=str(cache.config_folder / "server_config"),
            code="C005",
        )
    return cache.latest, "cache: operational context of server_config, server not asked"


def _require(cache: CrdsCache, name: str) -> None:
    if cache.mapping_path(name).is_file():
        return
    here = cache.contexts()
    near = difflib.get_close_matches(name, here, n=1)
    listed = ", ".join(here[-6:]) if here else "none"
    msg = f"the context {name} is not in the CRDS cache {cache.root}"
    raise ArchiveError(
        msg,
        where="[references] context",
        hint=(f"did you mean {near[0]}? " if near else "") + f"contexts there: {listed}",
        code="C001",
    )
