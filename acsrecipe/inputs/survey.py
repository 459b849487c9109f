"""What an archive has for a recipe: its associations and exposures, and all that is wrong with them.

An :class:`Archive` lists products, gives headers without pixels, and brings files; :func:`survey` makes
exposures and associations of that, the same way for every archive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Final, Literal, Protocol

from acsrecipe.errors import AcsRecipeError
from acsrecipe.inputs.association import parse_association, refuse_other_instrument
from acsrecipe.inputs.members import ROOTNAME, check_association, filter_members, is_exposure
from acsrecipe.inputs.model import Association, Exposure, FileIdentity, HduHeader, Observed
from acsrecipe.recipe.keywords import SWITCHES

_LARGEST_ASN: Final = 1 << 20


@dataclass(frozen=True)
class Product:
    """One file that an archive has.

    Attributes
    ----------
    rootname : str
        Lower case.
    suffix : str
        ``raw``, ``spt``, ``asn`` ...
    size : int
        Bytes; -1 where the archive does not say.
    address : str
        Where the archive itself finds it: a path, or a URI.
    """

    rootname: str
    suffix: str
    size: int
    address: str

    @property
    def name(self) -> str:
        """Its bare file name."""
        return f"{self.rootname}_{self.suffix}.fits"


class Archive(Protocol):
    """What :func:`survey` and the executor ask of an archive."""

    def list_products(self, patterns: Sequence[str]) -> tuple[Product, ...]:
        """List all products whose rootname matches a pattern (``*``, ``?``, any case), sorted; no file twice."""
        ...

    def suggest(self, pattern: str) -> str:
        """Say in a sentence what is there instead of a name that is not; empty where nothing is known."""
        ...

    def shown(self, product: Product) -> str:
        """Name a product as a plan shows it."""
        ...

    def headers(self, product: Product) -> tuple[HduHeader, ...]:
        """Read all headers of a product without its pixels; raises ``AcsRecipeError`` where it is not whole."""
        ...

    def content(self, product: Product, most: int) -> bytes:
        """Read a small product whole: an association table."""
        ...

    def identify(self, product: Product, *, with_hash: bool) -> FileIdentity:
        """Give what makes a product itself; with its sha256 where asked, and where the archive can."""
        ...

    def fetch(self, product: Product, target: Path) -> str:
        """Copy a product, checked to be whole, to a new file; gives its sha256."""
        ...


@dataclass(frozen=True)
class Found:
    """What an archive has for the ids of a recipe."""

    exposures: tuple[Exposure, ...]
    associations: tuple[Association, ...]
    observed: tuple[Observed, ...]


def survey(
    archive: Archive,
    ids: Sequence[str],
    *,
    proposal: int | None = None,
    products: Sequence[str] = ("RAW", "ASN", "SPT"),
    keep: Mapping[str, Sequence[str]] | None = None,
    drop: Mapping[str, Sequence[str]] | None = None,
    with_hashes: bool = True,
    threads: int = 2,
) -> Found:
    """Find the exposures and associations that a recipe's ids name, reading headers only.

    Parameters
    ----------
    archive : Archive
    ids : sequence of str
        Rootnames of associations or exposures, with wildcards, in any case. An association brings
        its members; an exposure named alone stands alone. None at all: everything.
    proposal : int, optional
        Leave out exposures whose PROPOSID is another.
    products : sequence of str
        Kinds of file to take; without RAW, exposures are taken from FLT or FLC files.
    keep, drop : mapping, optional
        The recipe's filter of association rows: the exposures of rows that go are not looked for.
    with_hashes : bool
        Give the sha256 of each RAW, SPT and ASN file, which means reading them whole.
    threads : int
        Files hashed at a time.

    Returns
    -------
    Found
        Exposures in the order of ids and rows; ``observed`` has all that is wrong (codes I0xx, A0xx).
    """
    seen = _Seen(archive, frozenset(kind.lower() for kind in products), proposal, keep or {}, drop or {})
    for one in dict.fromkeys(ids or ("*",)):
        there = archive.list_products([one])
        if not any(product.suffix in (seen.source, "asn") for product in there):
            seen.note("I020", "error", _nothing(one, there, seen.source), hint=archive.suggest(one))
        inside: set[str] = set()
        for product in there:
            if product.suffix == "asn" and "asn" in seen.kinds:
                inside |= seen.add_association(product)
        for product in there:
            if product.suffix == seen.source and product.rootname not in inside:
                seen.add_exposure(product, [each for each in there if each.rootname == product.rootname])
    return seen.finish(with_hashes, threads)


def _nothing(pattern: str, products: Sequence[Product], source: str) -> str:
    what = (
        f"nothing in the archive matches {pattern}" if set(pattern) & set("*?") else f"{pattern} is not in the archive"
    )
    if products:
        return f"{what} as {source.upper()} or ASN: found only {', '.join(product.name for product in products[:5])}"
    return what


class _Seen:
    """What :func:`survey` has gathered so far."""

    def __init__(
        self,
        archive: Archive,
        kinds: frozenset[str],
        proposal: int | None,
        keep: Mapping[str, Sequence[str]],
        drop: Mapping[str, Sequence[str]],
    ) -> None:
        self.archive = archive
        self.kinds = kinds
        # What the plan starts from: RAW, or where only calibrated files are asked for, those.
        self.source = next((kind for kind in ("raw", "flt", "flc") if kind in kinds), "raw")
        self.proposal = proposal
        self.keep = keep
        self.drop = drop
        self.exposures: dict[str, tuple[Exposure, Product, Product | None]] = {}
        self.associations: dict[str, tuple[Association, Product]] = {}
        self.observed: list[Observed] = []
        self.refused: set[str] = set()

    def note(
        self, code: str, severity: Literal["error", "warning", "note"], message: str, file: str = "", hint: str = ""
    ) -> None:
        """Remember something noticed, once."""
        one = Observed(code, severity, message, file, hint)
        if one not in self.observed:
            self.observed.append(one)

    def refuse(self, error: AcsRecipeError, product: Product) -> None:
        """Remember that a product can't be used, and why."""
        self.refused.add(product.name)
        self.note(error.code or "I001", "error", error.message, self.archive.shown(product), error.hint or "")

    def add_association(self, product: Product) -> set[str]:
        """Take an association and its members; gives the rootnames of all rows, also of those that go."""
        if product.rootname in self.associations:
            return _rootnames(self.associations[product.rootname][0])
        if product.name in self.refused:
            return set()
        identity = FileIdentity(self.archive.shown(product), product.size)
        try:
            content = self.archive.content(product, _LARGEST_ASN)
            association = parse_association(content, product.rootname, identity)
        except AcsRecipeError as error:
            self.refuse(error, product)
            return set()
        self.associations[product.rootname] = (association, product)
        stay, _ = filter_members(association, self.keep, self.drop)
        wanted = {member.memname.lower(): member for member in stay if is_exposure(member)}
        names = [name for name in wanted if ROOTNAME.fullmatch(name)]
        products = self.archive.list_products(names) if names else ()
        raws = {one.rootname: one for one in products if one.suffix == self.source}
        self.observed.extend(check_association(association, stay))
        for name in names:
            if name not in raws and wanted[name].memprsnt:
                self._note_missing(name, wanted[name].row, wanted[name].memtype, identity.path)
            elif wanted[name].memprsnt:
                beside = [one for one in products if one.rootname == name]
                self.add_exposure(raws[name], beside, association.rootname, wanted[name].memtype)
        return _rootnames(association)

    def _note_missing(self, name: str, row: int, memtype: str, file: str) -> None:
        near = self.archive.suggest(name)
        hint = near if near.startswith("there is") else "fetch it, or drop the row in the recipe: [association] drop"
        what = self.source.upper()
        text = f"{name.upper()} in row {row} ({memtype}) has no {what} file: expected {name}_{self.source}.fits"
        self.note("A009", "error", text, file, hint)

    def add_exposure(self, raw: Product, beside: Iterable[Product], association: str = "", memtype: str = "") -> None:
        """Take one exposure, unless it is there already or something is wrong with it."""
        known = self.exposures.get(raw.rootname)
        if known is not None:
            self._join(known[0], association, memtype)
        if known is not None or raw.name in self.refused:
            return
        shown = self.archive.shown(raw)
        try:
            hdus = self.archive.headers(raw)
            refuse_other_instrument(hdus[0].cards, shown)
        except AcsRecipeError as error:
            self.refuse(error, raw)
            return
        found = hdus[0].cards.get("PROPOSID")
        if self.proposal is not None and found != self.proposal:
            self.note("I028", "note", f"left out: PROPOSID = {found}, asked for is {self.proposal}", shown)
            return
        self._check_raw(raw, hdus, shown)
        spt = next((one for one in beside if one.suffix == "spt"), None)
        spt = spt if "spt" in self.kinds and self._is_whole(spt, raw) else None
        exposure = Exposure(raw.rootname, FileIdentity(shown, raw.size), hdus, None, association, memtype)
        self.exposures[raw.rootname] = (exposure, raw, spt)

    def _join(self, known: Exposure, association: str, memtype: str) -> None:
        """Note the association of an exposure that was named alone before; it can't be in two."""
        if association and not known.association:
            joined = replace(known, association=association, memtype=memtype)
            self.exposures[known.rootname] = (joined, *self.exposures[known.rootname][1:])
        elif association and known.association != association:
            text = f"is a member of both {known.association} and {association}"
            self.note("I025", "error", text, known.raw.path, "name only one of the two, or drop the row")

    def _check_raw(self, raw: Product, hdus: tuple[HduHeader, ...], file: str) -> None:
        primary = hdus[0].cards
        if not any(hdu.name == "SCI" for hdu in hdus):
            found = " ".join(hdu.name or "unnamed" for hdu in hdus)
            text = f"has no SCI extension: found {found}, expected the HDUs of a {self.source.upper()} file"
            self.note("I022", "error", text, file)
        if self.source != "raw":
            return
        done = [keyword for keyword in SWITCHES if str(primary.get(keyword)).strip().upper() == "COMPLETE"]
        if done:
            text = f"has been calibrated already: {', '.join(f'{name} = COMPLETE' for name in done[:3])}"
            self.note("I022", "error", f"{text}, expected a RAW file", file, "fetch the RAW file again")
        written = str(primary.get("ROOTNAME") or "").strip().lower()
        if written and written != raw.rootname:
            text = f"says ROOTNAME = {written}, but is named {raw.name}: products are named after the file"
            self.note("I024", "warning", text, file)

    def _is_whole(self, spt: Product | None, raw: Product) -> bool:
        """Look at an SPT file; that it is missing is no error, since calacs hardly uses it."""
        if spt is None and self.source != "raw":
            return False
        if spt is None:
            text = f"{raw.rootname} has no SPT file: calacs uses it only to make an association's product"
            self.note("I023", "note", text, self.archive.shown(raw))
            return False
        try:
            self.archive.headers(spt)
        except AcsRecipeError as error:
            self.refuse(error, spt)
            return False
        return True

    def finish(self, with_hashes: bool, threads: int) -> Found:
        """Identify what was found, several files at a time, and give all of it."""
        wanted = [product for _, product in self.associations.values()]
        for _, raw, spt in self.exposures.values():
            wanted.extend(one for one in (raw, spt) if one is not None)
        with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
            files = dict(
                zip((one.name for one in wanted), pool.map(self._identify, wanted, repeat(with_hashes)), strict=True)
            )
        for product in wanted:
            error = files[product.name][1]
            if error is not None:
                self.refuse(error, product)
        exposures = tuple(
            replace(exposure, raw=files[raw.name][0], spt=files[spt.name][0] if spt else None)
            for exposure, raw, spt in self.exposures.values()
        )
        associations = tuple(replace(one, file=files[product.name][0]) for one, product in self.associations.values())
        return Found(exposures, associations, tuple(self.observed))

    def _identify(self, product: Product, with_hash: bool) -> tuple[FileIdentity, AcsRecipeError | None]:
        try:
            return self.archive.identify(product, with_hash=with_hash), None
        except AcsRecipeError as error:
            return FileIdentity(self.archive.shown(product), product.size), error


def _rootnames(association: Association) -> set[str]:
    return {member.memname.lower() for member in association.members}
