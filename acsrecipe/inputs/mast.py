"""MAST as an archive: lists, gives headers without pixels, and brings files into the store.

A dry run moves header blocks only: those of a RAW file lie at offsets that the headers themselves tell, and
are asked for by byte ranges, several exposures at a time. What the store has is used as long as the archive
still has the same: of equal size, and equal in its first block, whose DATE says when the file was written.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from acsrecipe import files
from acsrecipe.inputs.cards import BLOCK, CARD
from acsrecipe.inputs.download import Report, Wanted, as_archive_error, digest_seen, fetch, scan_file
from acsrecipe.inputs.header import read_whole
from acsrecipe.inputs.layout import Hdu, refuse_cut, scan
from acsrecipe.inputs.members import ROOTNAME, matches
from acsrecipe.inputs.missions import Listed, Missions
from acsrecipe.inputs.model import FileIdentity, HduHeader
from acsrecipe.inputs.store import Kept, Store
from acsrecipe.inputs.survey import Product
from acsrecipe.inputs.wire import AccessError, Client, LastingError, MastSettings, patiently

SCHEME = "mast:HST/product/"
"""How a plan names a file that MAST has, as MAST's own URIs do."""

_FIRST = 12 * BLOCK
"""Asked for at once at the start of a RAW file: holds the primary header and that of the first SCI."""
_NEXT = 8 * BLOCK
"""Asked for at once behind a data unit: ERR and DQ have no data, and the next SCI's header follows."""
_LARGEST_TABLE = 1 << 20
_VISIT = 6
"""Letters of a rootname (IPPPSS) that an exposure shares with the associations that it may be in."""
_EARLY = ("raw", "asn")
_KINDS = ("raw", "asn", "spt", "flt", "flc")
_END = b"END".ljust(CARD)


@dataclass(frozen=True)
class _Look:
    """What is known of a file after a look: its HDUs, its content if it is small, and where it is kept."""

    hdus: tuple[Hdu, ...]
    seen: str
    content: bytes = b""
    kept: Kept | None = None


class Mast:
    """MAST's archive of HST.

    Parameters
    ----------
    settings : MastSettings
        With ``offline``, what is in the store is all there is.
    store : Store
    proposal : int, optional
        Narrows searches with wildcards; a survey checks it again.
    whole : bool
        Download files instead of reading parts of them: for servers that give none.
    report : callable, optional
        Told of the progress of downloads.
    ask_token : callable, optional
        Gives the token; called once, and only where something listed is not public.
    """

    def __init__(
        self,
        settings: MastSettings,
        store: Store,
        *,
        proposal: int | None = None,
        whole: bool = False,
        report: Report | None = None,
        ask_token: Callable[[], str] | None = None,
    ) -> None:
        self.settings, self.store, self.proposal, self.whole, self.report = settings, store, proposal, whole, report
        self._ask_token = ask_token
        self._listed: dict[str, dict[str, Listed]] = {}
        self._asked: set[str] = set()
        self._searched: set[str] = set()
        self._looks: dict[str, Future[_Look]] = {}
        self._missions = Missions(settings)
        self._client = Client(settings)
        # Header blocks are small: twice as many requests for them as for whole files are still few.
        size = settings.connections if whole else 2 * settings.connections
        self._pool = ThreadPoolExecutor(max_workers=max(1, size), thread_name_prefix="mast")

    def close(self) -> None:
        """Drop connections and what is still waiting for one."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def look_ahead(self, ids: Sequence[str]) -> None:
        """List all of a recipe's ids at once, and begin to look at what will be asked for, several files at a time."""
        self._ask([one.strip().lower() for one in ids or ("*",)])

    def list_products(self, patterns: Sequence[str]) -> tuple[Product, ...]:
        """List the products of matching rootnames, and begin to look at them.

        Raises
        ------
        ArchiveError
            M001, M002, M012 as :class:`acsrecipe.inputs.missions.Missions`.
        """
        self._ask([pattern.strip().lower() for pattern in patterns])
        found = []
        for rootname in sorted(self._listed):
            if any(matches(pattern, rootname) for pattern in patterns):
                found += [self._listed[rootname][suffix] for suffix in sorted(self._listed[rootname])]
        for one in found:
            self._expect(one)
        return tuple(Product(one.rootname, one.suffix, one.size, one.source) for one in found)

    def suggest(self, pattern: str) -> str:
        """Name rootnames that were listed and are near."""
        near = get_close_matches(pattern.lower(), sorted(self._listed), n=3, cutoff=0.75)
        if near:
            return f"did you mean {' or '.join(near)}?"
        if self.settings.offline:
            return "--offline: only what was downloaded before is known"
        return f"asked was {self.settings.server}; look the name up at https://mast.stsci.edu"

    def shown(self, product: Product) -> str:
        """Name a product as MAST's URIs do: ``mast:HST/product/j9l960a7q_raw.fits``."""
        return SCHEME + product.name

    def headers(self, product: Product) -> tuple[HduHeader, ...]:
        """Give a product's headers; of a support file that is not here yet, none (it is looked at when it comes).

        Raises
        ------
        ArchiveError
            M003 it is not public; M005, M006 it can't be had, or is not what is listed; M007 the server gives whole
            files only.
        PlanError
            As :func:`acsrecipe.inputs.layout.scan`.
        """
        look = self._look(product)
        return tuple(hdu.header for hdu in look.hdus) if look else ()

    def content(self, product: Product, most: int) -> bytes:
        """Give a small product whole; raises as :meth:`headers`."""
        look = self._look(product)
        if look is None:
            return b""
        if look.content or look.kept is None:
            return look.content[: most + 1]
        return read_whole(self.store.path(look.kept.sha256), most)

    def identify(self, product: Product, *, with_hash: bool) -> FileIdentity:
        """Give what makes a product itself; its sha256 where it is here, else the address to get it from."""
        look = self._look(product)
        listed = self._listed[product.rootname][product.suffix]
        seen = look.seen if look else ""
        if look and look.kept:
            digest = look.kept.sha256 if with_hash else ""
            return FileIdentity(self.shown(product), look.kept.size, digest, seen=seen)
        return FileIdentity(
            self.shown(product), product.size, source=listed.source, seen=seen, exclusive=not listed.public
        )

    def fetch(self, product: Product, target: Path) -> str:
        """Bring a product into the store, and copy it to a new file; gives its sha256."""
        kept = fetch(self._wanted(product.name), self.settings, self.store, self.report, self._client)
        return files.copy_file(self.store.path(kept.sha256), target)

    def _ask(self, patterns: Sequence[str]) -> None:
        """List what is not known yet of the patterns."""
        if self.settings.offline:
            for name in self.store.names(self.settings.server):
                kept = self.store.find(self.settings.server, name)
                if kept is not None:
                    self._absorb([Listed(name[:9], name[10:13], kept.size, kept.source, public=True)])
            return
        new = [one for one in dict.fromkeys(patterns) if one not in self._asked and one not in self._listed]
        self._asked.update(new)
        names = [one for one in new if not set(one) & set("*?")]
        if names:
            listed = self._missions.products(names)
            self._absorb(listed)
            self._expect_all(listed)
        # A member of an association is often not listed by its own name, but with its association.
        searches = {f"{one[:_VISIT]}*" for one in names if one not in self._listed}
        wide = {one: f"{one.replace('?', '*').split('*')[0][:_VISIT]}*" for one in new if one not in names}
        searches |= set(wide.values())
        for search in sorted(searches - self._searched):
            self._searched.add(search)
            datasets = self._missions.datasets(search.upper(), self.proposal)
            fresh = [name for name in datasets if name.lower() not in self._asked]
            self._asked.update(name.lower() for name in fresh)
            if fresh:
                listed = self._missions.products(fresh)
                self._absorb(listed)
                if wide.get(search) == search:
                    self._expect_all(listed)

    def _absorb(self, listed: Sequence[Listed]) -> None:
        for one in listed:
            if ROOTNAME.fullmatch(one.rootname) and one.suffix in _KINDS:
                self._listed.setdefault(one.rootname, {}).setdefault(one.suffix, one)
        if self._ask_token is not None and not all(one.public for one in listed):
            self.settings = replace(self.settings, token=self._ask_token())
            self._ask_token = None
            self._client = Client(self.settings)

    def _expect_all(self, listed: Sequence[Listed]) -> None:
        for one in listed:
            if one is self._listed.get(one.rootname, {}).get(one.suffix):
                self._expect(one)

    def _expect(self, one: Listed, kinds: Sequence[str] = _EARLY) -> None:
        """Begin to look at a file in the background, if it is one that will be asked for."""
        if one.name in self._looks or one.suffix not in _KINDS:
            return
        if one.suffix in kinds or self.whole or self.store.find(self.settings.server, one.name) is not None:
            self._looks[one.name] = self._pool.submit(self._look_at, one)

    def _look(self, product: Product) -> _Look | None:
        """Wait for what is known of a file; of a support file that is not here, nothing is asked from afar."""
        self._expect(self._listed[product.rootname][product.suffix], [kind for kind in _KINDS if kind != "spt"])
        look = self._looks.get(product.name)
        return look.result() if look is not None else None

    def _look_at(self, one: Listed) -> _Look:
        wanted = self._wanted(one.name)
        until = time.monotonic() + self.settings.deadline
        if not one.public and not self.settings.token:
            raise as_archive_error(AccessError("is not public yet, and there is no token"), wanted)
        try:
            kept = self.store.find(self.settings.server, one.name)
            if kept is not None and self._is_current(one, kept, until) and self.store.is_whole(kept):
                return self._look_inside(kept)
            if self.whole or self.settings.offline:
                return self._look_inside(fetch(wanted, self.settings, self.store, self.report, self._client))
            if one.suffix != "asn":
                return self._look_from_afar(one, until)
            content = patiently(lambda: self._read_all(one, until), self.settings.patience, until, lambda text: None)
            return _Look((), digest_seen(one.name, (), hashlib.sha256(content).hexdigest()), content)
        except LastingError as error:
            raise as_archive_error(error, wanted) from error

    def _look_inside(self, kept: Kept) -> _Look:
        hdus = scan_file(self.store.path(kept.sha256))
        return _Look(hdus, digest_seen(kept.name, hdus, kept.sha256), kept=kept)

    def _look_from_afar(self, one: Listed, until: float) -> _Look:
        window = _Window(self._client, one, self.settings, until)
        hdus = scan(window.read_at, window.measure(), one.name)
        refuse_cut(hdus, one.name)
        return _Look(hdus, digest_seen(one.name, hdus, ""))

    def _read_all(self, one: Listed, until: float) -> bytes:
        most = one.size if one.size >= 0 else _LARGEST_TABLE
        content = self._client.read_all(one.source, min(most, _LARGEST_TABLE), exclusive=not one.public, until=until)
        if one.size >= 0 and len(content) != one.size:
            msg = f"the server has {len(content)} bytes, the archive lists {one.size}"
            raise LastingError(msg)
        return content

    def _is_current(self, one: Listed, kept: Kept, until: float) -> bool:
        """Say whether the archive still has what is kept: by its size and its first block."""
        if self.settings.offline:
            return True
        if one.size >= 0 and one.size != kept.size:
            return False
        last = min(BLOCK, kept.size) - 1

        def ask() -> bytes:
            with contextlib.closing(self._first_block(one, last, until)) as chunks:
                return b"".join(chunks)

        with self.store.path(kept.sha256).open("rb") as file:
            return patiently(ask, self.settings.patience, until, lambda text: None) == file.read(last + 1)

    def _first_block(self, one: Listed, last: int, until: float) -> Any:
        headers = {"Range": f"bytes=0-{last}"}
        with self._client.get(one.source, headers, exclusive=not one.public, until=until) as response:
            left = last + 1
            for chunk in self._client.body(response, 1 << 40, until):
                yield chunk[:left]
                left -= len(chunk[:left])
                if not left:  # also where the server ignores Range: the rest is not read
                    return

    def _wanted(self, name: str) -> Wanted:
        one = self._listed[name[:9]][name[10:13]]
        return Wanted(one.name, one.source, one.size, exclusive=not one.public)


class _Window:
    """What has been read of a file from afar, in runs of bytes."""

    def __init__(self, client: Client, one: Listed, settings: MastSettings, until: float) -> None:
        self.client, self.one, self.settings, self.until = client, one, settings, until
        self.size = one.size
        self.etag: str | None = None
        self.runs: dict[int, bytes] = {}

    def measure(self) -> int:
        """Give the size of the file; asks for its beginning where the list did not say."""
        if not self.runs:
            self._fetch(0, _FIRST)
        return self.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Give up to ``size`` bytes from ``offset`` on: fewer where a header ends before, so that no more is asked."""
        while True:
            start, run = self._run(offset)
            have = run[offset - start :] if run else b""
            end = offset + len(have)
            if len(have) >= size or end >= self.size or _holds_end(have):
                return have[:size]
            self._fetch(end, _NEXT)

    def _run(self, offset: int) -> tuple[int, bytes]:
        for start, run in self.runs.items():
            if start <= offset < start + len(run):
                return start, run
        return offset, b""

    def _fetch(self, offset: int, size: int) -> None:
        last = offset + size - 1 if self.size < 0 else min(offset + size, self.size) - 1
        part = patiently(
            lambda: self.client.read_part(
                self.one.source, offset, last, exclusive=not self.one.public, until=self.until
            ),
            self.settings.patience,
            self.until,
            lambda text: None,
        )
        if part.total >= 0:
            if self.size >= 0 and part.total != self.size:
                msg = f"the server has {part.total} bytes, the archive lists {self.size}"
                raise LastingError(msg)
            self.size = part.total
        if self.size < 0:
            msg = "neither the list nor the server say how large it is"
            raise LastingError(msg)
        if self.etag is not None and part.etag != self.etag:
            msg = "it changed while its headers were read"
            raise LastingError(msg)
        self.etag = part.etag
        start, run = self._run(offset - 1) if offset else (0, b"")
        if run and start + len(run) == offset:
            self.runs[start] = run + part.content
        else:
            self.runs[offset] = part.content


def _holds_end(have: bytes) -> bool:
    at = have.find(_END)
    while at >= 0 and at % CARD:
        at = have.find(_END, at + 1)
    return at >= 0
