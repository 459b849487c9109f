"""A CRDS cache on disk: its layout, what it remembers of the server, and whether a file in it is whole.

Only the files are touched: nothing here needs the crds package, and nothing writes.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.model import FileIdentity

Layout = Literal["flat", "instrument"]

CONTEXT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}\.pmap")
MAPPING_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}\.(?:pmap|imap|rmap)")
# jref$ and the name have to fit one FITS card.
REFERENCE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,54}\.fits")

LATEST = ("latest", "hst-latest", "hst-operational")
"""What stands for the server's latest context."""

_STATED_SHA1 = re.compile(rb"""['"]sha1sum['"]\s*:\s*['"]([0-9a-f]{40})['"]""")
_MOST_CONFIG = 64 * 2**20
_MOST_CATALOGUE = 512 * 2**20
_CHUNK = 2**20


@dataclass(frozen=True)
class Patience:
    """How long a server may take, in seconds where not said otherwise.

    Attributes
    ----------
    connect : float
        For a connection.
    silence : float
        Between two bytes, and over which ``least_rate`` is measured.
    least_rate : float
        Bytes a second below which a transfer counts as stalled.
    attempts : int
        How often a request is made before it is given up.
    backoff : float
        Before the second attempt; doubled for each further one.
    longest_wait : float
        The longest that a server's Retry-After is obeyed.
    lock : float
        For another process that fills the same cache.
    """

    connect: float = 10.0
    silence: float = 30.0
    least_rate: float = 1024.0
    attempts: int = 4
    backoff: float = 1.0
    longest_wait: float = 60.0
    lock: float = 3600.0


@dataclass(frozen=True)
class CrdsSettings:
    """Where CRDS's rules and references come from; cli fills it from the recipe and the environment.

    Attributes
    ----------
    cache : str
        The cache's folder (what CRDS calls CRDS_PATH).
    server : str or None
        Base URL of a CRDS server; None is serverless mode: the cache is all there is. So is, as for
        CRDS itself, an address with "serverless" in it.
    observatory : str
        ``hst``.
    offline : bool
        Never touch the network, even where a server is named.
    patience : Patience
    """

    cache: str
    server: str | None = None
    observatory: str = "hst"
    offline: bool = False
    patience: Patience = Patience()

    @property
    def online(self) -> bool:
        """Whether a server may be asked."""
        named = self.server and not re.search("server-?less", self.server)
        return bool(named) and not self.offline


@dataclass(frozen=True)
class Catalogued:
    """What CRDS's catalogue says of a file: size in bytes, sha1 of the whole file (empty when unknown)."""

    size: int
    sha1: str


Catalogue = Mapping[str, Catalogued]


@dataclass(frozen=True)
class CrdsCache:
    """A CRDS cache as it is on disk.

    Attributes
    ----------
    root : Path
        Absolute.
    observatory : str
    layout : {"flat", "instrument"}
        How references are filed: all in one folder, or in one folder an instrument.
    config : mapping
        The server's answer that the cache remembers (``server_config``); empty when there is none.
    """

    root: Path
    observatory: str
    layout: Layout
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def config_folder(self) -> Path:
        """Where ``server_config`` lies."""
        return self.root / "config" / self.observatory

    @property
    def mappings_folder(self) -> Path:
        """Where .pmap, .imap and .rmap files lie."""
        return self.root / "mappings" / self.observatory

    @property
    def latest(self) -> str:
        """The server's latest context when the cache last heard of it, or empty."""
        return str(self.config.get("latest_context") or self.config.get("operational_context") or "")

    @property
    def synced(self) -> str:
        """When the cache last heard of a server, ISO 8601 to the second, or empty when unknown."""
        heard = self.config.get("acsrecipe_heard") or self.config.get("last_synced") or ""
        found = re.match(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)", str(heard))
        return f"{found[1]}T{found[2]}" if found else ""

    @cached_property
    def bad_files(self) -> frozenset[str]:
        """Names of references and mappings that CRDS calls scientifically invalid."""
        listed = self.config.get("bad_files_list")
        names = set(listed) if isinstance(listed, (list, tuple, set)) else set()
        with contextlib.suppress(OSError):  # the text file is only a copy
            names.update((self.config_folder / "bad_files.txt").read_text(errors="replace").split())
        return frozenset(str(name).lower() for name in names)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Size and sha1 of every file the server knew; empty where the cache never kept that.

        Raises
        ------
        ArchiveError
            Where the cache's copy can't be read.
        """
        try:
            return decode_catalogue(self.config.get("download_metadata"))
        except ValueError as error:
            msg = f"the catalogue of sizes and checksums in the CRDS cache can't be read: {error}"
            raise ArchiveError(
                msg,
                where=str(self.config_folder / "server_config"),
                hint="remove server_config and let a CRDS server fill it again",
                code="C005",
            ) from error

    def reference_path(self, name: str) -> Path:
        """Give the path at which a reference is, or would be, filed by this cache's layout.

        A file that is there under the other layout is found too.
        """
        folder = self.root / "references" / self.observatory
        places = {"flat": folder / name, "instrument": folder / "acs" / name}
        proper = places.pop(self.layout)
        other = next(iter(places.values()))
        return other if not proper.is_file() and other.is_file() else proper

    def mapping_path(self, name: str) -> Path:
        """Give the path of a .pmap, .imap or .rmap file."""
        return self.mappings_folder / name

    def contexts(self) -> tuple[str, ...]:
        """Name the contexts whose .pmap is here."""
        try:
            return tuple(sorted(path.name for path in self.mappings_folder.glob("*.pmap")))
        except OSError:
            return ()


def open_cache(settings: CrdsSettings) -> CrdsCache:
    """Look at a CRDS cache; a folder that does not exist is an empty cache.

    Raises
    ------
    ArchiveError
        Where what the cache remembers of the server is not readable.
    """
    root = Path(os.path.abspath(settings.cache))  # noqa: PTH100 - resolve() would follow links in what the user named
    if root.exists() and not root.is_dir():
        msg = "is to be the CRDS cache, and is not a folder"
        raise ArchiveError(msg, where=str(root), hint="cache under [references], or CRDS_PATH, names it", code="C005")
    folder = root / "config" / settings.observatory
    return CrdsCache(
        root=root,
        observatory=settings.observatory,
        layout=_layout(folder, root / "references" / settings.observatory),
        config=_server_config(folder / "server_config"),
    )


def _layout(folder: Path, references: Path) -> Layout:
    try:
        declared = (folder / "ref_cache_subdir_mode").read_text(errors="replace").strip()
    except OSError:
        declared = ""
    if declared == "flat":
        return "flat"
    if declared == "instrument":
        return "instrument"
    if declared:
        msg = f"the CRDS cache says its references are filed {declared!r}; known are 'flat' and 'instrument'"
        raise ArchiveError(
            msg,
            where=str(folder / "ref_cache_subdir_mode"),
            hint="`crds sync --organize instrument` files them anew",
            code="C005",
        )
    return "flat" if any(references.glob("*.fits")) else "instrument"


def _server_config(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_CONFIG + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        msg = f"can't be read: {error.strerror}"
        raise ArchiveError(msg, where=str(path), code="C005") from error
    try:
        if len(text) > _MOST_CONFIG:
            msg = f"larger than {_MOST_CONFIG} bytes"
            raise ValueError(msg)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes, which are not ours
            config = ast.literal_eval(text.decode())
        if not isinstance(config, dict):
            msg = f"holds {type(config).__name__}, not a dictionary"
            raise ValueError(msg)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        msg = f"what the CRDS cache remembers of its server can't be read: {error}"
        raise ArchiveError(
            msg,
            where=str(path),
            hint="remove the file; without it contexts have to be named, and `latest` is not known",
            code="C005",
        ) from error
    return config


def decode_catalogue(encoded: object) -> Catalogue:
    """Decode CRDS's ``download_metadata``.

    Parameters
    ----------
    encoded : object
        ``{"crds_encoded": "1.0", "crds_payload": base64 of gzip of JSON}``, the plain dictionary
        ``{name: {"size", "sha1sum"}}``, or None.

    Raises
    ------
    ValueError
        Where it is none of these. Entries without a size are left out.
    """
    if encoded is None:
        return {}
    if isinstance(encoded, dict) and "crds_payload" in encoded:
        try:
            packed = base64.b64decode(str(encoded["crds_payload"]))
            with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
                text = file.read(_MOST_CATALOGUE + 1)
            if len(text) > _MOST_CATALOGUE:
                msg = f"larger than {_MOST_CATALOGUE} bytes"
                raise ValueError(msg)
            encoded = json.loads(text)
        except (OSError, EOFError, RecursionError) as error:
            raise ValueError(str(error)) from error
    if not isinstance(encoded, dict):
        msg = f"holds {type(encoded).__name__}, not a dictionary"
        raise ValueError(msg)
    return _Catalogue(encoded)


class _Catalogue(Mapping[str, Catalogued]):
    """A server's catalogue, each entry read when it is asked for: there are 60,000, and a plan needs twenty."""

    def __init__(self, entries: Mapping[str, Any]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> Catalogued:
        entry = self._entries[name]
        if not isinstance(entry, Mapping) or not re.fullmatch("[0-9]{1,15}", str(entry.get("size", ""))):
            raise KeyError(name)
        sha1 = str(entry.get("sha1sum", "")).lower()
        return Catalogued(int(entry["size"]), sha1 if re.fullmatch("[0-9a-f]{40}", sha1) else "")

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._entries if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def identify(cache: CrdsCache, name: str) -> FileIdentity | None:
    """Say what makes a reference itself: where it lies in the cache, its size and CRDS's sha1.

    Returns
    -------
    FileIdentity or None
        With the size and sha1 of CRDS's catalogue where that is known, else the size found and no
        sha1. None where the file is not in the cache. Its content is not read:
        :func:`verify_reference` does that.
    """
    path = cache.reference_path(name)
    try:
        found = path.stat()
    except OSError:
        return None
    known = cache.catalogue.get(name)
    if known is None:
        return FileIdentity(path=str(path), size=found.st_size)
    return FileIdentity(path=str(path), size=known.size, sha1=known.sha1)


def verify_mapping(content: bytes) -> str:
    """Compare a mapping with the sha1 that it carries (of all its lines but that one); empty where they agree."""
    found = mapping_sha1(content)
    stated = _STATED_SHA1.search(content)
    if stated is None:
        return "carries no sha1 of itself"
    return "" if stated[1].decode() == found else f"has lines of sha1 {found}, but says {stated[1].decode()}"


def mapping_sha1(content: bytes) -> str:
    """Give a mapping's sha1 as CRDS defines it."""
    lines = (line for line in content.splitlines(keepends=True) if b"sha1sum" not in line)
    return hashlib.sha1(b"".join(lines), usedforsecurity=False).hexdigest()


_hashed: dict[tuple[str, int, int, int, int], str] = {}
"""sha1 by path, device, inode, time of change and size: what has not changed is read once a process."""


def verify_reference(identity: FileIdentity, catalogue: Catalogue | None = None) -> str:
    """Read a reference file and say what is wrong with it.

    Parameters
    ----------
    identity : FileIdentity
        Its ``size`` and, where not empty, ``sha1`` and ``sha256`` are what the file must have.
    catalogue : mapping, optional
        CRDS's catalogue; where it knows the file, its size and sha1 count too.

    Returns
    -------
    str
        Empty where nothing is wrong, else e.g. ``has 512 bytes, CRDS says 168494400``.
    """
    path = Path(identity.path)
    known = (catalogue or {}).get(path.name)
    sizes = {identity.size} | ({known.size} if known else set())
    wanted = {("sha1", identity.sha1), ("sha256", identity.sha256), ("sha1", known.sha1 if known else "")}
    try:
        size = path.stat().st_size
        if sizes != {size}:
            expected = next(iter(sizes - {size}))
            return f"has {size} bytes, expected {expected}"
        for kind, expected_hash in sorted(wanted):
            if expected_hash and (found := _hash(path, kind)) != expected_hash:
                return f"has {kind} {found}, expected {expected_hash}"
    except FileNotFoundError:
        return "is not there"
    except OSError as error:
        return f"can't be read: {error.strerror}"
    return ""


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        key = (f"{kind}:{path}", found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if key not in _hashed:
            digest = hashlib.new(kind, usedforsecurity=False)
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            _hashed[key] = digest.hexdigest()
    return _hashed[key]
