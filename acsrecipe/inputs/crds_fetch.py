"""The process that fetches from a CRDS server into a cache: one job on stdin, events on stdout.

It runs apart from its parent (:mod:`acsrecipe.inputs.crds_sync`), which ends it when it falls silent.
One file at a time, under a lock on the cache; nothing gets its final name before its size and sha1 are
those of the server's catalogue. No part of the crds package is used: its own client publishes first
and verifies later, and waits for a server without end.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from acsrecipe.errors import AcsRecipeError, ArchiveError
from acsrecipe.files import write_atomic
from acsrecipe.inputs.crds_cache import (
    CONTEXT_NAME,
    LATEST,
    MAPPING_NAME,
    REFERENCE_NAME,
    CrdsCache,
    CrdsSettings,
    Patience,
    open_cache,
    verify_mapping,
    verify_reference,
)
from acsrecipe.inputs.crds_server import Emit, LastingError, PassingError, Server
from acsrecipe.inputs.model import FileIdentity
from acsrecipe.process import die_with_parent

LOCK_NAME = ".acsrecipe.lock"


def main() -> int:
    """Do the job on stdin; every outcome is an event on stdout."""
    die_with_parent()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no event

    def emit(event: str, **data: object) -> None:
        out.write(json.dumps({"event": event, **data}) + "\n")
        out.flush()

    job = json.loads(sys.stdin.readline())
    patience = Patience(**job["settings"].pop("patience"))
    try:
        perform(CrdsSettings(**job["settings"], patience=patience), job, emit)
    except AcsRecipeError as error:
        where = str(error.where) if error.where else ""
        emit("error", message=error.message, where=where, hint=error.hint or "", code=error.code or "")
        return error.exit_code
    emit("end")
    return 0


def perform(settings: CrdsSettings, job: Mapping[str, Any], emit: Emit) -> None:
    """Do one job: ``{"do": "rules", "asked": context}`` or ``{"do": "references", "names": [...]}``."""
    with Server(settings, emit) as server:
        if job["do"] == "rules":
            sync_rules(settings, server, job["asked"], emit)
        else:
            sync_references(settings, server, job["names"], emit)


def sync_rules(settings: CrdsSettings, server: Server, asked: str, emit: Emit) -> None:
    """Bring what a server says of itself, and the ACS rules of one context, into the cache."""
    root = Path(open_cache(settings).root)
    try:
        info: Mapping[str, Any] | None = server.ask_info()
    except (PassingError, LastingError) as error:
        cache = open_cache(settings)
        if asked in LATEST or _absent_rules(cache, asked):
            raise _unheard(settings, cache, asked, str(error)) from error
        emit("unheard", why=str(error))
        return
    with _locked(root, settings.patience, emit):
        _remember(settings, info or {})
        cache = open_cache(settings)
        name = cache.latest if asked in LATEST else asked
        if not CONTEXT_NAME.fullmatch(name):
            msg = f"the server names {name[:80]!r} as its latest context, which is not the name of one"
            raise ArchiveError(msg, where=settings.server, code="C021")
        while absent := _absent_rules(cache, name):
            for one in absent:
                _replace(cache, server, one, cache.mapping_path(one), "mapping", emit)
    emit("context", name=name)


def sync_references(settings: CrdsSettings, server: Server, names: list[str], emit: Emit) -> None:
    """Bring reference files into the cache, one after another; go on with the others where one fails."""
    cache = open_cache(settings)
    with _locked(cache.root, settings.patience, emit):
        cache = open_cache(settings)
        if any(name not in cache.catalogue for name in names) or not _base(cache, "reference"):
            try:
                _remember(settings, server.ask_info())
            except (PassingError, LastingError) as error:
                msg = f"the CRDS server can't be asked for its catalogue: {error}"
                raise ArchiveError(msg, where=settings.server, hint=_try_again(settings), code="C020") from error
            cache = open_cache(settings)
        for name in names:
            path = cache.reference_path(name)
            try:
                _replace(cache, server, name, path, "reference", emit)
            except ArchiveError as error:
                emit("failed", name=name, why=error.message)


def _replace(cache: CrdsCache, server: Server, name: str, path: Path, kind: str, emit: Emit) -> None:
    """Have a whole file under a name: keep it, or fetch it (and put aside what is there and is not whole)."""
    pattern = MAPPING_NAME if kind == "mapping" else REFERENCE_NAME
    if not pattern.fullmatch(name):
        msg = f"{name[:80]!r} is not the plain name of a {kind}"
        raise ArchiveError(msg, where=server.url, code="C006")
    known = cache.catalogue.get(name)
    if known is None:
        msg = f"{name} is not known to the CRDS server"
        raise ArchiveError(msg, where=server.url, hint="is it a file of this observatory?", code="C022")
    base = _base(cache, kind)
    if not base:
        msg = f"the CRDS server does not say where its {kind} files are"
        raise ArchiveError(msg, where=server.url, code="C021")
    if os.path.lexists(path):
        wrong = verify_reference(FileIdentity(str(path), known.size, sha1=known.sha1))
        if not wrong and kind == "mapping":
            wrong = verify_mapping(path.read_bytes())
        if not wrong:
            emit("kept", name=name, size=known.size)
            return
        emit("quarantined", name=name, why=wrong, path=str(_put_aside(cache, path)))
    try:
        server.fetch(f"{base.rstrip('/')}/{quote(name)}", name, path, known)
    except (PassingError, LastingError) as error:
        msg = f"{name} could not be fetched: {error}"
        raise ArchiveError(msg, where=server.url, hint=_try_again(server.settings), code="C023") from error
    wrong = verify_mapping(path.read_bytes()) if kind == "mapping" else ""
    if wrong:
        msg = f"{name} {wrong}, as the server has it"
        _put_aside(cache, path)
        raise ArchiveError(msg, where=server.url, code="C023")


def _base(cache: CrdsCache, kind: str) -> str:
    """Give the address below which a server has its mappings or references, as the cache remembers it."""
    address = cache.config.get(f"{kind}_url")
    base = address.get(cache.observatory) if isinstance(address, Mapping) else None
    return base if isinstance(base, str) and base.startswith(("http://", "https://")) else ""


def _absent_rules(cache: CrdsCache, context: str) -> list[str]:
    """Name the mappings of a context that are not in the cache whole; those above come before those below."""
    imaps = _named(cache, context, r"""['"]ACS['"]\s*:\s*['"]([^'"\s]+\.imap)['"]""")
    if imaps is None:
        return [context]
    absent = []
    for imap in imaps:
        rmaps = _named(cache, imap, r"""['"][a-z0-9]+['"]\s*:\s*['"]([^'"\s]+\.rmap)['"]""")
        if rmaps is None:
            return [imap]
        absent += [rmap for rmap in rmaps if _named(cache, rmap, "$^") is None]
    return absent


def _named(cache: CrdsCache, name: str, pattern: str) -> list[str] | None:
    """Give the names that a mapping of the cache names, or None where it is not there whole."""
    if not MAPPING_NAME.fullmatch(name):
        msg = f"{name[:80]!r} is not the plain name of a mapping"
        raise ArchiveError(msg, code="C006")
    try:
        content = cache.mapping_path(name).read_bytes()
    except OSError:
        return None
    known = cache.catalogue.get(name)
    if known and known.sha1 and hashlib.sha1(content, usedforsecurity=False).hexdigest() != known.sha1:
        return None
    return None if verify_mapping(content) else re.findall(pattern, content.decode(errors="replace"))


def _put_aside(cache: CrdsCache, path: Path) -> Path:
    """Move a file that is not what it should be out of the way; it may hold what someone wants to look at."""
    folder = cache.root / "quarantine" / cache.observatory
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{path.name}.{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}.{os.getpid()}"
    path.replace(aside)
    return aside


def _remember(settings: CrdsSettings, info: Mapping[str, Any]) -> None:
    """Write down what the server said, where CRDS's own client looks for it too."""
    cache = open_cache(settings)
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    kept = {**info, "server": settings.server, "acsrecipe_heard": now}
    kept.setdefault("last_synced", now)
    kept.setdefault("bad_files_list", [])
    folder = cache.config_folder
    with _writing(settings):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "server_config", repr(kept).encode())
        write_atomic(folder / "bad_files.txt", "\n".join(map(str, kept["bad_files_list"])).encode())
        if not (folder / "ref_cache_subdir_mode").exists():
            write_atomic(folder / "ref_cache_subdir_mode", cache.layout.encode())


@contextlib.contextmanager
def _writing(settings: CrdsSettings) -> Iterator[None]:
    try:
        yield
    except (OSError, AcsRecipeError) as error:
        msg = f"the CRDS cache can't be written: {error}"
        hint = "choose a cache of your own: cache under [references], or CRDS_PATH"
        raise ArchiveError(msg, where=settings.cache, hint=hint, code="C024") from error


@contextlib.contextmanager
def _locked(root: Path, patience: Patience, emit: Emit) -> Iterator[None]:
    """Be the only one of us that fills this cache."""
    with _writing(CrdsSettings(str(root))):
        root.mkdir(parents=True, exist_ok=True)
        lock = os.open(root / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        until = time.monotonic() + patience.lock
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = os.pread(lock, 100, 0).decode(errors="replace").strip() or "another process"
                if time.monotonic() > until:
                    msg = f"the CRDS cache is being filled by {holder}"
                    raise ArchiveError(msg, where=str(root), hint="wait for it, or end it", code="C025") from None
                emit("waiting", holder=holder)
                time.sleep(min(0.2, patience.lock))
            except OSError as error:
                msg = f"the CRDS cache can't be locked: {error.strerror}"
                hint = "a file system without flock can't hold a cache that is filled; use a local folder"
                raise ArchiveError(msg, where=str(root), hint=hint, code="C025") from error
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _unheard(settings: CrdsSettings, cache: CrdsCache, asked: str, why: str) -> ArchiveError:
    if asked in LATEST:
        known = f"; --offline uses the cached {cache.latest} (last heard of {cache.synced})" if cache.latest else ""
        msg = f"the CRDS server can't be asked which context is the latest: {why}"
        return ArchiveError(msg, where=settings.server, hint=_try_again(settings) + known, code="C020")
    msg = f"the CRDS server can't be asked for the rules of {asked}, which are not all in the cache: {why}"
    return ArchiveError(msg, where=settings.server, hint=_try_again(settings), code="C020")


def _try_again(settings: CrdsSettings) -> str:
    return f"look at the network and at {settings.server}, and run the same command again: what is whole is kept"


if __name__ == "__main__":
    sys.exit(main())
