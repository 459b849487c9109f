"""What differs between two plans, as a person reads it: in a terminal, or as Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from acsrecipe.plan.compare import CardDifference, Comparison, PixelDifference, ReferenceDifference
from acsrecipe.plan.model import Scalar, Why
from acsrecipe.process import clean_text

MOST_FILES = 4

Line = tuple[str, str]
"""What differs, and why; both plain text."""


def render_comparison(comparison: Comparison) -> Group:
    """Lay out a comparison for a terminal of any width."""
    parts: list[RenderableType] = [_heading(comparison)]
    for title, lines in sections(comparison):
        parts += [Text(), Text(title, style="bold")]
        for what, why in lines:
            parts.append(Padding(Text(what), (0, 0, 0, 2), expand=False))
            if why:
                parts.append(Padding(Text(why, style="dim"), (0, 0, 0, 6), expand=False))
    parts += [Text(), Text(summary(comparison), style="bold")]
    return Group(*parts)


def to_markdown(comparison: Comparison) -> str:
    """Write a comparison as Markdown, one list a kind of difference."""
    text = [f"### `{_code(comparison.a)}` → `{_code(comparison.b)}`", "", summary(comparison)]
    for title, lines in sections(comparison):
        text += ["", f"**{title}**", ""]
        for what, why in lines:
            text.append(f"- `{_code(what)}`" + (f"  \n  {_escape(why)}" if why else ""))
    return "\n".join(text) + "\n"


def summary(comparison: Comparison) -> str:
    """Say in a sentence how much differs."""
    if comparison.empty:
        return "No differences."
    counts = [
        (len(comparison.exposures_only_in_a) + len(comparison.exposures_only_in_b), "exposure"),
        (len(comparison.inputs), "input"),
        (len(comparison.association), "association row"),
        (len(comparison.switches), "switch"),
        (len(comparison.headers), "header card"),
        (len(comparison.references), "reference"),
        (len(comparison.tasks), "task"),
        (len(comparison.pixels), "extension"),
    ]
    plural = {"switch": "switches"}
    found = [f"{count} {noun if count == 1 else plural.get(noun, noun + 's')}" for count, noun in counts if count]
    if not found:
        return "No header, reference or task differs; see above."
    one = len(found) == 1 and found[0].startswith("1 ")
    return f"{', '.join(found)} differ{'s' if one else ''}."


def sections(comparison: Comparison) -> list[tuple[str, list[Line]]]:
    """Give the differences as titled lines of plain text; kinds without any are left out."""
    both = [("only in A", comparison.exposures_only_in_a), ("only in B", comparison.exposures_only_in_b)]
    exposures = [(f"{name} {side}", "") for side, names in both for name in names]
    named = [
        (f"{one.name}: {_short(one.a) or '(none)'} -> {_short(one.b) or '(none)'}", "") for one in comparison.basics
    ]
    inputs = [(f"{one.name}: {_short(one.a)} -> {_short(one.b)}", "") for one in comparison.inputs]
    rows = []
    for row in comparison.association:
        now = "dropped" if row.kept_in == "a" else "kept"
        rows.append((f"{row.association} row {row.row}: {row.memname} {row.memtype} {now}", ""))
    states = {"again": "would be done again", "only in a": "only in A", "only in b": "only in B"}
    tasks = [(f"{one.id} {states[one.state]}", one.why if one.state == "again" else "") for one in comparison.tasks]
    findings = _findings(comparison)
    every = [
        ("Basics", named),
        ("Exposures", exposures),
        ("Inputs whose content differs", inputs),
        ("Association", rows),
        ("Switches", [_card(one) for one in comparison.switches]),
        ("Header cards", [_card(one) for one in comparison.headers]),
        ("References", [_reference(one) for one in comparison.references]),
        ("Tasks", tasks),
        ("Findings", findings),
        ("Pixels", [_pixels(one) for one in comparison.pixels]),
    ]
    return [(title, [(clean_text(a), clean_text(b)) for a, b in lines]) for title, lines in every if lines]


def _findings(comparison: Comparison) -> list[Line]:
    """Write findings, those of one code and side together: a context may lack many files for one reason."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in comparison.findings:
        side = "only in A" if one.only_in == "a" else "only in B"
        groups.setdefault((side, one.severity, one.code), []).append(one.text)
    return [
        (f"{side}: {severity} {code} {texts[0]}", f"and {len(texts) - 1} more of {code}" if len(texts) > 1 else "")
        for (side, severity, code), texts in groups.items()
    ]


def _heading(comparison: Comparison) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("A", style="bold red"), Text(clean_text(comparison.a)))
    grid.add_row(Text("B", style="bold green"), Text(clean_text(comparison.b)))
    return grid


def _card(one: CardDifference) -> Line:
    name = one.keyword if one.hdu == "PRIMARY" else f"{one.hdu} {one.keyword}"
    sides = [_because("A", one.why_a), _because("B", one.why_b)]
    return f"{name}: {_show(one.a)} -> {_show(one.b)}{_of(one.files)}", "; ".join(side for side in sides if side)


def _reference(one: ReferenceDifference) -> Line:
    effect = f"; {one.effect}" if one.effect else ""
    return f"{one.keyword}: {_show(one.a)} -> {_show(one.b)}{_of(one.files)}", f"{one.reason}{effect}"


def _because(side: str, why: Why | None) -> str:
    if why is None:
        return f"{side}: as delivered"
    return f"{side}: {f'{why.where} ' if why.where else ''}{why.text}"


def _pixels(one: PixelDifference) -> Line:
    if one.note:
        return f"{one.file} {one.hdu}: {one.note}", ""
    x0, x1, y0, y1 = one.box
    share = 100 * one.differing / max(one.pixels, 1)
    how = (
        f"largest difference {one.largest:.6g}, median {one.median:.6g}"
        if one.largest is not None and one.median is not None
        else "not numbers on one side"
    )
    return (
        f"{one.file} {one.hdu}: {one.differing} of {one.pixels} pixels differ ({share:.3g} %)",
        f"in x {x0} to {x1 - 1}, y {y0} to {y1 - 1}; {how}",
    )


def _of(files: Sequence[str]) -> str:
    names = list(dict.fromkeys(name.partition("_")[0] for name in files))
    if len(names) > MOST_FILES:
        return f"  ({len(names)} exposures)"
    return f"  ({', '.join(names)})"


def _show(value: Scalar) -> str:
    if value is None:
        return "(absent)"
    if isinstance(value, bool):
        return "T" if value else "F"
    return str(value).removeprefix("jref$")


def _short(value: str) -> str:
    words = value.split(" ")
    return " ".join(f"{word[:12]}..." if len(word) >= 40 else word for word in words)


def _escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|" else letter for letter in text)


def _code(text: str) -> str:
    return text.replace("`", "'")
