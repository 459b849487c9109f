"""One CRDS context's rules for ACS: the best reference of each type for an exposure, and why.

The choice is always that of the crds package itself; the explanation follows its selectors a second
time and is dropped where it would end elsewhere. Only the .pmap, the ACS .imap and its .rmap files are
read, from absolute paths, so that CRDS's environment variables do not matter here.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from acsrecipe.errors import ArchiveError
from acsrecipe.inputs.crds_cache import (
    MAPPING_NAME,
    REFERENCE_NAME,
    CrdsCache,
    identify,
    mapping_sha1,
    verify_mapping,
)
from acsrecipe.inputs.model import Context, FileIdentity, HduHeader, Observed, ReferenceChoice, Value

INSTRUMENT = "acs"


def merge_headers(hdus: Iterable[HduHeader]) -> dict[str, Value]:
    """Give one header of a file the way CRDS reads it: of each keyword the first value found, HDU by HDU.

    NAXIS1, LTV1 or CCDCHIP are then those of the first SCI extension.
    """
    merged: dict[str, Value] = {}
    for hdu in hdus:
        for keyword, value in hdu.cards.items():
            merged.setdefault(keyword, value)
    return merged


@dataclass(frozen=True)
class Rules:
    """The ACS rules of one context; make it with :func:`acsrecipe.inputs.references.open_rules`.

    Attributes
    ----------
    context : Context
    cache : CrdsCache
    observed : tuple of Observed
        What the user should know of the context as a whole: rules on CRDS's list of bad files.
    """

    context: Context
    cache: CrdsCache
    observed: tuple[Observed, ...]
    _pipeline: Any = field(repr=False)
    _files: dict[str, FileIdentity | None] = field(default_factory=dict, repr=False)

    @cached_property
    def keywords(self) -> tuple[str, ...]:
        """Every reference keyword that the context knows for ACS."""
        return tuple(sorted(kind.upper() for kind in self._instrument.selections))

    @cached_property
    def _instrument(self) -> Any:
        return self._pipeline.get_imap(INSTRUMENT)

    @cached_property
    def _parameters(self) -> frozenset[str]:
        """The header keywords that bear on any choice.

        A type's rule may look at keywords of other types (D2IMFILE's at DETECTOR), so these are always all.
        """
        rules = self._instrument.selections.normal_values()
        return frozenset(name for one in rules for name in one.get_required_parkeys()) | {"INSTRUME"}

    def choose(self, header: Mapping[str, Value], keywords: Iterable[str] | None = None) -> dict[str, ReferenceChoice]:
        """Choose the best reference of each type for one exposure.

        Parameters
        ----------
        header : mapping
            The exposure's cards by keyword, merged as :func:`merge_headers` does, *after* the recipe's
            switches and overrides: the choice depends on them.
        keywords : iterable of str, optional
            Reference keywords wanted; all that the context knows where None.

        Returns
        -------
        dict
            By reference keyword. A type that CRDS leaves alone for this exposure is not in it. ``name``
            is ``N/A`` also where no rule matches (that is what CRDS then writes), and ``problem``
            says so; it is empty where CRDS failed, and the header keeps what it has.

        Raises
        ------
        ArchiveError
            Where the header is not one of ACS.
        """
        instrument = str(header.get("INSTRUME") or "").strip()
        if instrument.upper() != INSTRUMENT.upper():
            msg = f"INSTRUME is {instrument or 'missing'}, expected ACS"
            raise ArchiveError(
                msg,
                where=str(header.get("ROOTNAME", "")),
                code="C008",
            )
        wanted = self.keywords if keywords is None else [one.upper() for one in keywords]
        parameters = self._matching(header)
        choices = {keyword: self._choose(keyword, parameters) for keyword in wanted}
        return {keyword: choice for keyword, choice in choices.items() if choice is not None}

    def _matching(self, header: Mapping[str, Value]) -> dict[str, str]:
        """Write the parameters as CRDS compares them: its own conditioning of its own minimal header."""
        from crds.core import utils

        # A card without a value is not a value to match: CRDS would take the text of astropy's marker.
        found = {name: header[name] for name in self._parameters if header.get(name) is not None}
        minimal = self._pipeline.minimize_header(utils.condition_header(found))
        return {str(name): str(value) for name, value in minimal.items()}

    def _choose(self, keyword: str, parameters: dict[str, str]) -> ReferenceChoice | None:
        kind = keyword.lower()
        if kind not in self._instrument.selections:
            return ReferenceChoice(keyword, "", problem=f"{self._instrument.basename} knows no such reference type")
        with listen() as heard:
            answer = self._instrument.get_best_references(parameters, include=[kind]).get(kind)
            if answer is None:
                return None
            rules = self._instrument.selections[kind]
            if isinstance(rules, str):
                return ReferenceChoice(
                    keyword, "N/A", mapping=self._instrument.basename, irrelevant=f"the context says {rules} for ACS"
                )
            choice = self._explain(keyword, str(answer), rules, parameters)
        if heard:
            problem = "; ".join(part for part in (choice.problem, *heard) if part)
            choice = replace(choice, problem=problem)
        return choice

    def _explain(self, keyword: str, answer: str, rules: Any, parameters: dict[str, str]) -> ReferenceChoice:
        mapping = rules.basename
        lowered = answer.lower()
        if lowered.startswith("not found n/a"):
            why = explain_irrelevance(rules, parameters)
            return ReferenceChoice(keyword, "N/A", mapping=mapping, irrelevant=why)
        if lowered == "not found no match found.":
            given = ", ".join(
                f"{name} = {parameters[name]}"
                for name in _flat(rules.parkey)
                if parameters.get(name, "") not in ("", "UNDEFINED")
            )
            return ReferenceChoice(keyword, "N/A", mapping=mapping, problem=f"no rule matches {given}")
        if lowered.startswith("not found"):
            problem = f"CRDS could not choose: {answer[len('not found') :].strip()}"
            return ReferenceChoice(keyword, "", mapping=mapping, problem=problem)
        if not REFERENCE_NAME.fullmatch(lowered):
            problem = f"{mapping} names {answer[:80]!r}, which is not the plain name of a FITS file"
            return ReferenceChoice(keyword, "", mapping=mapping, problem=problem)
        matched, useafter = follow(rules, parameters, answer)
        return ReferenceChoice(
            keyword,
            lowered,
            file=self._identify(lowered),
            mapping=mapping,
            useafter=useafter,
            matched=matched,
            problem=self._complaint(lowered),
        )

    def _identify(self, name: str) -> FileIdentity | None:
        if name not in self._files:
            self._files[name] = identify(self.cache, name)
        return self._files[name]

    def _complaint(self, name: str) -> str:
        problems = []
        if name in self.cache.bad_files:
            problems.append(f"CRDS lists {name} as bad: scientifically invalid")
        file = self._identify(name)
        if file is not None:
            with contextlib.suppress(OSError):
                size = Path(file.path).stat().st_size
                if size != file.size:
                    problems.append(f"{name} in the cache has {size} bytes, expected {file.size}")
        return "; ".join(problems)


def load_rules(cache: CrdsCache, context: Context) -> Rules:
    """Load the ACS rules of a context, each file's checksum verified before its content is looked at.

    Parameters
    ----------
    cache : CrdsCache
    context : Context
        Its ``mappings`` is filled in.

    Raises
    ------
    ArchiveError
        Where a .pmap, .imap or .rmap file is missing or is not what its checksum says.
    """
    with listen():
        from crds.core import rmap
    kinds = {".pmap": rmap.PipelineContext, ".imap": rmap.InstrumentContext, ".rmap": rmap.ReferenceMapping}
    loaded: dict[str, str] = {}

    def load(name: str, **_: object) -> Any:
        # CRDS calls this for each mapping that another names, on first use.
        text, loaded[name] = _read_mapping(cache, name)
        try:
            return kinds[Path(name).suffix].from_string(text, name, loader=load, ignore_checksum=True)
        except Exception as error:
            raise _broken(cache, name, " ".join(str(error).split())) from error

    with listen():
        pipeline = load(context.name)
        instrument = pipeline.selector.get(INSTRUMENT.upper(), "")
        if not str(instrument).endswith(".imap"):
            raise _broken(cache, context.name, f"it says {instrument or 'nothing'!r} for ACS, not the name of an .imap")
        pipeline.get_imap(INSTRUMENT).selections.values()
    bad = sorted(loaded.keys() & cache.bad_files)
    observed = tuple(
        Observed("C010", "warning", f"CRDS lists {one} as bad: scientifically invalid", file=context.name)
        for one in bad
    )
    return Rules(replace(context, mappings=loaded), cache, observed, pipeline)


def _read_mapping(cache: CrdsCache, name: str) -> tuple[str, str]:
    """Give a mapping's text and the sha1 that it carries (of all lines but that one), both found right."""
    if not MAPPING_NAME.fullmatch(name):
        raise _broken(cache, "context", f"it names {name[:80]!r}, which is not the plain name of a mapping")
    try:
        content = cache.mapping_path(name).read_bytes()
    except OSError as error:
        msg = f"{name} is not in the CRDS cache {cache.root}"
        hint = "offline and serverless it has to be in the cache; with a CRDS server it is fetched"
        raise ArchiveError(msg, hint=hint, code="C002") from error
    wrong = verify_mapping(content)
    if wrong:
        raise _broken(cache, name, f"it {wrong}")
    known = cache.catalogue.get(name)
    whole = hashlib.sha1(content, usedforsecurity=False).hexdigest()
    if known and known.sha1 and known.sha1 != whole:
        raise _broken(cache, name, f"it has sha1 {whole}, CRDS's catalogue says {known.sha1}")
    try:
        return content.decode(), mapping_sha1(content)
    except UnicodeDecodeError as error:
        raise _broken(cache, name, "it is not text") from error


def _broken(cache: CrdsCache, name: str, what: str) -> ArchiveError:
    return ArchiveError(
        f"the CRDS cache has a broken {name}: {what}",
        where=str(cache.mapping_path(name)) if MAPPING_NAME.fullmatch(name) else str(cache.mappings_folder),
        hint="remove the file and let a CRDS server send it again",
        code="C003",
    )


@contextlib.contextmanager
def listen() -> Iterator[list[str]]:
    """Keep what crds logs from the terminal, and give its warnings and errors instead."""
    heard: list[str] = []

    class _Ear(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            if record.levelno >= logging.WARNING:
                heard.append(" ".join(record.getMessage().split()))
            return False

    ear = _Ear()
    logger = logging.getLogger("CRDS")
    logger.addFilter(ear)
    try:
        yield heard
    finally:
        logger.removeFilter(ear)


def follow(rules: Any, parameters: Mapping[str, str], answer: str) -> tuple[dict[str, str], str]:
    """Find which rule of an .rmap gave an answer.

    Returns
    -------
    dict, str
        The rule's parameters that count (those of value N/A do not) with the rule's values, and its
        USEAFTER. Both are empty where CRDS's selectors were followed to another answer.
    """
    hooked = rules._precondition_header
    try:
        header = rules.map_irrelevant_parkeys_to_na(hooked(rules, dict(parameters)))
        try:
            choice, trail = _walk(rules.selector, header)
        except Exception:
            # CRDS tries a second, more general header where it has one: so do we.
            second = rules._fallback_header(rules, dict(parameters))
            if not second:
                return {}, ""
            header = rules.map_irrelevant_parkeys_to_na(rules.minimize_header(second))
            choice, trail = _walk(rules.selector, header)
    except Exception:
        return {}, ""
    if choice != answer:
        return {}, ""
    matched: dict[str, str] = {}
    useafter = ""
    for names, key in trail:
        if isinstance(key, tuple):
            values = key[0] if key and isinstance(key[0], tuple) else key
            matched |= {str(name): str(value) for name, value in zip(names, values, strict=False) if value != "N/A"}
        else:
            useafter = str(key)
    return matched, useafter


def _walk(selector: Any, header: dict[str, str]) -> tuple[str, list[tuple[tuple[str, ...], Any]]]:
    """Descend CRDS's selectors as their own ``choose`` does, keeping the keys on the way."""
    from crds.core import exceptions, selectors

    selector._check_defined(header)
    for selection in selector.get_selection(selector._validate_header(header)):
        key, choice = selection[0], selection[1]
        step = (tuple(selector._parameters), key)
        if not isinstance(choice, selectors.Selector):
            return str(choice), [step]
        try:
            found, rest = _walk(choice, header)
        except exceptions.CrdsLookupError:
            continue
        return found, [step, *rest]
    msg = "nothing matches"
    raise exceptions.CrdsLookupError(msg)


def _flat(parkey: Iterable[Any]) -> list[str]:
    return [str(name) for group in parkey for name in (group if isinstance(group, (tuple, list)) else (group,))]


def explain_irrelevance(rules: Any, parameters: Mapping[str, str]) -> str:
    """Say readably why a reference type does not apply, e.g. ``PCTECORR = OMIT``."""
    expression = str(rules.header.get("rmap_relevance", "always"))
    if expression.lower() != "always":
        try:
            unmet = _unmet(ast.parse(expression, mode="eval").body, parameters)
        except (ValueError, SyntaxError):
            return f"not {expression}"
        if unmet:
            return ", ".join(dict.fromkeys(unmet))
    given = ", ".join(f"{name} = {parameters.get(name)}" for name in _flat(rules.parkey)[:1])
    return f"no rule asks for it where {given}" if given else "no rule asks for it"


def _unmet(node: ast.expr, parameters: Mapping[str, str]) -> list[str]:
    """List the comparisons that make an expression false; empty where it is true."""
    if isinstance(node, ast.BoolOp):
        parts = [_unmet(value, parameters) for value in node.values]
        if isinstance(node.op, ast.Or) and not all(parts):
            return []
        return [one for part in parts for one in part]
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.left, ast.Name):
        name, wanted = node.left.id, ast.literal_eval(node.comparators[0])
        found = parameters.get(name, "UNDEFINED")
        holds = _compare(node.ops[0], found, wanted)
        return [] if holds else [f"{name} = {found}" if found != "UNDEFINED" else f"{name} is not given"]
    raise ValueError(ast.unparse(node))


def _compare(operator: ast.cmpop, found: str, wanted: Any) -> bool:
    if isinstance(operator, ast.Eq):
        return bool(found == wanted)
    if isinstance(operator, ast.NotEq):
        return bool(found != wanted)
    if isinstance(operator, ast.In):
        return found in wanted
    if isinstance(operator, ast.NotIn):
        return found not in wanted
    raise ValueError(type(operator).__name__)
