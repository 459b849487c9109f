"""Audits in Python: products and runs against their log, a recipe, a lock, a CRDS context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acsrecipe.api.look import find_exposures, look
from acsrecipe.api.road import build_plan
from acsrecipe.environment import Environment
from acsrecipe.errors import AcsRecipeError, IntegrityError, UsageError
from acsrecipe.inputs.crds_cache import CONTEXT_NAME, CrdsSettings, open_cache
from acsrecipe.inputs.header import read_headers
from acsrecipe.inputs.model import HduHeader, ReferenceChoice, Value
from acsrecipe.plan.changes import Headers, apply_references, override_headers
from acsrecipe.plan.lock import Lock
from acsrecipe.plan.needs import CALIBRATION_SWITCHES
from acsrecipe.recipe.toml import LoadedRecipe, resolve_path
from acsrecipe.record.audit import AuditFinding, audit_run, compare_with_record, recorded_output
from acsrecipe.record.products import (
    Product,
    compare_with_context,
    compare_with_lock,
    compare_with_recipe,
    find_unrecorded,
)
from acsrecipe.run.stamp import read_stamps

CALIBRATED = ("flt", "flc", "crj", "crc", "sfl", "drz", "drc")


@dataclass
class Auditor:
    """What products are held against; what is costly is found out once.

    Attributes
    ----------
    environment : Environment
    recipe, lock, context
        What they should be; none of them has to be given.
    cache : str
        The CRDS cache; without it the recipe's, or that of the environment.
    data : Path or None
        A folder with RAW files, by which references are judged more surely than by a calibrated file.
    """

    environment: Environment
    recipe: LoadedRecipe | None = None
    lock: Lock | None = None
    context: str = ""
    cache: str = ""
    data: Path | None = None
    _planned: dict[str, Headers] | None = field(default=None, repr=False)
    _rules: dict[str, object] = field(default_factory=dict, repr=False)

    def audit(self, paths: Sequence[Path]) -> tuple[AuditFinding, ...]:
        """Audit products, and the folders of runs with all their products.

        Raises
        ------
        UsageError
            A path is neither.
        """
        found: list[AuditFinding] = []
        for path in paths:
            if path.is_dir():
                found += audit_run(path, self.lock)
                if self.recipe is not None or self.context:
                    for product in sorted((path / "products").glob("*.fits")):
                        found += self._audit_headers(product)
            elif path.is_file():
                found += self._audit_record(path)
                found += self._audit_headers(path)
            else:
                msg = "there is no such product or run"
                raise UsageError(
                    msg, where=str(path), hint="name FLT, FLC, CRJ, CRC or DRZ files, or the folder of a run"
                )
        return tuple(dict.fromkeys(found))

    def _audit_record(self, path: Path) -> list[AuditFinding]:
        try:
            record = recorded_output(path)
        except IntegrityError as error:
            return [AuditFinding("V001", "tampered", str(error.where or path), error.message)]
        if record is None:
            return []
        message = compare_with_record(path, record[1])
        return [AuditFinding("V004", "tampered", str(path), message)] if message else []

    def _audit_headers(self, path: Path) -> list[AuditFinding]:
        try:
            hdus = read_headers(path, complete=False)
            stamps = read_stamps(path)
        except AcsRecipeError as error:
            return [AuditFinding("V014", "finding", str(path), error.message)]
        root, _, suffix = path.name.removesuffix(".fits").partition("_")
        if suffix not in CALIBRATED:
            return []
        product = Product(str(path), root.lower(), suffix, hdus[0].cards, stamps)
        found: list[AuditFinding] = []
        if self.recipe is not None:
            found += compare_with_recipe(product, self._planned_for(path.name))
        if self.lock is not None:
            found += compare_with_lock(product, self.lock)
        found += self._audit_references(product, path, hdus)
        return found

    def _audit_references(self, product: Product, path: Path, hdus: Sequence[HduHeader]) -> list[AuditFinding]:
        raw = self._raw_header(product, path)
        header = _as_raw(hdus, raw)
        found: list[AuditFinding] = []
        own = str(product.primary.get("CRDS_CTX") or "")
        if CONTEXT_NAME.fullmatch(own):
            choices = self._choose(own, header, must=False)
            if choices is not None:
                found += find_unrecorded(product, choices, own, from_raw=raw is not None)
        if self.context and self.context != own:
            choices = self._choose(self.context, header, must=True) or {}
            since = self._since(product, choices, header, own)
            found += compare_with_context(product, choices, self.context, since, from_raw=raw is not None)
        return found

    def _since(
        self, product: Product, choices: Mapping[str, ReferenceChoice], header: Mapping[str, Value], own: str
    ) -> dict[str, str]:
        """Find, for each reference that is stale, the first context here that chose another one."""
        from acsrecipe.plan.changes import same_reference

        stale = [
            one
            for one, choice in choices.items()
            if choice.name and not same_reference(product.primary.get(one), choice.name)
        ]
        if not stale:
            return {}
        first: dict[str, str] = {}
        for name in open_cache(CrdsSettings(cache=self._cache())).contexts():
            if not own < name <= self.context:
                continue
            between = self._choose(name, header, must=False) or {}
            for keyword in stale:
                choice = between.get(keyword)
                if choice is not None and choice.name and not same_reference(product.primary.get(keyword), choice.name):
                    first.setdefault(keyword, name)
        return first

    def _choose(self, context: str, header: Mapping[str, Value], *, must: bool) -> dict[str, ReferenceChoice] | None:
        """Choose references by a context of the cache; None where it is not there and need not be."""
        from acsrecipe.inputs.references import Rules, open_rules

        if not self._cache():
            if must:
                msg = "no CRDS cache is named"
                raise UsageError(msg, hint="give --cache or --recipe, or set CRDS_PATH", code="P205")
            return None
        try:
            rules = self._rules.get(context) or open_rules(CrdsSettings(cache=self._cache()), context)
            self._rules[context] = rules
            assert isinstance(rules, Rules)  # noqa: S101  # for mypy: the rules are kept without importing crds
            return rules.choose(header)
        except AcsRecipeError:
            if must:
                raise
            return None

    def _cache(self) -> str:
        if self.cache:
            return self.cache
        if self.recipe is not None and self.recipe.recipe.references.cache:
            return str(resolve_path(self.recipe, self.recipe.recipe.references.cache))
        return self.environment.crds_path

    def _planned_for(self, name: str) -> Headers | None:
        """Give the headers that the recipe gives the RAW file of a product; of a combined one, its first."""
        if self.recipe is None:
            return None
        if self._planned is None:
            self._planned = plan_headers(self.recipe, self.environment)
        return self._planned.get(name)

    def _raw_header(self, product: Product, path: Path) -> tuple[HduHeader, ...] | None:
        folders = [path.parent, *([self.data] if self.data else [])]
        if self.recipe is not None:
            for exposure in find_exposures(self.recipe, self.environment).exposures:
                if exposure.rootname == product.rootname:
                    return exposure.hdus
        for folder in folders:
            raw = folder / f"{product.rootname}_raw.fits"
            if raw.is_file():
                return read_headers(raw)
        return None


def plan_headers(recipe: LoadedRecipe, environment: Environment) -> dict[str, Headers]:
    """Give, by the name of each product that a recipe makes, the headers of the RAW file it is made of.

    Of a combined product those of the first exposure count, as they do for calacs.
    """
    inventory = look(recipe, environment)
    headers, _ = override_headers(recipe, inventory.exposures)
    for exposure in inventory.exposures:
        apply_references(recipe, inventory, exposure, headers[exposure.rootname])
    found: dict[str, Headers] = {}
    for task in build_plan(recipe, environment=environment).tasks:
        for output in task.outputs:
            root = output.name.partition("_")[0]
            mine = root if root in headers else (task.exposures[0] if task.exposures else "")
            if mine in headers:
                found[output.name] = headers[mine]
    return found


def _as_raw(hdus: Sequence[HduHeader], raw: Sequence[HduHeader] | None) -> dict[str, Value]:
    """Merge the header by which CRDS chooses: the RAW's where it is known, with the switches that the product had."""
    from acsrecipe.inputs.references import merge_headers

    merged = dict(merge_headers(raw if raw is not None else hdus))
    for switch in CALIBRATION_SWITCHES:
        value = hdus[0].cards.get(switch)
        if value is not None:
            done = str(value).strip().upper()
            merged[switch] = "PERFORM" if done in ("COMPLETE", "SKIPPED") else value
    return merged
