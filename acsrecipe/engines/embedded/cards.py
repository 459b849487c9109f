"""Header cards, edited in place the way HSTIO edits them.

A header is a list of 80-character cards without the structural ones, which are written anew. calacs keeps
every other card where it was, rewrites a value inside its columns, and appends what is new after the last
card that is not blank; formats are those of HSTIO's keyword routines (``%#14.7E``, ``%#20.12E``, ``%12d``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from acsrecipe.errors import EngineError

Cards = list[str]

CARD = 80
BLOCK = 2880

_RESERVED = re.compile(
    r"BITPIX  |BSCALE  |BZERO   |DATAMAX |DATAMIN |DATATYPE|DATE    |EXTEND  |GCOUNT  |GROUPS  |NAXIS   |NAXIS\d "
    r"|ORIGIN  |PCOUNT  |PDTYPE\d |PSIZE   |PSIZE\d |PTYPE\d |SIMPLE  |XTENSION"
)
_BOILERPLATE = (
    "COMMENT   FITS (Flexible Image Transport System) format is defined in 'Astronomy",
    "COMMENT   and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H ",
)


def is_structural(card: str) -> bool:
    """Whether a card describes the HDU's structure, and so is written anew rather than copied."""
    return bool(_RESERVED.match(card)) or any(card[:79] == line[:79] for line in _BOILERPLATE)


def copied(cards: Iterable[str]) -> Cards:
    """Give the cards that a product copies from its input."""
    return [card for card in cards if not is_structural(card)]


def find(cards: Cards, keyword: str) -> int:
    """Give the index of the first card of that keyword, or -1."""
    start = f"{keyword:8}"
    return next((index for index, card in enumerate(cards) if card[:8] == start), -1)


def _split(card: str) -> tuple[str, str]:
    """Give a card's value text and its comment."""
    if card[8:9] != "=":
        return "", card[8:].strip()
    body = card[10:]
    text = body.lstrip(" ")
    start = len(body) - len(text)
    if text.startswith("'"):
        end = start + 1
        while True:
            end = body.find("'", end)
            if end < 0:
                return body, ""
            if body[end + 1 : end + 2] != "'":
                break
            end += 2
        value, rest = body[start : end + 1], body[end + 1 :]
    else:
        value, _, _ = text.partition("/")
        value = value.rstrip()
        rest = body[start + len(value) :]
    rest = rest.lstrip(" ")
    if rest.startswith("/"):
        rest = rest[1:].lstrip(" ")
    return value, rest.rstrip(" ")


def text(cards: Cards, keyword: str, default: str | None = None, *, where: str = "") -> str:
    """Read a text value without its trailing blanks; a number is given as it is spelt.

    Raises
    ------
    EngineError
        When the card is absent and there is no default.
    """
    index = find(cards, keyword)
    if index < 0:
        if default is None:
            raise _missing(keyword, where)
        return default
    value, _ = _split(cards[index])
    if value.startswith("'"):
        return value[1:-1].replace("''", "'").rstrip()
    return value.strip()


def number(cards: Cards, keyword: str, default: float | None = None, *, where: str = "") -> float:
    """Read a number; raises EngineError when absent without default, or when it is not one."""
    index = find(cards, keyword)
    if index < 0:
        if default is None:
            raise _missing(keyword, where)
        return default
    value, _ = _split(cards[index])
    try:
        return float(value.replace("D", "E").replace("d", "e"))
    except ValueError:
        message = f"{keyword} is {value.strip() or 'empty'}, expected a number"
        raise EngineError(message, where=where or None) from None


def integer(cards: Cards, keyword: str, default: int | None = None, *, where: str = "") -> int:
    """Read an integer; ``2.0`` is one, ``2.5`` is an EngineError."""
    value = number(cards, keyword, default, where=where)
    if value != int(value):
        message = f"{keyword} is {value}, expected a whole number"
        raise EngineError(message, where=where or None)
    return int(value)


def truth(cards: Cards, keyword: str, *, where: str = "") -> bool:
    """Read a logical value, T or F; absent or anything else is an EngineError."""
    value = text(cards, keyword, where=where)
    if value[:1] not in ("T", "F"):
        message = f"{keyword} is {value}, expected T or F"
        raise EngineError(message, where=where or None)
    return value[0] == "T"


def _missing(keyword: str, where: str) -> EngineError:
    return EngineError(
        f"keyword {keyword} is missing, and calibration can't go on without it",
        where=where or None,
        hint=f"give it in the recipe's [[headers]]: set = {{ {keyword} = ... }}",
    )


def _append(cards: Cards, card: str) -> None:
    last = len(cards)
    while last and not cards[last - 1].strip():
        last -= 1
    if last < len(cards):
        cards[last] = card
    else:
        cards.append(card)


def _commented(start: str, comment: str) -> str:
    start = start.ljust(30)
    if len(start) > CARD - 3:
        return start.ljust(CARD)[:CARD]
    return f"{start} / {comment}".ljust(CARD)[:CARD]


def put_text(cards: Cards, keyword: str, value: str, comment: str = "") -> None:
    """Write a text value; an existing card keeps its comment, a new one gets ``comment``."""
    quoted = value.replace("'", "''")[:68]
    start = f"{keyword:8}= '{quoted:8}'"
    index = find(cards, keyword)
    if index < 0:
        _append(cards, _commented(start, comment))
    else:
        cards[index] = _commented(start, _split(cards[index])[1])


def _put_number(cards: Cards, keyword: str, spelt: str, comment: str) -> None:
    index = find(cards, keyword)
    if index < 0:
        _append(cards, _commented(f"{keyword:8}= {spelt:>20}", comment))
    else:
        card = cards[index]
        cards[index] = f"{card[:10]}{spelt:>20} {card[31:]}"


def put_float(cards: Cards, keyword: str, value: float, comment: str = "") -> None:
    """Write a value, rounded to single precision, with eight significant digits."""
    _put_number(cards, keyword, f"{float(np.float32(value)):#14.7E}", comment)


def put_double(cards: Cards, keyword: str, value: float, comment: str = "") -> None:
    """Write a double-precision value, thirteen significant digits."""
    _put_number(cards, keyword, f"{value:#20.12E}", comment)


def put_integer(cards: Cards, keyword: str, value: int, comment: str = "") -> None:
    """Write an integer."""
    _put_number(cards, keyword, f"{value:12d}", comment)


def put_truth(cards: Cards, keyword: str, value: bool, comment: str = "") -> None:
    """Write a logical value."""
    index = find(cards, keyword)
    letter = "T" if value else "F"
    if index < 0:
        _append(cards, _commented(f"{keyword:8}= {letter:>20}", comment))
    else:
        cards[index] = f"{cards[index][:10]}{letter:>20}{cards[index][30:]}"


def put_comment(cards: Cards, keyword: str, comment: str) -> None:
    """Replace the comment of a card that is there."""
    index = find(cards, keyword)
    value, _ = _split(cards[index])
    end = cards[index].index(value, 10) + len(value)
    cards[index] = _commented(cards[index][:end], comment)


def add_history(cards: Cards, line: str) -> None:
    """Append HISTORY cards, 72 characters each."""
    for start in range(0, max(len(line), 1), 72):
        _append(cards, f"HISTORY {line[start : start + 72]}".ljust(CARD))


def remove(cards: Cards, keyword: str) -> None:
    """Delete the first card of that keyword, if there is one."""
    index = find(cards, keyword)
    if index >= 0:
        del cards[index]


def describe_constant(cards: Cards, value: float | int | None, shape: tuple[int, int]) -> None:
    """Write the cards that stand for a constant plane of that shape (ny, nx), or remove them (None).

    HSTIO stores no pixels for an error or quality plane whose pixels are all equal.
    """
    if value is None:
        for keyword in ("PIXVALUE", "NPIX1", "NPIX2"):
            remove(cards, keyword)
        return
    comment = "values of pixels in constant array"
    if isinstance(value, int):
        put_integer(cards, "PIXVALUE", value, comment)
    else:
        put_float(cards, "PIXVALUE", value, comment)
    put_integer(cards, "NPIX1", shape[1], "length of constant array axis 1")
    put_integer(cards, "NPIX2", shape[0], "length of constant array axis 2")


def insert_first(cards: Cards, keyword: str, spelt: str, comment: str) -> None:
    """Put a new card at the head of a header."""
    cards.insert(0, _commented(f"{keyword:8}= {spelt}", comment))


def shift_origin(cards: Cards, x: int, y: int) -> None:
    """Move LTV and CRPIX when ``x`` columns and ``y`` lines are cut from the start of an image."""
    for axis, cut in (("1", x), ("2", y)):
        if find(cards, f"LTV{axis}") >= 0:
            put_float(cards, f"LTV{axis}", number(cards, f"LTV{axis}") - cut)
    for axis, cut in (("1", x), ("2", y)):
        if find(cards, f"CRPIX{axis}") >= 0:
            put_double(cards, f"CRPIX{axis}", number(cards, f"CRPIX{axis}") - cut)


def to_block(structure: Iterable[str], cards: Cards) -> bytes:
    """Write a header unit: structural cards, the copied ones, END, blanks to a whole block."""

    def written() -> Iterator[str]:
        yield from structure
        started = False
        for card in cards:
            started = started or bool(card.strip())
            if started and not is_structural(card):
                yield card
        yield "END"

    block = "".join(card.ljust(CARD) for card in written()).encode("latin-1")
    return block.ljust(-(-len(block) // BLOCK) * BLOCK)
