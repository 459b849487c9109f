"""Single cards of a FITS header: what they say, and how to write them.

The rules are those of the FITS standard 4.0, sections 4.1 and 4.2. A card is always 80 bytes. No card is
ever written that calacs could not read: no CONTINUE, no HIERARCH.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from acsrecipe.errors import PlanError
from acsrecipe.inputs.model import Value

CARD = 80
BLOCK = 2880
CARDS_PER_BLOCK = BLOCK // CARD
LONGEST_TEXT = 68
"""Characters of a text value between its quotes, an inner quote counting twice."""

COMMENTARY = frozenset({"", "COMMENT", "HISTORY", "CONTINUE", "HIERARCH", "END"})
"""Cards of these names have no value that could be read or set."""

_INT = re.compile(r"[+-]?\d+", re.ASCII)
_FLOAT = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[EeDd][+-]?\d+)?", re.ASCII)
_TEXT = re.compile(r" *'(?:[^']|'')*'")
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}", re.ASCII)
_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|PCOUNT|GCOUNT|GROUPS|TFIELDS|THEAP|T(?:FORM|TYPE|DIM|SCAL|ZERO)\d+"
    r"|BSCALE|BZERO|BLOCKED|CHECKSUM|DATASUM|Z(?:IMAGE|TABLE|CMPTYPE|BITPIX|NAXIS\d*|TENSION|SIMPLE)",
    re.ASCII,
)


def keyword_of(card: bytes) -> str:
    """Give a card's keyword, in upper case and without blanks; empty for a blank card."""
    return card[:8].decode("ascii", "replace").rstrip().upper()


def split_card(card: bytes) -> tuple[str, int]:
    """Split a value card into the text of its value field and the column of the comment's ``/``.

    Returns
    -------
    tuple of (str, int)
        The value field from column 11 up to the comment, stripped; and the index of the ``/``, or 80
        where there is no comment.
    """
    text = card.decode("ascii", "replace")
    quoted = _TEXT.match(text, 10)
    slash = text.find("/", quoted.end() if quoted else 10)
    slash = CARD if slash < 0 else slash
    return text[10:slash].strip(), slash


def has_value(card: bytes) -> bool:
    """Tell whether a card has the value indicator ``= `` in columns 9 and 10, and a keyword of its own."""
    return card[8:10] == b"= " and keyword_of(card) not in COMMENTARY


def parse_value(field: str) -> Value:
    """Read a value field: text, logical, integer, real (E or D); None where it is empty.

    What is none of these (a complex number, a number too large for a double) is given as its text.
    """
    if not field:
        return None
    if field[0] == "'":
        end = len(field) - 1 if len(field) > 1 and field[-1] == "'" else len(field)
        return field[1:end].replace("''", "'").rstrip()
    if field in ("T", "F"):
        return field == "T"
    if _INT.fullmatch(field):
        return int(field)
    if _FLOAT.fullmatch(field):
        number = float(field.upper().replace("D", "E"))
        if math.isfinite(number):
            return number
    return field


def read_cards(cards: Sequence[bytes]) -> dict[str, Value]:
    """Read the values of a header's cards; of a repeated keyword the first counts.

    A text that goes on in CONTINUE cards is given whole (calacs itself would stop at its first card).
    """
    values: dict[str, Value] = {}
    for number, card in enumerate(cards):
        if card[8:10] != b"= ":
            continue
        keyword = keyword_of(card)
        if keyword in COMMENTARY or keyword in values:
            continue
        value = parse_value(split_card(card)[0])
        for more in range(number + 1, number + 1 + continuations(cards, number)):
            assert isinstance(value, str)  # noqa: S101  # for mypy: only a text is continued
            value = value[:-1] + str(parse_value(split_card(cards[more])[0]) or "")
        values[keyword] = value
    return values


def continuations(cards: Sequence[bytes], number: int) -> int:
    """Count the CONTINUE cards that carry on the text of card ``number``."""
    count = 0
    while True:
        field = split_card(cards[number + count])[0]
        if not (field.startswith("'") and field.endswith("&'")) or number + count + 1 >= len(cards):
            return count
        if cards[number + count + 1][:10] != b"CONTINUE  ":
            return count
        count += 1


def write_value(value: Value) -> str:
    """Write a value field as the fixed format has it, beginning in column 11.

    Text is quoted, its quotes doubled, and padded to 8 characters; logicals and numbers end in column
    30, or further right where a real number needs more than 20 characters to be exact.

    Raises
    ------
    PlanError
        Text that needs more than one card or is not printable ASCII; a number that is not finite or
        that no 64-bit integer holds.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"{'T' if value else 'F':>20}"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            msg = f"the number {str(value)[:40]} does not fit a 64-bit integer"
            raise PlanError(msg, code="I010")
        return f"{value:>20}"
    if isinstance(value, float):
        if not math.isfinite(value):
            msg = f"a header can't hold the number {value}"
            raise PlanError(msg, code="I010")
        mantissa, _, exponent = repr(value).upper().partition("E")
        point = "" if "." in mantissa else ".0"
        return f"{mantissa + point + ('E' + exponent if exponent else ''):>20}"
    if not all(" " <= letter <= "~" for letter in value):
        msg = f"the text {value!r} holds a character that is not printable ASCII"
        raise PlanError(msg, code="I010")
    quoted = value.replace("'", "''")
    if len(quoted) > LONGEST_TEXT:
        msg = (
            f"a text of {len(quoted)} characters (quotes counted twice) does not fit a card, which holds {LONGEST_TEXT}"
        )
        raise PlanError(
            msg, hint="calacs can't read texts continued over several cards: use a shorter one", code="I010"
        )
    return f"'{quoted:8}'"


def write_card(keyword: str, value: Value, like: bytes | None = None) -> bytes:
    """Write one card.

    Parameters
    ----------
    keyword : str
        At most 8 of ``A-Z 0-9 _ -``.
    value : bool, int, float, str or None
    like : bytes, optional
        The card to replace: its comment is kept, in its column where the value leaves room, and cut
        only where the card is full.

    Raises
    ------
    PlanError
        The keyword or value does not make a card.
    """
    if not _KEYWORD.fullmatch(keyword) or keyword in COMMENTARY:
        msg = f"{keyword!r} is not a keyword that a value can be set for: expected 1 to 8 of A-Z 0-9 _ -"
        raise PlanError(msg, code="I010")
    text = f"{keyword:8}= {write_value(value)}"
    if like is not None:
        slash = split_card(like)[1]
        text = f"{text:{slash}}" if len(text) < slash else f"{text} "
        comment = like[slash:].decode("ascii", "replace")[: CARD - len(text)]
        if comment.strip(" /"):
            text += comment
    return f"{text:{CARD}}".encode("ascii")


def refuse_structural(keyword: str) -> None:
    """Raise ``PlanError`` for keywords that say how the bytes of a file are to be read."""
    if _STRUCTURE.fullmatch(keyword):
        msg = f"{keyword} says how the file's bytes are laid out, so it can't be edited"
        raise PlanError(msg, code="I010")


def set_value(cards: list[bytes], keyword: str, value: Value) -> None:
    """Set a keyword's value in a header's cards (without END), in place.

    The first card of that keyword is replaced, together with its CONTINUE cards; a new one goes to the
    end. A card that says so already keeps its bytes. All others are left alone.
    """
    for number, card in enumerate(cards):
        if keyword_of(card) == keyword and has_value(card):
            more = continuations(cards, number)
            old = parse_value(split_card(card)[0])
            if more or type(old) is not type(value) or old != value:
                cards[number : number + 1 + more] = [write_card(keyword, value, like=card)]
            return
    cards.append(write_card(keyword, value))


def pack(cards: Sequence[bytes]) -> bytes:
    """Join cards, END and blanks to whole blocks of 2880 bytes."""
    text = b"".join(cards) + b"END"
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)
