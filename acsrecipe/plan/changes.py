"""What differs from the files as delivered: header cards, references, association rows; each with its why.

The order is fixed: switches, other overrides, CRDS (whose choice depends on the switches), reference overrides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from acsrecipe.inputs.model import Exposure, Inventory, ReferenceChoice, Value
from acsrecipe.plan.model import Finding, HeaderChange, HeldReference, ReferenceChange, Why
from acsrecipe.plan.needs import bare_name, is_named, required_references
from acsrecipe.recipe.keywords import SWITCHES
from acsrecipe.recipe.model import HeaderOverride
from acsrecipe.recipe.toml import LoadedRecipe

ORDER = tuple(SWITCHES)


@dataclass
class Headers:
    """One exposure's headers while the plan is built: as they will be, and what changed on the way."""

    primary: dict[str, Value]
    science: list[dict[str, Value]]
    changes: list[HeaderChange] = field(default_factory=list)
    references: list[ReferenceChange] = field(default_factory=list)
    held: dict[str, tuple[str, Why]] = field(default_factory=dict)

    def merged(self) -> dict[str, Value]:
        """Give the header as CRDS and calacs look keywords up: the first SCI header, then the primary."""
        return {**(self.science[0] if self.science else {}), **self.primary}


def override_headers(
    loaded: LoadedRecipe, exposures: Iterable[Exposure]
) -> tuple[dict[str, Headers], tuple[Finding, ...]]:
    """Apply the recipe's switches and header overrides to headers in memory.

    Returns
    -------
    headers : dict
        By rootname; :meth:`Headers.merged` is what CRDS should choose references for.
    findings : tuple of Finding
        Overrides that fit no exposure, set a card twice, or change its type.
    """
    headers = {
        exposure.rootname: Headers(dict(exposure.primary), [dict(hdu.cards) for hdu in exposure.science()])
        for exposure in exposures
    }
    findings: list[Finding] = []
    names = {exposure.rootname: exposure.raw.path for exposure in exposures}
    for rootname, header in headers.items():
        # In calacs's order, not the recipe's: a card that is new goes to the end of the header, and the order in
        # which a recipe names things must not change the bytes of a product.
        for switch, value in sorted(loaded.recipe.switches.items(), key=lambda pair: ORDER.index(pair[0])):
            why = _recipe_why(loaded, f"[switches] {switch}", "switches", switch)
            _set(header, names[rootname], "PRIMARY", switch, value, why)
    for index, override in enumerate(loaded.recipe.headers):
        matching = [rootname for rootname, header in headers.items() if _holds(override.where, header)]
        if not matching and headers:
            findings.append(
                Finding(
                    code="P101",
                    severity="warning",
                    message=f"[[headers]] no. {index + 1} fits no exposure: where = {_condition(override.where)}",
                    where=address(loaded, "headers", index),
                )
            )
        for rootname in matching:
            findings += _override(loaded, index, override, headers[rootname], names[rootname])
    return headers, tuple(dict.fromkeys(findings))


def _override(
    loaded: LoadedRecipe, index: int, override: HeaderOverride, header: Headers, file: str
) -> Iterable[Finding]:
    for keyword, new in override.set.items():
        where = address(loaded, "headers", index, "set", keyword)
        old = header.primary.get(keyword) if override.hdu == "PRIMARY" else header.merged().get(keyword)
        value, complaint = _as_type_of(old, new)
        if complaint:
            yield Finding(
                code="P102",
                severity="error",
                message=f"{keyword} = {new!r} is {complaint}, but the card in {file} holds {old!r}",
                where=where,
                hint=f"write {keyword} in the type that the header has",
            )
            continue
        earlier = [c for c in header.changes if c.keyword == keyword and c.hdu.split(",")[0] == override.hdu]
        if earlier and earlier[-1].new != value:
            yield Finding(
                code="P103",
                severity="warning",
                message=f"{keyword} of {file} is set twice; the later value {value!r} counts, not {earlier[-1].new!r}",
                where=where,
                hint=f"the earlier one is at {earlier[-1].why.where}",
            )
        why = _recipe_why(loaded, override.reason, "headers", index, "set", keyword)
        _set(header, file, override.hdu, keyword, value, why)


def _set(header: Headers, file: str, hdu: str, keyword: str, new: Value, why: Why) -> None:
    """Set a card in memory; record the change from the *delivered* value unless nothing changes."""
    places = (
        [("PRIMARY", header.primary)]
        if hdu == "PRIMARY"
        else [(f"SCI,{number}", cards) for number, cards in enumerate(header.science, 1)]
    )
    for name, cards in places:
        earlier = next((c for c in header.changes if (c.hdu, c.keyword) == (name, keyword)), None)
        old = earlier.old if earlier else cards.get(keyword)
        if earlier:
            header.changes.remove(earlier)
        cards[keyword] = new
        unchanged = _same(old, new) if keyword.endswith("CORR") else (type(old), old) == (type(new), new)
        if not unchanged:
            header.changes.append(HeaderChange(file=file, hdu=name, keyword=keyword, old=old, new=new, why=why))


def apply_references(
    loaded: LoadedRecipe,
    inventory: Inventory,
    exposure: Exposure,
    header: Headers,
    *,
    only: Collection[str] | None = None,
) -> tuple[Finding, ...]:
    """Set the reference keywords that CRDS chose, then those that the recipe overrides.

    Changes ``header`` in memory, as :func:`override_headers` does. ``only`` are the keywords that CRDS may
    change, of a file that was calibrated with the others before; then its CRDS_CTX stays, too.
    """
    findings: list[Finding] = []
    context = inventory.context
    overrides = loaded.recipe.references.override
    for keyword, choice in sorted(inventory.references.get(exposure.rootname, {}).items()):
        if keyword in overrides or (only is not None and keyword not in only):
            continue
        if choice.problem:
            findings.append(_complain(choice, exposure, header))
        if not choice.name:
            continue
        new = "N/A" if choice.name == "N/A" else f"jref${choice.name}"
        _refer(header, exposure, keyword, new, _crds_why(choice, context.name if context else ""))
    for keyword, path in sorted(overrides.items()):
        custom = inventory.custom.get(keyword)
        if custom is None:
            continue
        why = _recipe_why(loaded, f"[references.override] {keyword} = {path}", "references", "override", keyword)
        name = custom.path.rsplit("/", 1)[-1]
        _refer(header, exposure, keyword, f"jref${name}", why)
    if context and only is None:
        why = Why(kind="crds", text="the context that chose the references", context=context.name)
        _set(header, exposure.raw.path, "PRIMARY", "CRDS_CTX", context.name, why)
    return tuple(findings)


def _refer(header: Headers, exposure: Exposure, keyword: str, new: str, why: Why) -> None:
    old = header.primary.get(keyword)
    header.primary[keyword] = new
    header.held[keyword] = (new, why)
    if not same_reference(old, new):
        change = ReferenceChange(file=exposure.raw.path, keyword=keyword, old=old, new=new, why=why)
        header.references.append(change)


def held_references(headers: Iterable[tuple[Exposure, Headers]]) -> tuple[HeldReference, ...]:
    """Gather what the reference keywords of all exposures will say; equal ones of many exposures are one entry."""
    files: dict[tuple[str, str, str], list[str]] = {}
    reasons: dict[tuple[str, str, str], Why] = {}
    for exposure, header in headers:
        for keyword, (value, why) in header.held.items():
            key = (keyword, value, why.model_dump_json())
            files.setdefault(key, []).append(exposure.raw.path)
            reasons[key] = why
    return tuple(
        HeldReference(keyword=keyword, value=value, why=reasons[keyword, value, why], files=tuple(some))
        for (keyword, value, why), some in sorted(files.items())
    )


def same_reference(old: Value, new: Value) -> bool:
    """Compare two reference values: case, and the name of the IRAF variable, do not count.

    An absent or blank card and ``N/A`` are the same: nothing to read.
    """
    if not is_named(old) or not is_named(new):
        return is_named(old) == is_named(new)
    return bare_name(old).lower() == bare_name(new).lower()


def _complain(choice: ReferenceChoice, exposure: Exposure, header: Headers) -> Finding:
    """Say what CRDS complains of: an error where the reference can't be done without."""
    found = header.primary.get(choice.keyword)
    kept = f"; the header keeps {found!r}" if not choice.name and found is not None else ""
    combined = exposure.memtype.upper()[4:6] in ("CR", "RP")
    reason = required_references(header.primary, combined=combined).get(choice.keyword)
    needed = f"; it is needed: {reason}" if reason else ""
    hint = "mend what CRDS complains of in a [[headers]] block, or name a file of your own in [references.override]"
    return Finding(
        code="P201",
        severity="error" if reason else "warning",
        message=f"CRDS can't choose a {choice.keyword}: {choice.problem}{kept}{needed}",
        where=exposure.raw.path,
        hint=hint if reason else "",
    )


def _crds_why(choice: ReferenceChoice, context: str) -> Why:
    if choice.irrelevant:
        return Why(kind="irrelevant", text=f"not needed: {choice.irrelevant}", context=context, mapping=choice.mapping)
    matched = dict(choice.matched)
    rule = ", ".join(f"{keyword}={value}" for keyword, value in matched.items())
    after = f"USEAFTER {choice.useafter}" if choice.useafter else ""
    text = "; ".join(part for part in (choice.mapping, rule, after) if part)
    return Why(
        kind="crds", text=text, context=context, mapping=choice.mapping, useafter=choice.useafter, matched=matched
    )


def address(loaded: LoadedRecipe, *keys: str | int) -> str:
    """Give ``name.toml:line`` of a key; the plan must not depend on the folder it is made from."""
    where = loaded.where(*keys)
    name = where.file.rsplit("/", 1)[-1]
    return f"{name}:{where.line}" if where.line else name


def _recipe_why(loaded: LoadedRecipe, text: str, *keys: str | int) -> Why:
    return Why(kind="recipe", text=text, where=address(loaded, *keys))


def _holds(condition: Mapping[str, object], header: Headers) -> bool:
    found = header.merged()
    return all(
        any(_same(found.get(keyword), one) for one in (wanted if isinstance(wanted, (list, tuple)) else (wanted,)))
        for keyword, wanted in condition.items()
    )


def _condition(condition: Mapping[str, object]) -> str:
    return "{ " + ", ".join(f"{keyword} = {value!r}" for keyword, value in condition.items()) + " }"


def _same(old: object, new: object) -> bool:
    if isinstance(old, str) and isinstance(new, str):
        return old.strip().upper() == new.strip().upper()
    if isinstance(old, bool) or isinstance(new, bool):
        return old is new
    return old == new


def _as_type_of(old: Value, new: Value) -> tuple[Value, str]:
    """Fit a new value to the type of the card it replaces; say what it is where it can't be."""
    if old is None or type(old) is type(new):
        return new, ""
    if isinstance(old, float) and isinstance(new, int) and not isinstance(new, bool):
        return float(new), ""
    if isinstance(old, int) and not isinstance(old, bool) and isinstance(new, float) and new.is_integer():
        return int(new), ""
    kinds = {bool: "a logical", int: "an integer", float: "a number with a point", str: "text"}
    return new, kinds.get(type(new), "of another type")
