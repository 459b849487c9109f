"""What exists, as plain frozen data: exposures, associations, references, the CRDS context.

Made by the readers beside this file, consumed by :mod:`acsrecipe.plan.build`. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Value = bool | int | float | str | None
"""The value of a header card; ``None`` is a card without a value."""


@dataclass(frozen=True)
class FileIdentity:
    """A file and what makes it itself.

    Attributes
    ----------
    path : str
        As the plan shows it: relative to the recipe's folder where it lies below it, else absolute.
    size : int
        In bytes.
    sha256 : str
        Of the whole file; empty when the content was not read (a reference known by its CRDS sha1,
        or a file that is not on this machine yet).
    sha1 : str
        As CRDS catalogues it; empty when unknown.
    source : str
        The address that it has to be fetched from; empty where it is on this machine.
    seen : str
        Of an archive's file: the sha256 of what is seen of it before it is here (a RAW file's header
        blocks, an ASN file's content).
    exclusive : bool
        Whether the archive gives it only to those who say who they are.
    """

    path: str
    size: int
    sha256: str = ""
    sha1: str = ""
    source: str = ""
    seen: str = ""
    exclusive: bool = False


@dataclass(frozen=True)
class HduHeader:
    """The cards of one HDU, by keyword; of repeated keywords the first counts, as calacs reads them."""

    name: str
    version: int
    cards: Mapping[str, Value]


@dataclass(frozen=True)
class Exposure:
    """One exposure: its RAW file, and the SPT that belongs to it.

    Where a recipe goes on with calibrated files, ``raw`` is the FLT or FLC file that it starts from.

    Attributes
    ----------
    rootname : str
        Lower case, nine characters: ``j9l960a7q``.
    raw : FileIdentity
    hdus : tuple of HduHeader
        Every HDU of the RAW file in its order, the primary first.
    spt : FileIdentity or None
    association : str
        Rootname of the association it was found through, or empty.
    memtype : str
        Its MEMTYPE there (``EXP-DTH``, ``EXP-CR1`` ...), or empty.
    """

    rootname: str
    raw: FileIdentity
    hdus: tuple[HduHeader, ...]
    spt: FileIdentity | None = None
    association: str = ""
    memtype: str = ""

    @property
    def primary(self) -> Mapping[str, Value]:
        """The primary header."""
        return self.hdus[0].cards

    def science(self) -> tuple[HduHeader, ...]:
        """Give the SCI headers, in file order (for WFC full frames CCDCHIP 2, then 1)."""
        return tuple(hdu for hdu in self.hdus if hdu.name == "SCI")


@dataclass(frozen=True)
class Member:
    """A row of an association table: MEMNAME, MEMTYPE, MEMPRSNT, and its number, counted from 1."""

    row: int
    memname: str
    memtype: str
    memprsnt: bool


@dataclass(frozen=True)
class Association:
    """An association table as it was delivered."""

    rootname: str
    file: FileIdentity
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Observed:
    """Something noticed while looking at the inputs; the plan turns it into a finding.

    A ``severity`` of ``"error"`` means that the plan can't be run.
    """

    code: str
    severity: Literal["error", "warning", "note"]
    message: str
    file: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Context:
    """The CRDS context that was used, and where that decision came from.

    Attributes
    ----------
    name : str
        ``hst_0729.pmap``.
    asked : str
        What the recipe says: a name, or ``latest``.
    source : str
        Where the name came from: ``recipe``, ``server URL``, ``cache /path (server not asked)`` ...
    server : str
        The server asked, or empty in serverless mode.
    cache : str
        The cache's folder.
    mappings : mapping
        Name of each mapping that was used to its sha1 (as CRDS defines it).
    synced : str
        When the cache last heard of a server, ISO 8601, or empty when unknown.
    """

    name: str
    asked: str
    source: str
    server: str = ""
    cache: str = ""
    mappings: Mapping[str, str] = field(default_factory=dict)
    synced: str = ""


@dataclass(frozen=True)
class ReferenceChoice:
    """What CRDS says of one reference keyword of one exposure.

    Attributes
    ----------
    keyword : str
        ``DARKFILE``.
    name : str
        The file's bare name in lower case; ``N/A`` where the type does not apply, or where no rule matched
        (``problem`` then says so); empty where CRDS refused a value, and the header keeps its card.
    file : FileIdentity or None
        Where it lies in the cache; None where it is not there or ``name`` is ``N/A``.
    mapping : str
        The .rmap that decided.
    useafter : str
        ``2006-03-01 00:00:00``, or empty.
    matched : mapping
        The parameters that the rule matched, keyword to the value in the rule.
    irrelevant : str
        Why the type does not apply (``PCTECORR = OMIT``), or empty.
    problem : str
        What CRDS complained of, or empty.
    """

    keyword: str
    name: str
    file: FileIdentity | None = None
    mapping: str = ""
    useafter: str = ""
    matched: Mapping[str, str] = field(default_factory=dict)
    irrelevant: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Inventory:
    """All that exists and bears on a recipe.

    ``references`` holds, for each rootname, the choice for each reference keyword, made on the headers
    as they will be *after* the recipe's switches and header overrides. ``reference_headers`` holds, by path, the
    headers of those reference files that the plan has to judge: the recipe's own, what CRDS would choose in their
    place, and PCTETABs.
    """

    exposures: tuple[Exposure, ...]
    associations: tuple[Association, ...] = ()
    context: Context | None = None
    references: Mapping[str, Mapping[str, ReferenceChoice]] = field(default_factory=dict)
    custom: Mapping[str, FileIdentity] = field(default_factory=dict)
    observed: tuple[Observed, ...] = ()
    reference_headers: Mapping[str, tuple[HduHeader, ...]] = field(default_factory=dict)
