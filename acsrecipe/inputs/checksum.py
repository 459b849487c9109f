"""CHECKSUM and DATASUM of an HDU: check them, and keep them true when its header changes.

The rules are those of the FITS standard 4.0, section 4.4.2.7 and appendix J: the 32-bit words of an HDU,
added in ones' complement, give all ones.
"""

from __future__ import annotations

import struct

from acsrecipe.inputs.cards import has_value, keyword_of, pack, parse_value, set_value, split_card, write_card

ALL_ONES = 0xFFFFFFFF

_SHORT = 1 << 16
"""Bytes up to which adding up takes less time than importing numpy: headers and association tables."""


def ones_sum(data: bytes, start: int = 0) -> int:
    """Add up big-endian 32-bit words in ones' complement, as DATASUM and CHECKSUM do; zeros fill the last."""
    filled = data.ljust(-(-len(data) // 4) * 4, b"\0")
    if len(filled) <= _SHORT:
        total = sum(struct.unpack(f">{len(filled) // 4}I", filled))
    else:
        import numpy as np

        total = int(np.frombuffer(filled, dtype=">u4").sum(dtype=np.uint64))
    number = start + total
    return number % ALL_ONES or (ALL_ONES if number else 0)


def keep_checksum(old: bytes, cards: list[bytes]) -> None:
    """Set the CHECKSUM card among edited cards so that the HDU's sum stays what it was.

    Parameters
    ----------
    old : bytes
        The header's blocks before the edits.
    cards : list of bytes
        Its cards after them (without END); changed in place. Nothing happens where there is no
        CHECKSUM card, or where it is empty (undefined).

    Notes
    -----
    The sum of an HDU is that of its header plus that of its data unit. Since the data stay, a header
    of equal sum leaves a valid HDU valid, and one with damaged data as invalid as it was: no edit
    can hide a flipped bit, and no data need to be read.
    """
    at = next((n for n, card in enumerate(cards) if keyword_of(card) == "CHECKSUM" and has_value(card)), None)
    if at is None or not parse_value(split_card(cards[at])[0]):
        return
    cards[at] = write_card("CHECKSUM", "0" * 16, like=cards[at])
    wanted = ones_sum(old)
    without = ones_sum(pack(cards))
    cards[at] = write_card("CHECKSUM", _encode((wanted - without) % ALL_ONES), like=cards[at])


def renew_checksum(cards: list[bytes], data: bytes) -> None:
    """Compute DATASUM and CHECKSUM anew for an HDU whose data changed; only cards that are there, in place."""
    there = {keyword_of(card) for card in cards if has_value(card)}
    total = ones_sum(data)
    if "DATASUM" in there:
        set_value(cards, "DATASUM", str(total))
    if "CHECKSUM" in there:
        set_value(cards, "CHECKSUM", "0" * 16)
        set_value(cards, "CHECKSUM", _encode(-ones_sum(pack(cards), total) % ALL_ONES))


def _encode(number: int) -> str:
    """Write a 32-bit number as the 16 letters and digits of a CHECKSUM (FITS standard 4.0, appendix J.2).

    Each of its four bytes becomes four characters that add up to it (over a zero of ``0`` each), pairs
    of which are moved apart until none is a punctuation mark; then all move one place to the right,
    because the text of a card begins one byte before a word.
    """
    columns = []
    for shift in (24, 16, 8, 0):
        byte = number >> shift & 0xFF
        quarters = [byte // 4 + 0x30 + (byte % 4 if place == 0 else 0) for place in range(4)]
        while any(0x3A <= one <= 0x40 or 0x5B <= one <= 0x60 for one in quarters):
            for first in (0, 2):
                pair = quarters[first : first + 2]
                if any(0x3A <= one <= 0x40 or 0x5B <= one <= 0x60 for one in pair):
                    quarters[first] += 1
                    quarters[first + 1] -= 1
        columns.append(quarters)
    text = "".join(chr(columns[byte][place]) for place in range(4) for byte in range(4))
    return text[-1] + text[:-1]
