"""``acsrecipe explain``: what a keyword, a code or an exit status means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

import typer

from acsrecipe.cli.terminal import write
from acsrecipe.errors import UsageError
from acsrecipe.recipe.cards import did_you_mean


def explain(
    topics: Annotated[
        list[str],
        typer.Argument(help="A keyword (PCTECORR), a code (P207), or an exit status (8).", metavar="TOPIC..."),
    ],
) -> None:
    """Say what a header keyword, a code of a message, or an exit status means.

    Example: `acsrecipe explain PCTECORR P207 8`
    """
    texts = []
    for topic in topics:
        lines = list(_explain(topic.strip().upper()))
        if not lines:
            msg = f"there is nothing to explain {topic!r} by"
            raise UsageError(msg, hint=_near(topic.strip().upper()))
        texts.append("\n".join(lines))
    write("\n\n".join(texts) + "\n")


def _explain(topic: str) -> Iterator[str]:
    from acsrecipe.explanations import CODES, EXITS, FAMILIES

    if topic in CODES:
        yield f"{topic}: {CODES[topic]}"
        yield f"{topic[0]} is for {FAMILIES[topic[0]]}."
    elif topic.isdigit() and int(topic) in EXITS:
        yield f"Exit status {topic}: {EXITS[int(topic)]}."
    else:
        yield from _keyword(topic)


def _keyword(name: str) -> Iterator[str]:
    from acsrecipe.plan.needs import CCD_ALWAYS, OPTIONAL_BY_SWITCH, READ_BY_SWITCH
    from acsrecipe.recipe.keywords import (
        IDENTITY,
        KEYWORDS,
        LONGEST,
        MATCHING,
        OBSOLETE_REFERENCES,
        REFERENCES,
        STRUCTURAL,
        SWITCHES,
    )

    if name in SWITCHES:
        yield f"{name} (calibration switch): {SWITCHES[name]}."
        reads = [*READ_BY_SWITCH.get(name, ()), *(f"{one} (where named)" for one in OPTIONAL_BY_SWITCH.get(name, ()))]
        if reads:
            yield f"PERFORM reads {', '.join(reads)}."
        yield f'In a recipe: [switches] {name} = "PERFORM" or "OMIT". It is set before CRDS is asked.'
        return
    if name in REFERENCES:
        yield f"{name} (reference file): {REFERENCES[name]}."
        by = [switch for switch, files in READ_BY_SWITCH.items() if name in files]
        by += [f"{switch} where it is named" for switch, files in OPTIONAL_BY_SWITCH.items() if name in files]
        if name in CCD_ALWAYS:
            yield "Read for every CCD exposure."
        elif by:
            yield f"Read by {', '.join(by)}."
        yield f'In a recipe: [references.override] {name} = "refs/file.fits", set after CRDS has chosen.'
        return
    if name in OBSOLETE_REFERENCES:
        yield f"{name}: in old headers, and read by nothing today; photometry is in IMPHTTAB."
        return
    homes = [(hdu, names[name]) for hdu, names in KEYWORDS.items() if name in names]
    for hdu, kind in homes:
        words = {"bool": "a logical", "int": "a whole number", "float": "a number", "str": "text"}[kind]
        limit = f", at most {LONGEST[name]} characters" if name in LONGEST else ""
        yield f"{name}: {words} in the {'primary header' if hdu == 'PRIMARY' else 'SCI headers'}{limit}."
    if name in STRUCTURAL:
        yield f"{name} says how the file is built: a recipe can't set it."
    elif name in IDENTITY:
        yield f"{name} says which file this is: a recipe can't set it."
    elif name in MATCHING:
        yield "CRDS chooses references by it: a recipe sets it only with changes_match = true."
    elif homes:
        block = '[[headers]] hdu = "SCI",' if homes[0][0] == "SCI" else "[[headers]]"
        yield f"In a recipe: {block} set = {{ {name} = ... }}, with a reason."


def _near(topic: str) -> str:
    from acsrecipe.explanations import CODES, FAMILIES
    from acsrecipe.recipe.keywords import KEYWORDS, REFERENCES, SWITCHES

    if re.fullmatch(r"[A-Z]\d{1,3}", topic):
        known = sorted(code for code in CODES if code[0] == topic[0])
        if known:
            return f"codes of {topic[0]} ({FAMILIES[topic[0]]}): {', '.join(known)}"
    names = [*SWITCHES, *REFERENCES, *(name for keywords in KEYWORDS.values() for name in keywords)]
    return did_you_mean(topic, names) or "a header keyword of ACS, a code such as P207, or an exit status"
