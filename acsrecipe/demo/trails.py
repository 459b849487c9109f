"""The trails that charge leaves behind on its way to the amplifiers: the traps of PCTETAB, as in the correction.

The only part of the demo that computes with numba, which only modes with trails import.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acsrecipe.demo.geometry import Window
from acsrecipe.engines.embedded.cte.correct import SM4, oriented, sensitivity
from acsrecipe.engines.embedded.cte.forward import trail_amp
from acsrecipe.engines.embedded.cte.table import CteTable, read_table


@dataclass(frozen=True)
class Trailing:
    """Trails the charge of chips as PCTETAB describes the detector."""

    table: CteTable

    @classmethod
    def of(cls, pctetab: Path) -> Trailing:
        """Read the table."""
        return cls(read_table(pctetab))

    def trail(self, collected: NDArray[np.float32], window: Window, expstart: float) -> NDArray[np.float32]:
        """Move the charge of a chip to its amplifiers.

        Along columns first, then, after SM4, along rows: the correction does it the other way round. Before SM4
        calacs leaves the rows alone, and so do the traps here.

        Parameters
        ----------
        collected : (ny, nx) float32
            Electrons in the illuminated pixels of the chip when the shutter closes: sky and stars, dark current,
            post-flash and cosmic rays alike.
        window : Window
            Of a full frame, read by two amplifiers.
        expstart : float
            MJD: traps become more with time.

        Returns
        -------
        (ny, nx) float32, electrons
            Where they are found. The sum may be less: what is released behind the last row is not read.
        """
        trailed = collected.copy()
        half = window.geometry.amp_nx
        # One thread for each processor: each line is computed by itself, so that their number changes no bit.
        threads = os.cpu_count() or 1
        for amp, left in zip(window.amps, (0, half), strict=True):
            part = trailed[:, left : left + half]
            for serial in (False, True) if expstart >= SM4 else (False,):
                traps = self.table.serial[amp] if serial else self.table.parallel
                lines = oriented(amp, part, serial)
                lines[...] = trail_amp(
                    lines,
                    traps,
                    sensitivity(traps, amp, left, len(lines)),
                    fraction=(expstart - traps.date0) / (traps.date1 - traps.date0),
                    threads=threads,
                )
        return trailed
