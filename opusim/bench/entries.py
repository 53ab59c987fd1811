"""Fields through a medium whose matrix is given entry by entry."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from opusim.device.medium import EntryMedium

from .geometry import Geometry
from .way import Work

_MODES = 2048  # modes, and outputs, of a tile of entries
_RELAY_BYTES = 64 << 20  # of the entries of all mirrors, for some outputs, that go through a relay together
_AT_ONCE = 64  # features whose pixels are put in order together


class Entries:
    """What makes fields, and the matrix of the features, from the entries of a medium.

    Parameters
    ----------
    geometry : Geometry
        Inputs, medium and pixels; of a medium of entries.
    threads : int
        Threads to use; they do not change the result.
    """

    def __init__(self, geometry: Geometry, threads: int) -> None:
        medium = geometry.device.medium
        assert isinstance(medium, EntryMedium), "a medium of waves has no entries of its own"
        self._geometry, self._medium, self._threads = geometry, medium, threads

    def matrix(self, pixels: range, state: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the matrix of the features, as `MatrixWay` keeps it.

        Parameters
        ----------
        pixels : range
            Pixels of the region.
        state : int
            State of the medium's drift.

        Returns
        -------
        matrix : ndarray of float32, shape (n_features, 2 * len(pixels) * samples)
            Change of the fields by each feature.
        constant : ndarray of float32, shape (2 * len(pixels) * samples,)
            Field with every feature off.
        """
        n = self._geometry.source.n_features
        if self._geometry.relay:
            result = self._through_relay(pixels, state)
        else:
            result = self.through(self._modes(), pixels, state)
        if self._medium.by_feature:
            field = self._background(pixels, state)
            if field is not None:
                result[n, :, 0] = field * self._feature_amplitude
        flat = result.reshape(n + 1, -1).view(np.float32)
        return flat[:n], flat[n]

    def through(self, modes: Any, pixels: range, state: int) -> np.ndarray:
        """Return the fields of sparse amplitudes of modes, entry by entry.

        Modes are taken in chunks of one size, so that sums have one order whatever the region of pixels.

        Parameters
        ----------
        modes : sparse array, shape (n, n_modes)
            Amplitudes.
        pixels : range
            Pixels of the region.
        state : int
            State of the medium's drift.

        Returns
        -------
        ndarray of complex64, shape (n, len(pixels), channels)
            Fields.
        """
        import scipy.sparse

        channels = self._geometry.sampling.channels
        wanted, order = self._wanted(pixels)
        result = np.zeros((modes.shape[0], len(pixels), channels), dtype=np.complex64)
        by_mode = scipy.sparse.csc_array(modes)  # chunks of modes come cheaply
        for start in range(0, modes.shape[1], _MODES):
            inputs = range(start, min(modes.shape[1], start + _MODES))
            part = scipy.sparse.csr_array(by_mode[:, inputs.start : inputs.stop])
            # A feature has its mirrors side by side: few have any in this chunk, and only these are added to.
            lit = np.flatnonzero(np.diff(part.indptr))
            part = part[lit]
            for first in range(0, len(pixels), _MODES):
                columns = slice(first, min(len(pixels), first + _MODES))
                outputs = _runs(wanted[columns])
                for channel in range(channels):
                    result[:, columns, channel][lit] += part @ self._tile(inputs, outputs, state, channel)
        if order is not None:
            for a in range(0, len(result), _AT_ONCE):
                rows = result[a : a + _AT_ONCE]
                rows[:, order] = rows.copy()
        return result

    def _through_relay(self, pixels: range, state: int) -> np.ndarray:
        """Return the fields of the features, and of none, behind a relay: outputs go through it the other way.

        Behind it a feature has light on every mirror, so that the entries of all mirrors are needed at once, for some
        outputs at a time.
        """
        source, channels = self._geometry.source, self._geometry.sampling.channels
        modes = source.modes()
        n_inputs, wanted = math.prod(source.input_shape), self._wanted(pixels)[0]
        result = np.empty((modes.shape[0], len(pixels), channels), dtype=np.complex64)
        step = max(1, _RELAY_BYTES // (8 * modes.shape[1]))
        for first in range(0, len(pixels), step):
            columns = slice(first, min(len(pixels), first + step))
            outputs = _runs(wanted[columns])
            for channel in range(channels):
                of_cells = self._tile(range(n_inputs), outputs, state, channel).T
                back = source.before_relay(of_cells.reshape(-1, *source.input_shape), self._threads)
                result[:, columns, channel] = modes @ np.ascontiguousarray(back.T)
        return result

    def check_content(self) -> None:
        """Raise an error if the medium cannot be used; see `EntryMedium.check_content`."""
        self._medium.check_content()

    def let_go(self) -> None:
        """Keep nothing that the matrix was made from; see `EntryMedium.let_go`."""
        self._medium.let_go()

    def _background(self, pixels: range, state: int) -> np.ndarray | None:
        wanted, order = self._wanted(pixels)
        parts = [
            self._medium.background_field(run, seed=self._geometry.seed, state=state) for run in _runs(wanted)
        ]  # fmt: skip
        known = [part for part in parts if part is not None]
        if not known:
            return None
        field = np.concatenate(known)
        if order is not None:
            field[order] = field.copy()
        return field

    def _tile(self, inputs: range, outputs: list[range], state: int, channel: int) -> np.ndarray:
        polarisation, shift = self._geometry.sampling.wave(channel)
        how: dict[str, Any] = {
            "seed": self._geometry.seed, "state": state, "channel": polarisation, "threads": self._threads
        }  # fmt: skip
        medium = self._medium.shifted(shift)
        tiles = [medium.entries(inputs, run, **how) for run in outputs]
        return tiles[0] if len(tiles) == 1 else np.concatenate(tiles, axis=1)

    def _modes(self) -> Any:
        source = self._geometry.source
        if not self._medium.by_feature:
            return source.modes()
        import scipy.sparse

        # The features all weigh the same, and nothing else is lit.
        n = source.n_features
        weights = scipy.sparse.diags_array(np.full(n, self._feature_amplitude, dtype=np.float32))
        return scipy.sparse.csr_array(scipy.sparse.vstack([weights, scipy.sparse.csr_array((1, n), dtype=np.float32)]))

    @property
    def _feature_amplitude(self) -> np.float32:
        layout, source = self._geometry.layout, self._geometry.source
        if layout is None or self._medium.n_inputs is None:
            return np.float32(math.sqrt(self._geometry.device.dmd.n_mirrors / source.n_features))
        # As of any medium: a pattern, and a calibration with others, have one level of light.
        return np.float32(math.sqrt(layout.mirrors_per_feature))

    def _wanted(self, pixels: range) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the outputs of the medium on some pixels, in the order of their numbers, and the pixel of each.

        None for the pixels if it is their own order. In that of the numbers a medium has outputs side by side.
        """
        outputs = self._outputs[pixels.start : pixels.stop]
        if not self._medium.by_feature or (np.diff(outputs) > 0).all():
            return outputs, None
        order = np.argsort(outputs, kind="stable")
        return outputs[order], order

    @cached_property
    def _outputs(self) -> np.ndarray:
        """Number of the medium's output on each pixel of the region: int64."""
        if not self._medium.by_feature:
            return self._geometry.region.pixels().astype(np.int64)
        found = outputs_by_feature(self._geometry)
        return np.arange(self._geometry.region.n_pixels) if found is None else found

    def matrix_work(self) -> Work:
        """Return the work of making the matrix: an entry for each mode, whatever features it belongs to."""
        return Work(entries=self._geometry.n_modes * self._geometry.n_fields)

    def matrix_making_bytes(self, threads: int) -> int:
        """Return the bytes that making the matrix needs beside it."""
        relay = self._geometry.relay
        return 8 * 3 * _MODES * _MODES + (4 * _RELAY_BYTES + relay.grid_bytes * threads if relay else 0)


def outputs_by_feature(geometry: Geometry) -> np.ndarray | None:
    """Return the outputs of a medium by feature on the pixels of a region; see `EntryMedium.outputs_at`.

    Parameters
    ----------
    geometry : Geometry
        The medium and the pixels.

    Returns
    -------
    ndarray of int64, shape (n_pixels,), or None
        None for the pixels in raster order.

    Raises
    ------
    ValueError
        If the medium has none on a pixel.
    """
    medium = geometry.device.medium
    if not isinstance(medium, EntryMedium) or not medium.by_feature:
        return None
    rows, columns = np.divmod(geometry.region.pixels().astype(np.int64), geometry.region.sensor_columns)
    return medium.outputs_at(rows, columns, geometry.device.camera.shape)


def _runs(outputs: np.ndarray) -> list[range]:
    """Return numbers as runs of consecutive ones."""
    cuts = np.flatnonzero(np.diff(outputs) != 1) + 1
    return [range(int(run[0]), int(run[-1]) + 1) for run in np.split(outputs, cuts)]
