"""What an exposure's header may override in PCTETAB, and what the correction tells the header."""

from __future__ import annotations

import numpy as np
import pytest

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.cte.stage import tell_settings, with_header_settings
from acsrecipe.engines.embedded.cte.table import CteTable, TrapSet
from acsrecipe.errors import EngineError


def traps(*, length: int, models: int = 5, shifts: int = 7) -> TrapSet:
    profile = np.zeros((2, 60))
    return TrapSet(
        np.array([1.0, 2.0]),
        np.ones(2),
        profile,
        profile,
        np.arange(8),
        np.ones((8, 4)),
        52334.86,
        57710.45,
        length,
        models,
        shifts,
    )


def table() -> CteTable:
    serial = {amp: traps(length=20, models=4) for amp in "ABCD"}
    return CteTable("Par/Serial PixelCTE 2023", "3.0", -10.0, True, traps(length=60), serial)


def settings(primary: header.Cards) -> tuple[tuple[int, int, int], tuple[int, int, int], bool]:
    found = with_header_settings(table(), primary, "x_raw.fits")
    parallel, serial = found.parallel, found.serial["B"]
    return (
        (parallel.length, parallel.models, parallel.shifts),
        (serial.length, serial.models, serial.shifts),
        found.ease,
    )


def cards(**values: int) -> header.Cards:
    made: header.Cards = []
    for keyword, value in values.items():
        header.put_integer(made, keyword, value, "theirs")
    return made


def test_without_cards_the_table_decides() -> None:
    assert settings([]) == ((60, 5, 7), (20, 4, 7), True)


def test_a_card_above_1_decides_for_both_directions() -> None:
    assert settings(cards(PCTETLEN=30, PCTENFOR=3, PCTENPAR=2, FIXROCR=0)) == ((30, 3, 2), (30, 3, 2), False)


def test_a_card_of_0_lets_the_parallel_value_decide_for_the_serial_correction_too() -> None:
    """As calacs does: it writes the parallel value into the card, and reads it again for the serial one."""
    assert settings(cards(PCTETLEN=0, PCTENFOR=1)) == ((60, 5, 7), (60, 5, 7), True)


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [("FIXROCR", 2, "FIXROCR is 2"), ("PCTENSMD", 1, "PCTENSMD is 1"), ("PCTETLEN", 61, "PCTETLEN is 61")],
)
def test_what_the_table_can_not_give_is_refused(keyword: str, value: int, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        settings(cards(**{keyword: value}))


def test_settings_go_into_the_history_or_into_the_cards_that_are_there() -> None:
    primary = cards(PCTENPAR=0)
    tell_settings(primary, with_header_settings(table(), primary, "x_raw.fits"), "CD", 56800.25)
    history = [card[8:].rstrip() for card in primary if card.startswith("HISTORY")]
    assert history == [
        "CTE_NAME Par/Serial PixelCTE 2023 CTE algorithm name",
        "CTE_VER 3.0 CTE algorithm version",
        "CORRTYPE parallel CTE correction type",
        "FIXROCR            1 fix readout cosmic rays",
        "PCTETRSH  -1.000000000000E+01 CTE over subtraction threshold",
        "PCTEFRAC   8.306790510437E-01 CTE scaling factor",
        "CTEDATE0   5.233486000000E+04 Date of instrument installation",
        "CTEDATE1   5.771045000000E+04 Date of CTE model pinning",
        "PCTETLEN           60 max length of CTE trail",
        "PCTENFOR            5 Number of iter in forward model",
        *(
            line
            for amp in "CD"
            for line in (
                f"CORRTYPE serial - Amp {amp} CTE correction type",
                "CTEDATE0   5.233486000000E+04 Date of instrument installation",
                "CTEDATE1   5.771045000000E+04 Date of CTE model pinning",
                "PCTETLEN           20 max length of CTE trail",
                "PCTENFOR            4 Number of iter in forward model",
            )
        ),
    ]
    assert header.integer(primary, "PCTENPAR") == 7


def test_before_sm4_only_the_parallel_correction_is_told() -> None:
    primary: header.Cards = []
    tell_settings(primary, table(), "CDAB", 54000.0)
    assert not any("serial" in card for card in primary)
