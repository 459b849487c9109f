"""CRDS references: the context that counts, the rules behind it, and what each exposure needs by them."""

from __future__ import annotations

import difflib
from dataclasses import replace

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_cache import (
    CONTEXT_NAME,
    LATEST,
    Catalogue,
    Catalogued,
    CrdsCache,
    CrdsSettings,
    Patience,
    identify,
    open_cache,
    verify_reference,
)
from acsrecipe.inputs.crds_rules import Rules, load_rules, merge_headers
from acsrecipe.inputs.crds_sync import Progress, fetch_references, sync_rules
from acsrecipe.inputs.model import Context

__all__ = [
    "Catalogue",
    "Catalogued",
    "Context",
    "CrdsCache",
    "CrdsSettings",
    "Patience",
    "Progress",
    "Rules",
    "fetch_references",
    "identify",
    "merge_headers",
    "open_cache",
    "open_rules",
    "verify_reference",
]


def open_rules(settings: CrdsSettings, asked: str) -> Rules:
    """Find a context's rules for ACS.

    Parameters
    ----------
    settings : CrdsSettings
    asked : str
        The name of a context (``hst_0729.pmap``), or ``latest``.

    With a server, what it says of itself and the context's ACS rules are brought into the cache first
    (a process apart does that, one of us at a time); without one, or offline, the cache is all there is.

    Raises
    ------
    ArchiveError
        Where the context or one of its rules can't be had or is broken; also where ``latest`` is
        asked for and the server named can't be: an old answer is never taken for a new one.
    """
    if asked not in LATEST and not CONTEXT_NAME.fullmatch(asked):
        msg = f"{asked!r} is not the name of a CRDS context"
        hint = "a name such as 'hst_0729.pmap', or 'latest'"
        raise ArchiveError(msg, where="[references] context", hint=hint, code="C001")
    if not settings.online:
        cache = open_cache(settings)
        name, source = _resolve(cache, asked)
        _require(cache, name)
        return load_rules(cache, Context(name, asked, source, cache=str(cache.root), synced=cache.synced))
    heard = sync_rules(settings, asked)
    cache = open_cache(settings)
    name, source, server = heard.context or asked, "recipe", settings.server or ""
    if asked in LATEST:
        source = f"server {server}{_since(cache, name)}"
    if not heard.context:
        source, server = "recipe (the server could not be asked)", ""
    rules = load_rules(cache, Context(name, asked, source, server, str(cache.root), synced=cache.synced))
    return replace(rules, observed=(*heard.observed, *rules.observed))


def _since(cache: CrdsCache, name: str) -> str:
    """Say since when a context is the latest, where the server says so."""
    history = cache.config.get("context_history")
    for entry in history if isinstance(history, (list, tuple)) else ():
        if isinstance(entry, (list, tuple)) and len(entry) > 1 and entry[1] == name:
            return f", latest since {str(entry[0])[:10]}"
    return ""


def _resolve(cache: CrdsCache, asked: str) -> tuple[str, str]:
    """Give the name of the context that was asked for, and where that name comes from."""
    if asked not in LATEST:
        return asked, "recipe"
    if not cache.latest:
        msg = f"the latest context is not known: {cache.root} never heard of a CRDS server"
        hint = "name a context, or give a CRDS server (CRDS_SERVER_URL)"
        raise ArchiveError(msg, where="[references] context", hint=hint, code="C004")
    if not CONTEXT_NAME.fullmatch(cache.latest):
        msg = f"the CRDS cache names {cache.latest[:80]!r} as the latest context, which is not the name of one"
        raise ArchiveError(msg, where=str(cache.config_folder / "server_config"), code="C005")
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
