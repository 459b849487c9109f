"""Statistics of good pixels for the headers (NGOODPIX, GOODMIN ... SNRMEAN, MEANDARK, MEANFLSH).

Sums run pixel by pixel in double precision, as calacs's do: a pairwise sum would differ in the last digits.
"""

from __future__ import annotations

import numpy as np

from acsrecipe.engines.embedded import cards as header
from acsrecipe.engines.embedded.arithmetic import Plane
from acsrecipe.engines.embedded.byteorder import as_number
from acsrecipe.engines.embedded.cards import Cards
from acsrecipe.engines.embedded.compiled import Doubles, Flags, Image, compiled

# Layout of the running totals: count, then (sum, min, max) of science, error and their ratio.
TOTALS = 10


@compiled
def accumulate(sci: Image, err: Image, dq: Flags, serious: int, totals: Doubles) -> None:
    """Add an image's good pixels to running totals.

    Parameters
    ----------
    sci, err, dq : (ny, nx)
        Pixels with a serious flag, or an error that is not positive, are left out.
    serious : int
        SDQFLAGS.
    totals : (10,) float64
        Changed; all zeros at the start.
    """
    count = totals[0]
    sums, sume, sumr = totals[1], totals[4], totals[7]
    mins, maxs = totals[2], totals[3]
    mine, maxe = totals[5], totals[6]
    minr, maxr = totals[8], totals[9]
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            if dq[j, i] & serious:
                continue
            value, sigma = np.float64(sci[j, i]), np.float64(err[j, i])
            if sigma <= 0:
                continue
            ratio = value / sigma
            if count < 1:
                mins = maxs = value
                mine = maxe = sigma
                minr = maxr = ratio
                sums, sume, sumr = value, sigma, ratio
                count = 1.0
                continue
            sums += value
            sume += sigma
            sumr += ratio
            mins = value if value < mins else mins
            maxs = value if value > maxs else maxs
            mine = sigma if sigma < mine else mine
            maxe = sigma if sigma > maxe else maxe
            minr = ratio if ratio < minr else minr
            maxr = ratio if ratio > maxr else maxr
            count += 1
    totals[0] = count
    totals[1], totals[2], totals[3] = sums, mins, maxs
    totals[4], totals[5], totals[6] = sume, mine, maxe
    totals[7], totals[8], totals[9] = sumr, minr, maxr


@compiled
def accumulate_good(sci: Plane, dq: Plane, factor: np.float32, serious: int, totals: Doubles) -> None:
    """Add the pixels without serious flags, times a factor, to ``totals``: (2,) float64, count and sum."""
    total, count = totals[1], 0
    for j in range(sci.shape[0]):
        for i in range(sci.shape[1]):
            # Adding 0 where a pixel is left out changes no bit, and needs no branch that is guessed wrong.
            good = not as_number(dq[j, i]) & serious
            total += np.float64(factor * as_number(sci[j, i])) if good else 0.0
            count += good
    totals[0], totals[1] = totals[0] + count, total


@compiled
def accumulate_line_means(sci: Plane, dq: Plane, factor: np.float32, serious: int, totals: Image) -> None:
    """Add each line's mean of good pixels times a factor, weighted with the good fraction, to totals.

    Parameters
    ----------
    totals : (2,) float32
        Changed, single precision: weighted sum, and sum of weights. The mean of the image is their ratio.
    """
    nx = sci.shape[1]
    for j in range(sci.shape[0]):
        total, count = 0.0, 0
        for i in range(nx):
            if not as_number(dq[j, i]) & serious:
                total += np.float64(factor * as_number(sci[j, i]))
                count += 1
        if count:
            mean = np.float32(total / count)
            weight = np.float32(count) / np.float32(nx)
            totals[0] = totals[0] + mean * weight
            totals[1] = totals[1] + weight


def put_statistics(sci_cards: Cards, err_cards: Cards, totals: Doubles) -> None:
    """Write the totals of `accumulate` into the SCI and ERR headers; only NGOODPIX when no pixel was good."""
    count = int(totals[0])
    if not count:
        header.put_integer(sci_cards, "NGOODPIX", 0)
        header.put_integer(err_cards, "NGOODPIX", 0)
        return
    means = totals[[1, 4, 7]] / count
    header.put_integer(sci_cards, "NGOODPIX", count, "number of good pixels")
    header.put_float(sci_cards, "GOODMIN", totals[2], "minimum good data value")
    header.put_float(sci_cards, "GOODMAX", totals[3], "maximum good data value")
    header.put_float(sci_cards, "GOODMEAN", means[0], "average of good data values")
    header.put_float(sci_cards, "SNRMIN", totals[8], "minimum S/N of good data values")
    header.put_float(sci_cards, "SNRMAX", totals[9], "maximum S/N of good data values")
    header.put_float(sci_cards, "SNRMEAN", means[2], "mean S/N of good data values")
    header.put_integer(err_cards, "NGOODPIX", count, "number of good pixels")
    header.put_float(err_cards, "GOODMIN", totals[5], "minimum sigma for good data")
    header.put_float(err_cards, "GOODMAX", totals[6], "maximum sigma for good data")
    header.put_float(err_cards, "GOODMEAN", means[1], "average of sigma for good data")
