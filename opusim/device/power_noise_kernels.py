"""Noise of the laser's power, averaged over many exposures.

The power jumps at the moments of a Poisson process and stays between them: a stationary process of the autocorrelation
exp(-rate |t|) whatever the frames' times. Time is cut into windows of the mean distance of two jumps; the number of
jumps in a window is a Poisson number of the mean 1, their places are even in it, and each is hashed from the window's
number. So any moment is found without those before it: by the last jump, which lies in this window or, with the
probability exp(-k), k windows back.
"""

from __future__ import annotations

import math

import numpy as np

from opusim.base.elementary_kernels import exponential
from opusim.base.jit import kernel
from opusim.base.rng_kernels import normal, philox_words, uniform, unit_double

# Slots of a window in the streams: one for the number of its jumps, one for each jump.
_SLOTS = np.uint64(16)
_MOST_JUMPS = 15  # more would come once in 5e13 windows
_WINDOWS = 2.0**58  # with its slots below 2^62; dividing by it is exact
_LOW, _SHIFT = np.uint64(2**32 - 1), np.uint64(32)
_ONE, _IN_CIRCLE = np.uint64(1), np.uint64(2**58 - 1)
# Probability of at most 0, 1, 2, ... jumps in a window: 1 / e times the sum of 1 / k!.
_AT_MOST = np.cumsum(0.36787944117144233 / np.cumprod(np.array([1.0, *range(1, _MOST_JUMPS)])))
# Up to here, in windows, an exposure takes each of its jumps; see `mean_noise`.
_EACH_JUMP = 12.0


@kernel(inline="always")
def _jumps(p0, p1, window):  # type: ignore[no-untyped-def]
    """Return the number of jumps in a window, and the place of the first of them that is drawn.

    Elements 16 w and 16 w + 1 of the stream of uniform numbers, which are of one Philox block.
    """
    block = window * (_SLOTS >> _ONE)
    r0, r1, r2, r3 = philox_words(
        block & _LOW, block >> _SHIFT, np.uint64(0), np.uint64(0), np.uint64(p0), np.uint64(p1)
    )
    u = unit_double(r0, r1)
    n = 0
    while n < _MOST_JUMPS and u >= _AT_MOST[n]:
        n += 1
    return n, unit_double(r2, r3)


@kernel()
def _last_jump(p0, p1, v0, v1, window, place):  # type: ignore[no-untyped-def]
    """Return where the last jump up to a place lies, from the window's start, below zero if before, and its value."""
    before = 0.0
    while True:
        n, x = _jumps(p0, p1, window)
        slot, last = 0, -1.0
        for j in range(1, n + 1):
            if j > 1:
                x = uniform(p0, p1, window * _SLOTS + np.uint64(j))
            if last < x <= place:
                slot, last = j, x
        if slot:
            return last - before, np.float64(normal(v0, v1, window * _SLOTS + np.uint64(slot)))
        # 2^58 windows in a circle: before the first comes the last.
        window = (window - _ONE) & _IN_CIRCLE
        before += 1.0
        place = 1.0


@kernel(inline="always")
def _next_in(p0, p1, window, n, first, place):  # type: ignore[no-untyped-def]
    """Return slot and place of the next jump in a window, of which `_jumps` told; slot 0 if there is none."""
    slot, least = 0, 2.0
    x = first
    for j in range(1, n + 1):
        if j > 1:
            x = uniform(p0, p1, window * _SLOTS + np.uint64(j))
        if place < x < least:
            slot, least = j, x
    return slot, least


@kernel()
def _next_jump(p0, p1, window, place):  # type: ignore[no-untyped-def]
    """Return where the first jump beyond a place lies, from the window's start."""
    passed = 0.0
    while True:
        n, first = _jumps(p0, p1, window)
        slot, x = _next_in(p0, p1, window, n, first, place)
        if slot:
            return passed + x
        window = (window + _ONE) & _IN_CIRCLE
        passed += 1.0
        place = -1.0


@kernel()
def _jump_by_jump(p0, p1, v0, v1, window, place, end, value):  # type: ignore[no-untyped-def]
    """Return the mean from a place to an end, with the value at the place."""
    total, reached, passed = 0.0, place, 0.0
    while passed < end:
        n, first = _jumps(p0, p1, window)
        at = place if passed == 0.0 else -1.0
        while True:
            slot, at = _next_in(p0, p1, window, n, first, at)
            if slot == 0 or passed + at >= end:
                break
            total += (passed + at - reached) * value
            reached = passed + at
            value = np.float64(normal(v0, v1, window * _SLOTS + np.uint64(slot)))
        window = (window + _ONE) & _IN_CIRCLE
        passed += 1.0
    # Without a jump the value itself, however short the exposure is.
    return (total + (end - reached) * value) / (end - place) if reached > place else value


@kernel()
def mean_noise(times_s, frames, rate_hz, exposure_s, p0, p1, v0, v1, f0, f1, out):  # type: ignore[no-untyped-def]
    """Write the mean of the noise over each exposure: see `Laser.relative_power`.

    Parameters
    ----------
    times_s : ndarray of float64, shape (n,)
        When exposures begin, in seconds.
    frames : ndarray of int64, shape (n,)
        Numbers of the frames.
    rate_hz : float
        Jumps a second.
    exposure_s : float
        Length of the exposures in seconds.
    p0, p1, v0, v1, f0, f1 : uint32
        Keys of the jumps' numbers and places, of the values behind them, and of the sum of those within a frame.
    out : ndarray of float64, shape (n,)
        Filled with numbers of the variance 1, or less where exposures are not short against 1 / rate.

    Notes
    -----
    Places are counted from the start of the window in which an exposure begins, so that its length is that asked for
    even where the clock is too coarse to tell windows apart.

    In an exposure of more than `_EACH_JUMP` windows, the part from its first jump to its last is one normal number.
    Between two jumps, a length M apart, the others are again a Poisson process, and values behind them are shared with
    no other frame: the variance of that part's sum is exactly that of exp(-|u - v|) over it, 2 (M - 1 + exp(-M)).
    """
    length = exposure_s * rate_hz
    for i in range(len(times_s)):
        moment = times_s[i] * rate_hz
        start = np.floor(moment)
        place = moment - start
        window = np.uint64(start - _WINDOWS * np.floor(start / _WINDOWS))
        end = place + length
        value = _last_jump(p0, p1, v0, v1, window, place)[1]
        if length <= _EACH_JUMP:
            out[i] = _jump_by_jump(p0, p1, v0, v1, window, place, end, value)
            continue
        head = _next_jump(p0, p1, window, place) - place
        if head >= length:
            out[i] = value
            continue
        whole = np.floor(end)
        window = (window + np.uint64(whole)) & _IN_CIRCLE
        last, value_of_last = _last_jump(p0, p1, v0, v1, window, end - whole)
        tail = end - whole - last
        between = max(length - head - tail, 0.0)
        inner = math.sqrt(max(2.0 * (between - 1.0 + exponential(-between)), 0.0))
        total = head * value + tail * value_of_last + inner * np.float64(normal(f0, f1, np.uint64(frames[i])))
        out[i] = total / length
