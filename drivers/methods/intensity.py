"""The linear transform by intensities alone: no reference arm, a signed combination of binary frames.

Let M be the matrix of the medium for the features in use, p the field of the mirrors that are always on, 1 the vector
of ones, r a fixed random 0/1 vector, ^ the exclusive or. With Y(u) = |M u + p|^2 for a 0/1 vector u::

    [Y(x ^ r) - Y(x ^ ~r)] - [Y(r) - Y(~r)] = 2 Re( conj(M 1 + 2 p) M diag(1 - 2 r) x )

which is linear in x for any p. (Put u = x ^ r = r + diag(1 - 2 r) x and ~u = 1 - u: the squares cancel.) Divided by
2 sqrt(Y(1)), for p = 0 the reference M 1 leaves only its phase, and the entries are i.i.d. normal numbers but in one
direction: 1 - 2 r is mapped to the moduli |M 1|, sqrt(2) Rayleigh numbers, always positive. For n features this gives
entries a mean of +-sqrt(pi / (2 n)), with the signs of 1 - 2 r. The random r is needed to hide it: with r = 0 the
direction is that of the vector of ones, which data often have a large part in.

Where mirrors outside the input region are on, p is not 0 (features in two dimensions, or a region that does not fill
the array): y is then still linear in x, but its rows are not equally scaled, and entries are not normal.

More than two frames a vector are repetitions. Of k frames x ^ r is shown in a = ceil(k / 2) and x ^ ~r in the other
b = floor(k / 2), in turn, and means stand for both. Noise of variance s^2 in a frame leaves s^2 (1 / a + 1 / b): from
two frames to five the rms falls to sqrt(5 / 12) = .645. For an odd k both means are of the same moment: a drift that is
even in time drops out.

Each of n vectors of a call has the noise of the same anchors, which are shown c times for each 64 begun: once for two
frames, k times for more. Y(r) - Y(~r) leaves s^2 2 / (c B) of it, with B = ceil(n / 64), so that the whole variance is
s^2 (1 / a + 1 / b + 2 / (c B)). The relative error of few vectors is larger: by two frames that of one block is
sqrt(2), that of four 1.12 times as large as that of many vectors, by five frames 1.22 and 1.06 times. Y(1), which is
divided by, has noise of s^2 / (c B) too: it is a gain of each pixel, the same for all vectors of a call.

The gain of a pixel is its own beside that: Y(1) has the pixel's dark signal (DSNU, hot pixels) in it, of which the
black level is the mean alone, and its PRNU; and it is not divided by less than 2 % of its mean. R is still one fixed
real matrix, whose rows have gains that spread by some 10 % for `aurora`. An error that is counted with one gain for
all pixels holds their spread, one with a gain fitted for each pixel does not (docs/physics.md, section 2).

Other patterns in place of repetitions were tried, as most of the error comes from pixels whose reference M 1 is dark.
Any combination of frames in which every feature varies has this reference, as squares and cross terms cancel against
the complement alone. Where one half B of the features is held while the other, A, varies, A has the reference
M_A 1 + 2 M_B c, another for each choice c, and real weights make the best of several for each pixel. But each feature
then varies in half of the frames: with shot noise alone the error is 1.29 times that of as many repetitions for one
reference (4 frames), 1.23 times for the best two and the best three of four (8 and 12 frames; 400 000 pixels drawn).

A camera that leaves the share l of a frame to the next one (`Camera.lag`) mixes the two frames of a vector, which are
opposite to each other, and the first of them with the last vector's. What varies from vector to vector is then
(1 - 3 l / 2) y - (l / 2) y' with two frames and (1 - 11 l / 6) y + (l / 6) y' with five, y' of the vector before, over
the root of what is left of Y(1); light of other patterns comes in as noise. With l = .1 results are a sixth too small;
nothing in the frames tells. A warning says so from l = .05 on.

Method: Ohana et al., "Linear optical random projections without holography", Optics Express 31, 25881 (2023); the
frames used here are our own, the product's were not published but for their number: five times those of a plain
transform (lightonml).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from opusim.base import arrays, parallel, validation
from opusim.base.errors import warn_outside
from opusim.bench.linear_modes import LinearMode
from opusim.bench.reduction import CountSums, MeanDifferences
from opusim.drivers.values import anchor, anchor_on

from .base import Method, Show, tell_lag

if TYPE_CHECKING:
    from opusim.bench.together import TakenTogether
    from opusim.drivers.fit import Fit
    from opusim.drivers.lowlevel.device import OpuDevice
    from opusim.drivers.lowlevel.settings_of_frame import FrameSettings

BLOCK = 64
"""Vectors between two exposures of the anchors; all anchors of a batch are averaged."""
ANCHORS = 3
"""Patterns that each block begins with: all ones, r, and its complement."""
LEAST_FRAMES = 2
"""Fewest frames of a vector."""
# Below so many numbers a second thread costs more than it brings.
_FEW_RESULTS = 1 << 18
# Darkest reference, relative to the mean, that is divided by: 2 % of the pixels are darker, and would only show noise.
_DARKEST = 0.02


def repeats_of(frames_per_vector: int) -> tuple[int, int]:
    """Return how many frames of a vector show x ^ r, and how many x ^ ~r."""
    return -(-frames_per_vector // 2), frames_per_vector // 2


def anchor_repeats_of(frames_per_vector: int) -> int:
    """Return how often each anchor is shown in a block: once for two frames a vector, else as often as a vector.

    All vectors of a call share the anchors' noise. A vector's worth of frames for each makes 3 k of 67 k frames of a
    block, and leaves 2 / k of the variance of a frame beside the 1 / a + 1 / b of a vector. Two frames have one, as in
    version 1 of the presets.
    """
    return 1 if frames_per_vector == LEAST_FRAMES else frames_per_vector


def frames_needed(n_vectors: int, frames_per_vector: int = LEAST_FRAMES) -> int:
    """Return how many frames `encode` makes of vectors.

    Parameters
    ----------
    n_vectors : int
        Vectors.
    frames_per_vector : int
        Frames of a vector, k: 2 or more.

    Returns
    -------
    int
        k n, and for each 64 begun 3 k, or 3 where k is 2.
    """
    return frames_per_vector * n_vectors + _anchor_frames(frames_per_vector) * -(-n_vectors // BLOCK)


def _anchor_frames(frames_per_vector: int) -> int:
    """Frames that a block begins with."""
    return ANCHORS * anchor_repeats_of(frames_per_vector)


def vectors_in(n_frames: int, frames_per_vector: int = LEAST_FRAMES) -> int:
    """Return how many vectors stand behind frames.

    Parameters
    ----------
    n_frames : int
        Frames.
    frames_per_vector : int
        Frames of a vector.

    Returns
    -------
    int
        Vectors.

    Raises
    ------
    ValueError
        If `encode` never makes so many.
    """
    anchors = _anchor_frames(frames_per_vector)
    blocks, rest = divmod(n_frames, anchors + frames_per_vector * BLOCK)
    n = blocks * BLOCK + max(0, rest - anchors) // frames_per_vector
    if n < 1 or frames_needed(n, frames_per_vector) != n_frames:
        raise ValueError(
            f"There are {n_frames} frames, but no number of vectors gives so many: n vectors give "
            f"{frames_per_vector} n + {anchors} for each {BLOCK} begun."
        )
    return n


def _blocks(n: int, each: int) -> Iterator[tuple[slice, slice]]:
    """Yield the vectors of each block and its frames, for `each` frames of a vector."""
    anchors = _anchor_frames(each)
    for first in range(0, n, BLOCK):
        count = min(BLOCK, n - first)
        start = frames_needed(first, each)
        yield slice(first, first + count), slice(start, start + anchors + each * count)


def encode(x: Any, frames_per_vector: int = LEAST_FRAMES) -> Any:
    """Return the patterns to show for the vectors `x`.

    Parameters
    ----------
    x : numpy.ndarray, torch.Tensor or cupy.ndarray
        uint8 or bool 0/1, (n, n_features).
    frames_per_vector : int
        Frames of a vector, 2 or more.

    Returns
    -------
    array of the same library, on the same device
        uint8 0/1, (frames_needed(n, frames_per_vector), n_features). Each 64 vectors begin with their anchors, 1, r
        and ~r in turn, `anchor_repeats_of` times; the frames of a vector follow each other: x ^ r, x ^ ~r, x ^ r, ...
    """
    place = arrays.of(x)
    n, n_features = x.shape
    xp = place.xp
    x, r = x.view(xp.uint8), anchor_on(place, n_features)
    frames = place.empty((frames_needed(n, frames_per_vector), n_features), np.uint8)
    anchors = _anchor_frames(frames_per_vector)
    for vectors, rows in _blocks(n, frames_per_vector):
        block = frames[rows]
        block[0:anchors:ANCHORS], block[1:anchors:ANCHORS], block[2:anchors:ANCHORS] = 1, r, 1 - r
        _in_turn(xp, x[vectors], r, block[anchors:], frames_per_vector)
    return frames


def _in_turn(xp: Any, x: Any, r: Any, out: Any, each: int) -> None:
    """Put x ^ r and x ^ ~r of each vector into the rows of `out`, in turn, `each` rows of a vector."""
    xp.bitwise_xor(x, r, out=out[::each])
    xp.bitwise_xor(out[::each], 1, out=out[1::each])
    for k in range(2, each):
        out[k::each] = out[k % 2 :: each]


def _without_anchors(x: Any, each: int) -> Any:
    """Return x ^ r and x ^ ~r of each vector, without anchors."""
    place = arrays.of(x)
    out = place.empty((each * len(x), x.shape[1]), np.uint8)
    _in_turn(place.xp, x, anchor_on(place, x.shape[1]), out, each)
    return out


@dataclass
class Anchors:
    """Frames of the anchors, added up in the order in which they are shown.

    Attributes
    ----------
    total : array of float64, shape (ANCHORS, n_pixels), or None
        Their sum, where the frames are; None before the first one.
    n_sets : int
        Frames of each in it.
    """

    total: Any = None
    n_sets: int = 0

    def add_all(self, frames: Any) -> None:
        """Add those that a block begins with."""
        for first in range(0, len(frames), ANCHORS):
            self.add(frames[first : first + ANCHORS])

    def add(self, frames: Any) -> None:
        """Add one of each, one set after the other: the last bits of the sum depend on the order."""
        if self.total is None:
            xp = arrays.of(frames).xp
            self.total = xp.astype(frames, xp.float64)
        elif isinstance(frames, np.ndarray):
            self.total += frames
        else:  # converted first: torch does not compute with uint16
            xp = arrays.of(frames).xp
            self.total += xp.astype(frames, xp.float64)
        self.n_sets += 1


@dataclass(frozen=True)
class Intensity(Method):
    """R x from counts alone.

    Parameters
    ----------
    n_features : int
        Features of a vector.
    black_level_dn : float
        What the camera gives in the dark.
    level_dn : float, optional
        Mean level above the dark that the device gives with every feature on. Without it, the mean over the anchors
        and pixels at hand is taken, which for few pixels is itself a random number (relative error about
        .6 / sqrt(n_pixels), and half of that in y).
    frames_per_vector : int
        Frames of a vector, 2 or more.

    Notes
    -----
    The entries of the matrix have variance 1: the division by the reference is followed by one by their mean
    modulus, which follows from the mean level.
    """

    n_features: int
    black_level_dn: float
    level_dn: float | None = None
    frames_per_vector: int = LEAST_FRAMES

    dtype = np.dtype(np.float32)
    block = BLOCK
    shares = True
    packed = False
    needs_bits = True
    full = True
    reductions = (CountSums, MeanDifferences)

    def __post_init__(self) -> None:
        """Check the number of frames."""
        validation.integer("frames_per_vector", self.frames_per_vector, low=LEAST_FRAMES)

    def frames(self, n: int) -> int:
        """Return the frames of each vector, and the anchors of each block."""
        return frames_needed(n, self.frames_per_vector)

    def encode(self, bits: Any, *, part: bool = False) -> Any:
        """Return x ^ r and x ^ ~r of each vector in turn, after the anchors of its block."""
        each = self.frames_per_vector
        return _without_anchors(bits, each) if part else encode(bits, each)

    def decode(
        self, frames: Any, shared: Any = None, *, out: Any = None, part: bool = False, threads: int | None = None
    ) -> Any:
        """Return the differences Y(x ^ r) - Y(x ^ ~r), of which `finish` makes results."""
        each = self.frames_per_vector
        n = len(frames) // each if part else vectors_in(len(frames), each)
        if out is None:
            out = arrays.of(frames).empty((n, frames.shape[1]), np.float32)
        if part:
            _difference(frames, out, each)
            return out
        anchors = _anchor_frames(each)
        for vectors, rows in _blocks(n, each):
            block = frames[rows]
            shared.add_all(block[:anchors])
            _difference(block[anchors:], out[vectors], each)
        return out

    def reduce(
        self, bits: np.ndarray, taken: TakenTogether, sizes: Sequence[int], shared: Any = None, *, out: Any = None
    ) -> np.ndarray:
        """Return the differences of whole passes; `shared` gets the anchors of their blocks."""
        each, r = self.frames_per_vector, anchor(self.n_features)
        many, n_pixels = _anchor_frames(each), out.shape[1]
        starts, own, first = [], [], 0
        for n in sizes:
            starts += [first + rows.start for _, rows in _blocks(n, each)]
            own.append(first + self.places(range(n), n))
            first += self.frames(n)
        # Of each anchor the frames of all blocks, in their order.
        begins = np.array(starts)[:, None] + np.arange(0, many, ANCHORS)
        frames = np.arange(ANCHORS)[:, None] + begins.reshape(-1)
        shared.total = taken.reduce(np.stack([np.ones_like(r), r, 1 - r]), CountSums(), frames, n_pixels, shared.total)
        shared.n_sets += begins.size
        return taken.reduce(bits, MeanDifferences(r), np.concatenate(own).reshape(-1, each), n_pixels, out)

    def reduction(self, n: int, n_features: int) -> MeanDifferences:
        """Return the differences of vectors of so many features."""
        return MeanDifferences(anchor(n_features))

    def begin(self) -> Anchors:
        """Return anchors to add up."""
        return Anchors()

    def finish(self, results: Any, shared: Anchors) -> Any:
        """Return y, made of the differences in place."""
        means = shared.total / shared.n_sets
        return reconstruct(results, means, self.n_features, self.black_level_dn, self.level_dn)

    def shared(self, show: Show, sizes: Sequence[int], n_features: int) -> Anchors:
        """Return the anchors of all blocks."""
        anchors, each = self.begin(), self.frames_per_vector
        r, many = anchor(n_features), _anchor_frames(each)
        patterns = np.tile(np.stack([np.ones_like(r), r, 1 - r]), (many // ANCHORS, 1))
        for k, n in enumerate(sizes):
            starts = np.array([rows.start for _, rows in _blocks(n, each)])
            places = (starts[:, None] + np.arange(many)).ravel()
            shown = show(k, places, np.tile(patterns, (len(starts), 1)))
            anchors.add_all(shown)
        return anchors

    def places(self, numbers: range, n: int) -> np.ndarray:
        """Return the frames of some vectors, which come after the anchors of the blocks begun."""
        v, each = np.array(numbers), self.frames_per_vector
        first = each * v + _anchor_frames(each) * (v // BLOCK + 1)
        return (first[:, None] + np.arange(each)).ravel()


class IntensityMode(LinearMode):
    """From counts, by any device with mirrors: vectors are combined as bits."""

    name = "intensity"
    what = "by intensities"
    needs_bits = True
    auto = True
    order = 20

    def prepare(
        self, fit: Fit, device: OpuDevice, settings: FrameSettings, n_out: int, place: arrays.Arrays, *,
        complex_output: bool,
    ) -> tuple[Intensity, FrameSettings]:  # fmt: skip
        """Return the method for a fit; the frames have the device's own settings."""
        return intensity_of(fit, device, settings), settings

    def planned(
        self, fit: Fit, device: OpuDevice, settings: FrameSettings, n_out: int, steps: int
    ) -> tuple[Intensity, FrameSettings]:
        """Return the method with levels that are made up."""
        each = device.device_model.operation.frames_per_vector
        return Intensity(fit.traits.n_features_total, 2.0, 10.0, each), settings


def intensity_of(fit: Fit, device: OpuDevice, exposure: FrameSettings) -> Intensity:
    """Return the method for a fit at an exposure, worked out once for both.

    Warns
    -----
    UserWarning
        If the exposure is so long that pixels saturate, or the camera lags much (see the module's notes).
    """
    key = "intensity", exposure.exposure_us
    known = fit.kept.get(key)
    if known is None or known[0] is not device:
        level_dn = device.features_level_dn(fit.layout, exposure.exposure_us)
        # Speckle of a mean level I goes beyond full scale with the probability exp(-full scale / I): 5 % at a third.
        saturates = device.black_level_dn + 3 * level_dn > device.full_scale_dn
        each = device.device_model.operation.frames_per_vector
        known = device, Intensity(fit.traits.n_features_total, device.black_level_dn, level_dn, each), saturates
        fit.kept[key] = known
    _, method, saturates = known
    tell_lag(device, "is smaller by half as much again, with a share of the last vector's in it")
    if saturates:
        warn_outside(
            f"exposure_us is {exposure.exposure_us}, at which all features together give a mean of "
            f"{method.level_dn:.0f} grey levels: many pixels saturate in the frames that the linear transform needs, "
            "and its result is wrong there."
        )
    return method


def _difference(frames: Any, out: Any, each: int) -> None:
    """Put what the means of the even frames and of the odd ones of each vector differ by into `out`, float32."""
    if each == LEAST_FRAMES:
        _subtract(frames[::2], frames[1::2], out)
        return
    # Sums of counts are exact in single precision; `minus` is made anew, as `out` has room for one of the means only.
    place = arrays.of(out)
    xp = place.xp
    minus = place.empty(tuple(out.shape), np.float32)
    for mean, first, many in zip((out, minus), (0, 1), repeats_of(each), strict=True):
        mean[...] = frames[first::each]
        for k in range(first + 2, each, 2):
            more = frames[k::each]
            mean += more if isinstance(more, np.ndarray) else xp.astype(more, xp.float32)
        mean /= many
    out -= minus


def _subtract(plus: Any, minus: Any, out: Any) -> None:
    """Put the differences of frames into `out`, float32."""
    if isinstance(out, np.ndarray):
        np.subtract(plus, minus, out=out, dtype=np.float32)
        return
    xp = arrays.of(out).xp
    out[...] = plus
    out -= xp.astype(minus, xp.float32)


def reconstruct(
    differences: Any, anchors: Any, n_features: int, black_level_dn: float, level_dn: float | None = None,
    threads: int | None = None,
) -> Any:  # fmt: skip
    """Return y, made of the differences Y(x ^ r) - Y(x ^ ~r) in place.

    Parameters
    ----------
    differences : array of any library
        float32, (n, n_pixels).
    anchors : array of the same library, on the same device
        Means of the anchors' frames, float64 (ANCHORS, n_pixels).
    n_features, black_level_dn, level_dn : int, float, float
        As for `Intensity`.
    threads : int, optional
        Threads to use with numpy; one by default. They do not change the result.
    """
    xp = arrays.of(differences).xp
    ones, with_r, without_r = anchors[0], anchors[1], anchors[2]
    mean = level_dn
    if mean is None:
        # Expected: I, I / 2 and I / 2 above the black level, three speckles that are nearly independent.
        mean = float(xp.mean(ones + with_r + without_r) - 3 * black_level_dn) / 2
    if mean <= 0:  # no light at all
        mean = 1.0
    reference = xp.maximum(ones - black_level_dn, _DARKEST * mean)
    # An entry's modulus squared is I / n on average, and its real part has half of that.
    scale = math.sqrt(2 * n_features / mean) / (2 * xp.sqrt(reference))
    offset, scale = xp.astype(with_r - without_r, xp.float32), xp.astype(scale, xp.float32)
    if isinstance(differences, np.ndarray):
        from opusim.bench.reduction_kernels import scale_rows

        few = differences.size < _FEW_RESULTS
        work = functools.partial(scale_rows, differences, offset, scale)
        parallel.over_ranges(work, len(differences), 1 if few else threads or 1)
        return differences
    differences -= offset
    differences *= scale
    return differences


def decode(
    frames: np.ndarray, n_features: int, black_level_dn: float = 0.0, level_dn: float | None = None,
    frames_per_vector: int = LEAST_FRAMES,
) -> np.ndarray:  # fmt: skip
    """Return y for the frames that the patterns of `encode` gave.

    Parameters
    ----------
    frames : numpy.ndarray
        Counts, (frames_needed(n, frames_per_vector), n_pixels), of any real type.
    n_features : int
        Features of a vector.
    black_level_dn, level_dn, frames_per_vector : float, float, int
        As for `Intensity`.

    Returns
    -------
    numpy.ndarray
        float32, (n, n_pixels): R x with entries of R of variance 1.

    Raises
    ------
    ValueError
        If the number of frames is none that `encode` makes.
    """
    method = Intensity(n_features, black_level_dn, level_dn, frames_per_vector)
    anchors = method.begin()
    return method.finish(method.decode(frames, anchors), anchors)
