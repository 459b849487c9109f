"""Archives: where exposures come from. :class:`LocalFolder` is a folder on this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Final

from acsrecipe import files
from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.header import read_headers, read_whole, refuse_damaged
from acsrecipe.inputs.members import ROOTNAME, matches
from acsrecipe.inputs.model import FileIdentity, HduHeader
from acsrecipe.inputs.survey import Archive, Found, Product, survey

__all__ = ["Archive", "Found", "LocalFolder", "Product"]

_PRODUCT = re.compile(r"([a-z0-9]{9})_([a-z0-9]{3})\.fits", re.ASCII)
_LIKE_A_PRODUCT = re.compile(
    r"([a-z0-9]{9})_([a-z0-9]{3})\.(?:fits?|fts)(?:\.(?:gz|bz2|xz|zst|z|fz))?", re.ASCII | re.I
)
_MAST_FOLDERS: Final = ("", "HST", "hst", "mastDownload/HST", "mastDownload/hst")


@dataclass(frozen=True)
class LocalFolder:
    """A folder with RAW, SPT and ASN files, flat or laid out as MAST's downloads are.

    Files count where they lie in the folder itself, or in folders named by a rootname in it, in
    ``HST/`` or in ``mastDownload/HST/`` below it. Names are those of the archive, in lower case.

    Attributes
    ----------
    folder : Path
        Where it is.
    shown_as : str
        How the recipe names it; the paths of files begin with it.
    """

    folder: Path
    shown_as: str
    _scanned: dict[str, dict[str, list[Path]]] = field(default_factory=dict, repr=False, compare=False)

    def find(
        self,
        ids: Sequence[str],
        *,
        proposal: int | None = None,
        products: Sequence[str] = ("RAW", "ASN", "SPT"),
        keep: Mapping[str, Sequence[str]] | None = None,
        drop: Mapping[str, Sequence[str]] | None = None,
        with_hashes: bool = True,
    ) -> Found:
        """Find what a recipe asks for: :func:`acsrecipe.inputs.survey.survey` of this folder."""
        return survey(self, ids, proposal=proposal, products=products, keep=keep, drop=drop, with_hashes=with_hashes)

    def list_products(self, patterns: Sequence[str]) -> tuple[Product, ...]:
        """List the products of matching rootnames; of equal names, that nearest to the top.

        Raises
        ------
        ArchiveError
            I026 the folder is not there or can't be read.
        """
        found: list[Product] = []
        for rootname, paths in sorted(self._scan().items()):
            if any(matches(pattern, rootname) for pattern in patterns):
                names = {path.name: path for path in reversed(paths)}
                found.extend(
                    Product(rootname, name[10:13], _size(path), str(path)) for name, path in sorted(names.items())
                )
        return tuple(found)

    def suggest(self, pattern: str) -> str:
        """Name the nearest rootnames, a file that only its spelling keeps from being found, or what is there."""
        for name in sorted(_names(self.folder)):
            like = _LIKE_A_PRODUCT.fullmatch(name)
            if like and not _PRODUCT.fullmatch(name) and matches(pattern, like[1]):
                return f"there is {name}: unpack or rename it to {like[1].lower()}_{like[2].lower()}.fits"
        known = sorted(self._scan())
        near = get_close_matches(pattern.lower(), known, n=3, cutoff=0.75)
        if near:
            return f"did you mean {' or '.join(near)}?"
        if not known:
            return f"{self.shown_as} has no file named like j9l960a7q_raw.fits"
        return f"{self.shown_as} has {', '.join(known[:5])}{' ...' if len(known) > 5 else ''}"

    def shown(self, product: Product) -> str:
        """Give a product's path, beginning as the recipe names the folder."""
        return str(PurePosixPath(self.shown_as) / Path(product.address).relative_to(self.folder).as_posix())

    def headers(self, product: Product) -> tuple[HduHeader, ...]:
        """Read a product's headers; raises ``PlanError`` as :func:`acsrecipe.inputs.header.read_headers`."""
        self._refuse_copies(product)
        return read_headers(Path(product.address))

    def content(self, product: Product, most: int) -> bytes:
        """Read a product of at most ``most`` bytes; raises ``PlanError``."""
        self._refuse_copies(product)
        return read_whole(Path(product.address), most)

    def identify(self, product: Product, *, with_hash: bool) -> FileIdentity:
        """Give path as shown, size, and sha256 if asked.

        Raises
        ------
        PlanError
            I012 a CHECKSUM in it does not hold (looked at only with the hash).
        ArchiveError
            I001 it can't be read.
        """
        path = Path(product.address)
        if not with_hash:
            return FileIdentity(self.shown(product), product.size)
        try:
            digest = files.sha256_file(path)
        except OSError as error:
            msg = f"can't be read: {error.strerror or error}"
            raise ArchiveError(msg, where=self.shown(product), code="I001") from error
        refuse_damaged(path)
        return FileIdentity(self.shown(product), product.size, digest)

    def fetch(self, product: Product, target: Path) -> str:
        """Copy a product to a new file, after a look at all its headers; gives its sha256."""
        self.headers(product)
        return files.copy_file(Path(product.address), target)

    def _refuse_copies(self, product: Product) -> None:
        """Raise ``ArchiveError`` I027 where a name is there more than once, with different content."""
        paths = [path for path in self._scan()[product.rootname] if path.name == product.name]
        if len(paths) > 1 and len({files.sha256_file(path) for path in paths}) > 1:
            listed = ", ".join(str(path.relative_to(self.folder)) for path in paths)
            msg = f"is there {len(paths)} times with different content: {listed}"
            raise ArchiveError(msg, where=self.shown(product), hint="leave only the one you mean", code="I027")

    def _scan(self) -> Mapping[str, list[Path]]:
        """Find all products once: rootname to paths, those nearest to the top first."""
        if "all" not in self._scanned:
            found: dict[str, list[Path]] = {}
            for folder in self._folders():
                for name in sorted(_names(folder)):
                    product = _PRODUCT.fullmatch(name)
                    if product:
                        found.setdefault(product[1], []).append(folder / name)
            self._scanned["all"] = found
        return self._scanned["all"]

    def _folders(self) -> list[Path]:
        try:
            list(self.folder.iterdir())
        except OSError as error:
            msg = f"can't be read as a folder of exposures: {error.strerror or error}"
            hint = "[observations] archive.folder is relative to the recipe's folder"
            raise ArchiveError(msg, where=self.shown_as, hint=hint, code="I026") from error
        found = [self.folder]
        for inner in _MAST_FOLDERS:
            folder = self.folder / inner
            found.extend(folder / name for name in sorted(_names(folder)) if ROOTNAME.fullmatch(name.lower()))
        return [folder for folder in found if folder.is_dir()]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
