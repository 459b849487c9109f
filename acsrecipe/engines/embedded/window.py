"""Lines of a stack of exposures that the cosmic-ray rejection works on, and its loops over them.

All rounds of the rejection go up the image together, each as far behind the one before it as a cosmic ray's
neighbourhood reaches: so a line is read once, and what several rounds need of it is still in the processor's cache.
Line ``j`` of an image lies in slot ``j % depth`` of every array called a window, ``(n, depth, nx)``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from acsrecipe.engines.embedded.compiled import Flags, Image, compiled

REJECTED = 8192

# Marks of the working mask. They share their values with DQ bits that the input may carry, as in calacs.
SPILL, EXCLUDED, HIT = 2, 4, 8

Marks = NDArray[np.uint8]
Words = NDArray[np.uint64]
Numbers = NDArray[np.int64]


@compiled
def load_lines(
    sci: Image,
    err: Image,
    dq: Flags,
    time: np.float32,
    sky: np.float32,
    first: int,
    rates: Image,
    variances: Image,
    flags: Flags,
) -> None:
    """Put lines of an exposure into the windows.

    Parameters
    ----------
    sci, err, dq : (lines, nx)
        Electrons and flags of some lines of the image.
    time, sky : float32
        Seconds, not 0, and electrons.
    first : int
        Number of the first of the lines.
    rates, variances, flags : (depth, nx)
        The exposure's part of the windows, changed: electrons per second without sky, squared errors, DQ.
    """
    depth = rates.shape[0]
    for j in range(sci.shape[0]):
        slot = (first + j) % depth
        values, rate = sci[j], rates[slot]
        for i in range(values.size):
            rate[i] = (values[i] - sky) / time
        errors, variance = err[j], variances[slot]
        for i in range(errors.size):
            variance[i] = errors[i] * errors[i]
        given, kept = dq[j], flags[slot]
        for i in range(given.size):
            kept[i] = given[i]


@compiled
def reject_lines(
    rates: Image,
    variances: Image,
    flags: Flags,
    hits: Marks,
    marks: Marks,
    times: Image,
    sigmas: Image,
    spans: Numbers,
    done: Numbers,
    loaded: int,
    spill: np.float32,
    scale: np.float32,
    bad: int,
    left_out: int,
    average: Image,
    error: Image,
    quality: Flags,
    sums: Image,
    masks: Flags,
    spots: Marks,
    words: Words,
) -> int:
    """Bring every round of the rejection as far up the image as the lines in the windows allow.

    Parameters
    ----------
    rates, variances, flags : (n, depth, nx)
        Windows, filled up to line ``loaded``, which is not included.
    hits : (n, depth, nx) uint8
        Window; the last round sets it: 1 where a cosmic ray, or its neighbourhood, was found.
    marks : (rounds, n, reach + 1, nx) uint8
        Where cosmic rays on lines below take a pixel with them; 0 at the beginning of an image.
    times : (n,) float32
        Seconds; an image of 0 seconds is left out.
    sigmas : (rounds,) float32
        Thresholds, standard deviations.
    spans : (reach + 1,) int64
        How far a hit reaches along its line, one line above it, and so on.
    done : (rounds,) int64
        Lines that each round is through with; changed.
    spill, scale : float32
        Squared part of the threshold for neighbours, negative for all of them; multiplicative noise.
    bad : int
        DQ bits that keep a pixel from being tested.
    left_out : int
        Marks that keep a pixel out of the average.
    average, error : (ny, nx) float32
        The guess for the lines loaded, changed: electrons per second; the last round sets the error, electrons.
    quality : (ny, nx) int16
        Set by the last round.
    sums : (3, nx) float32, masks : (2, nx) int16
        Scratch.
    spots : (8 * m,) uint8, words : (m,) uint64
        Scratch: the same bytes, 0, and 0 afterwards; ``8 * m`` is not less than ``nx``.

    Returns
    -------
    int
        How many pixels the last round rejected.
    """
    rounds, ny, reach = done.size, average.shape[0], spans.size - 1
    rejected = 0
    # Line by line through all rounds, for what a few lines need stays in the processor's cache.
    for upper in range(done[0] + 1, loaded + 1):
        top = upper
        for r in range(rounds):
            if top < ny:
                top = max(top - reach, 0)
            for line in range(done[r], top):
                rejected += _reject_line(
                    line,
                    r == rounds - 1,
                    rates,
                    variances,
                    flags,
                    hits,
                    marks[r],
                    times,
                    sigmas[r] * sigmas[r],
                    spans,
                    spill,
                    scale,
                    np.int16(bad),
                    np.int16(left_out),
                    average,
                    error,
                    quality,
                    sums,
                    masks,
                    spots,
                    words,
                )
            done[r] = max(done[r], top)
    return rejected


@compiled
def _reject_line(
    line: int,
    last: bool,
    rates: Image,
    variances: Image,
    flags: Flags,
    hits: Marks,
    marks: Marks,
    times: Image,
    sigma2: np.float32,
    spans: Numbers,
    spill: np.float32,
    scale: np.float32,
    bad: np.int16,
    left_out: np.int16,
    average: Image,
    error: Image,
    quality: Flags,
    sums: Image,
    masks: Flags,
    spots: Marks,
    words: Words,
) -> int:
    """Do one line in one round; see `reject_lines`."""
    slot, place, rejected = line % rates.shape[1], line % spans.size, 0
    total, seconds, squares = sums[0], sums[1], sums[2]
    mask, joined = masks[0], masks[1]
    target = average[line]
    sums[:, :] = 0
    joined[:] = 0
    if last:
        quality[line, :] = REJECTED
    total_time = np.float32(0)
    for k in range(times.size):
        time = times[k]
        total_time = total_time + time
        if not time > 0:
            continue
        rate, variance, given, marked = rates[k, slot], variances[k, slot], flags[k, slot], marks[k, place]
        _begin_mask(given, marked, bad, mask)
        _find_spots(rate, variance, target, time, sigma2, scale, spots)
        _mark_hits(
            line,
            time,
            sigma2,
            spill,
            spans,
            rates[k],
            variances[k],
            flags[k],
            average,
            mask,
            marks[k],
            spots,
            words,
        )
        _add_rates(rate, mask, time, left_out, total, seconds)
        if last:
            _add_squares(variance, mask, left_out, squares)
            rejected += _note_hits(mask, hits[k, slot])
            _join_flags(given, marked, hits[k, slot], joined, quality[line])
        marked[:] = 0
    if last:
        _average_last(total, seconds, target)
        _combine_errors(squares, seconds, total_time, error[line], spots)
        for word in range(words.size):
            if words[word] != 0:
                for i in range(8 * word, 8 * word + 8):
                    if spots[i]:
                        error[line, i] = _scaled_error(squares[i], seconds[i], total_time)
                words[word] = 0
    else:
        _average(total, seconds, target)
    return rejected


@compiled
def _begin_mask(flags: Flags, marked: Marks, bad: np.int16, mask: Flags) -> None:
    """Take an exposure's flags, or the marks that cosmic rays of lines below have put in their place."""
    for i in range(flags.size):
        value = np.int16(SPILL) if marked[i] else flags[i]
        mask[i] = np.int16(EXCLUDED) if value & bad != 0 and value != SPILL else value


@compiled
def _find_spots(
    rate: Image, variance: Image, average: Image, time: np.float32, sigma2: np.float32, scale: np.float32, spots: Marks
) -> None:
    """Note where an exposure is further from the average than the threshold."""
    time2 = time * time
    for i in range(rate.size):
        signal = average[i] * time
        part = scale * (signal if signal > 0 else np.float32(0))
        away = rate[i] - average[i]
        spots[i] = away * away > sigma2 * (variance[i] + part * part) / time2


@compiled
def _mark_hits(
    line: int,
    time: np.float32,
    sigma2: np.float32,
    spill: np.float32,
    spans: Numbers,
    rates: Image,
    variances: Image,
    flags: Flags,
    average: Image,
    mask: Flags,
    marks: Marks,
    spots: Marks,
    words: Words,
) -> None:
    """Mark the hits among a line's spots, and their neighbours on the line and above.

    Lines below are done with, whatever calacs still marks there.
    """
    depth, nx, time2 = rates.shape[0], mask.size, time * time
    rows = min(spans.size, average.shape[0] - line)
    for word in range(words.size):
        if words[word] == 0:
            continue
        for column in range(8 * word, 8 * word + 8):
            # In this order, and with the mask of this moment: a neighbour's mark can lift an exclusion.
            if not spots[column] or mask[column] == EXCLUDED:
                continue
            mask[column] = HIT
            for up in range(rows):
                row = line + up
                slot, place, span = row % depth, row % spans.size, spans[up]
                for i in range(max(column - span, 0), min(column + span + 1, nx)):
                    away = rates[slot, i] - average[row, i]
                    near = not away * away <= spill * (sigma2 * variances[slot, i] / time2)
                    # Without branches, which would be guessed wrong half of the time.
                    if up:
                        marks[place, i] |= near & (flags[slot, i] != HIT)
                    else:
                        mask[i] = SPILL if near & (mask[i] != HIT) else mask[i]
        words[word] = 0


@compiled
def _add_rates(rate: Image, mask: Flags, time: np.float32, left_out: np.int16, total: Image, seconds: Image) -> None:
    for i in range(rate.size):
        # Adding 0 where a pixel is left out changes no bit, and needs no branch that is guessed wrong.
        good = mask[i] & left_out == 0
        total[i] = total[i] + (rate[i] * time if good else np.float32(0))
        seconds[i] = seconds[i] + (time if good else np.float32(0))


@compiled
def _add_squares(variance: Image, mask: Flags, left_out: np.int16, squares: Image) -> None:
    for i in range(variance.size):
        squares[i] = squares[i] + (variance[i] if mask[i] & left_out == 0 else np.float32(0))


@compiled
def _note_hits(mask: Flags, hits: Marks) -> int:
    """Set 1 where a pixel is hit or near a hit, else 0, and count the ones."""
    count = 0
    for i in range(mask.size):
        hit = mask[i] == HIT or mask[i] == SPILL
        hits[i] = hit
        count += hit
    return count


@compiled
def _join_flags(flags: Flags, marked: Marks, hits: Marks, joined: Flags, quality: Flags) -> None:
    """Join an exposure's flags to those of the exposures before it; one without a hit clears `REJECTED`."""
    kept = np.int16(~(REJECTED | SPILL))
    for i in range(flags.size):
        value = ((np.int16(SPILL) if marked[i] else flags[i]) | joined[i]) & kept
        combined = value | quality[i]
        joined[i] = value | REJECTED if hits[i] else value
        quality[i] = combined if hits[i] else combined & np.int16(~REJECTED)


@compiled
def _average(total: Image, seconds: Image, target: Image) -> None:
    for i in range(total.size):
        target[i] = total[i] / seconds[i] if seconds[i] > 0 else target[i]


@compiled
def _average_last(total: Image, seconds: Image, target: Image) -> None:
    for i in range(total.size):
        target[i] = total[i] / seconds[i] if seconds[i] > 0 else np.float32(0)


@compiled
def _combine_errors(squares: Image, seconds: Image, total_time: np.float32, error: Image, spots: Marks) -> None:
    """Set the errors of pixels with all exposures, and note those with fewer.

    A double-precision square root that is then cut to single precision, as calacs has it, is the single-precision one.
    """
    for i in range(squares.size):
        error[i] = np.sqrt(squares[i])
    for i in range(squares.size):
        spots[i] = seconds[i] != total_time


@compiled
def _scaled_error(square: np.float32, seconds: np.float32, total_time: np.float32) -> np.float32:
    if seconds > 0:
        return np.float32(np.float64(total_time / seconds) * np.sqrt(np.float64(square)))
    return np.float32(0)


@compiled
def flag_hits(dq: Flags, hits: Marks, first: int) -> None:
    """Set or clear `REJECTED` in lines of an exposure that begin with line ``first`` of the image.

    Parameters
    ----------
    dq : (lines, nx) int16
        Changed; calacs works in bytes of eight pixels, and leaves the rest of a line alone.
    hits : (depth, nx) uint8
        The exposure's part of the window.
    """
    columns = dq.shape[1] // 8 * 8
    for j in range(dq.shape[0]):
        found, target = hits[(first + j) % hits.shape[0], :columns], dq[j, :columns]
        for i in range(found.size):
            target[i] = target[i] | np.int16(REJECTED) if found[i] else target[i] & np.int16(~REJECTED)
