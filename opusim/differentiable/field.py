"""Fields at the camera as torch functions of the mirrors, by the matrix of the features or by the waves."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.fft
import torch
from torch import Tensor, nn

from opusim.bench.projector import Projector
from opusim.device import propagation
from opusim.device.medium.base import ModeGrid
from opusim.device.medium.phase_screens import round_stop

from .parameters import Reader

__all__ = ["MatrixField", "WaveField"]


class _Field(nn.Module):
    """Keeps arrays that the device and the seed give again: they are no part of a state_dict."""

    def _keep(self, name: str, array: np.ndarray, dtype: torch.dtype) -> None:
        """Keep an array; complex ones as pairs of real numbers, so that `Module.to` turns them too."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor)
        self.register_buffer(name, tensor.to(dtype) if tensor.is_floating_point() else tensor, persistent=False)

    def _complex(self, name: str) -> Tensor:
        return torch.view_as_complex(getattr(self, name))


class MatrixField(_Field):
    """Fields S = constant + x @ matrix, with the matrix that the simulator uses.

    Parameters
    ----------
    projector : Projector
        From features to the fields on the pixels, by the matrix.
    dtype : torch.dtype
        Real type of the arrays.
    contrast : bool
        Whether the contrast of the mirrors is a variable.
    """

    matrix: Tensor
    constant: Tensor
    leaking: Tensor
    fixed: Tensor

    def __init__(self, projector: Projector, dtype: torch.dtype, *, contrast: bool) -> None:
        super().__init__()
        matrix, constant = projector.matrix(0)
        self.shape = (projector.region.n_pixels, projector.samples, 2)
        self.contrast = contrast
        self._keep("matrix", matrix, dtype)
        self._keep("constant", constant, dtype)
        if not contrast:
            return
        # With e the amplitude of a mirror that is off, the matrix goes as 1 - e. The constant has a part that goes as
        # e and one that does not change; with macro-pixels this is a mode that adds the powers of both.
        self.start = projector.device.dmd.off_amplitude
        self.background: tuple[float, float] | None = None
        if projector.by_mirror:
            fixed = _field_without_leakage(projector)
            leaking = (constant - fixed.astype(np.float64)) / self.start
        else:
            leaking = matrix.sum(axis=0, dtype=np.float64) / (1 - self.start)
            self.background = on, off = _background_powers(projector)
            present = math.sqrt(on + self.start**2 * off)
            fixed = (constant - self.start * leaking) / (present or 1.0)
        self._keep("leaking", leaking, dtype)
        self._keep("fixed", fixed, dtype)

    def forward(self, x: Tensor, reader: Reader) -> Tensor:
        """Return the fields, (batch, n_pixels, samples, 2), real and imaginary parts last."""
        if not self.contrast:
            return (x @ self.matrix + self.constant).reshape(len(x), *self.shape)
        e = torch.rsqrt(reader("dmd.contrast_ratio"))
        fixed = self.fixed
        if self.background is not None and any(self.background):
            on, off = self.background
            fixed = fixed * torch.sqrt(on + e * e * off)
        change = (x @ self.matrix) * ((1 - e) / (1 - self.start))
        return (change + (e * self.leaking + fixed)).reshape(len(x), *self.shape)


class WaveField(_Field):
    """Fields by the waves: lens, screens with free space between them, lens.

    The stages are those of `opusim.device.medium.phase_screens`, written in torch. The contrast of the mirrors, the
    standard deviation of the screens' phase and the thickness of the layer may be variables.

    Parameters
    ----------
    projector : Projector
        From features to the fields on the pixels, of a medium of phase screens.
    dtype : torch.dtype
        Real type of the arrays.
    variables : set of str
        Paths of the parameters that are variables.
    """

    feature: Tensor
    always: Tensor
    rest: Tensor
    stop: Tensor
    wave_numbers: Tensor

    def __init__(self, projector: Projector, dtype: torch.dtype, *, variables: set[str]) -> None:
        super().__init__()
        assert projector.grid is not None, "a medium without waves has no grid"
        self.grid: ModeGrid = projector.grid
        self.medium = medium = projector.device.medium
        self.fine, self.channels, self.n_pixels = projector.fine, projector.channels, projector.region.n_pixels
        self.contrast = "dmd.contrast_ratio" in variables
        self.phase_std = "medium.phase_std_rad" in variables
        self.thickness = "medium.thickness_m" in variables
        self._keep_source(projector, dtype)
        side = self.grid.side
        stop = round_stop(side, self.grid.aperture) if self.grid.aperture else None
        for channel in range(self.channels):
            phases, screens = self._screens(projector.seed, channel, stop)
            self._keep(f"screens_{channel}", screens, dtype)
            if self.phase_std:
                self._keep(f"phases_{channel}", phases, dtype)
        space: dict[str, float] = {"step_m": medium.step_m, "wavelength_m": projector.device.laser.wavelength_m}
        if medium.n_screens > 1:
            transfer = propagation.transfer_function((side, side), distance_m=medium.gap_m, **space)
            self._keep("transfer", transfer, dtype)
        if medium.ballistic_fraction:
            free = propagation.transfer_function((side, side), distance_m=medium.thickness_m, **space)
            self._keep("unscattered", free * np.float32(side * math.sqrt(medium.ballistic_fraction)), dtype)
            self._keep("stop", np.ones((1, 1)) if stop is None else stop, dtype)
        if self.thickness:
            self._keep("wave_numbers", _axial_wave_numbers(side, **space), dtype)

    def _keep_source(self, projector: Projector, dtype: torch.dtype) -> None:
        """Keep which feature drives each input cell, how strongly, and what the cells send with every feature off."""
        size = math.prod(self.grid.input_shape)
        n, dmd = projector.source.n_features, projector.device.dmd

        def amplitudes(contrast: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            mirrors = dataclasses.replace(dmd, contrast_ratio=contrast)
            modes = type(projector.source)(projector.layout, mirrors, projector.seed).modes().tocoo()
            row, cell = modes.coords
            feature, weight, off = np.zeros(size, np.int64), np.zeros(size, np.complex64), np.zeros(size, np.complex64)
            drives = row < n  # a cell shows one feature at most
            feature[cell[drives]], weight[cell[drives]] = row[drives], modes.data[drives]
            off[cell[~drives]] = modes.data[~drives]
            return feature, weight, off

        feature, weight, off = amplitudes(math.inf if self.contrast else dmd.contrast_ratio)
        self._keep("feature", feature, dtype)
        self._keep("weight", weight, dtype)
        if not self.contrast:
            self._keep("off", off, dtype)
            return
        # With e the amplitude of a mirror that is off, a cell that is off sends sqrt(A + e^2 B): A is the power of
        # what is always on, B that of the rest if it were on.
        lit = amplitudes(1.0)[2]
        always = np.square(np.abs(off), dtype=np.float64)
        self._keep("always", always, dtype)
        self._keep("rest", np.maximum(np.square(np.abs(lit), dtype=np.float64) - always, 0), dtype)
        self._keep("turn", np.exp(1j * np.angle(lit)), dtype)

    def _screens(self, seed: int, channel: int, stop: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Phases of the screens for a standard deviation of 1, and what the screens do to the light."""
        medium, side = self.medium, self.grid.side
        phases = np.stack([medium.screen_phase(k, side, seed=seed, channel=channel) for k in range(medium.n_screens)])
        screens = np.exp(1j * phases)
        signs = propagation.axis_signs(side)
        for end in (0, -1):  # they put the axis of the lenses in the middle
            screens[end] *= signs[:, None] * signs[None, :]
        screens[-1] *= side * math.sqrt(1 - medium.ballistic_fraction)
        if medium.depolarising or stop is not None:
            passing = np.asarray(medium.exit_amplitude(side, seed=seed, channel=channel))
            passing = passing if stop is None else passing * stop
            screens[-1] *= passing / math.sqrt(float(np.mean(np.square(passing, dtype=np.float64))))
        return phases / (medium.phase_std_rad or 1.0), screens.astype(np.complex64)

    # ---------------------------------------------------------------- forward

    def forward(self, x: Tensor, reader: Reader) -> Tensor:
        """Return the fields, (batch, n_pixels, samples, 2), real and imaginary parts last."""
        cells = self._cells(x, reader)
        longer = None  # change of the layer's thickness, in metres
        if self.thickness:
            longer = reader("medium.thickness_m") - self.medium.thickness_m
        fields = []
        for channel in range(self.channels):
            field = self._through_layer(cells, channel, reader, longer)
            if channel == 0 and self.medium.ballistic_fraction:  # polarised as the laser is
                field = field + self._past_layer(cells, longer)
            fields.append(self._read(field))
        return torch.view_as_real(torch.cat(fields, dim=-1))

    def _cells(self, x: Tensor, reader: Reader) -> Tensor:
        """Fields of the input cells, complex, (batch, rows, columns)."""
        change = x[:, self.feature] * self._complex("weight")
        if self.contrast:
            e = torch.rsqrt(reader("dmd.contrast_ratio"))
            # Cells that send nothing have no slope: the smallest number keeps the root's from being infinite.
            power = self.always + e * e * self.rest
            off = torch.sqrt(power.clamp(min=torch.finfo(power.dtype).tiny)) * (power > 0)
            cells = change * (1 - e) + off * self._complex("turn")
        else:
            cells = change + self._complex("off")
        return cells.reshape(len(x), *self.grid.input_shape)

    def _through_layer(self, cells: Tensor, channel: int, reader: Reader, longer: Tensor | None) -> Tensor:
        medium = self.medium
        screens = self._complex(f"screens_{channel}")
        if self.phase_std:
            change = reader("medium.phase_std_rad") - medium.phase_std_rad
            screens = screens * _turned(change * getattr(self, f"phases_{channel}"))
        field = self._lens_in(cells) * screens[0]
        if medium.n_screens > 1:
            transfer = self._complex("transfer")
            if longer is not None:
                transfer = transfer * _turned(longer / (medium.n_screens - 1) * self.wave_numbers)
            for k in range(1, medium.n_screens):
                spectrum = torch.fft.fft2(field, norm="ortho") * transfer
                field = torch.fft.ifft2(spectrum, norm="ortho") * screens[k]
        rows, columns = self.grid.output_block
        # The second pass of the transform skips the rows that nobody reads.
        field = torch.fft.fft(field, dim=-2, norm="ortho")[:, rows]
        return torch.fft.fft(field, dim=-1, norm="ortho")[..., columns]

    def _lens_in(self, cells: Tensor) -> Tensor:
        """Transform of the cells on the grid; the first pass skips the rows that are dark."""
        field = torch.fft.fft(self._on_grid(cells, columns_only=True), dim=-1, norm="ortho")
        rows, _ = self.grid.input_block
        field = nn.functional.pad(field, (0, 0, rows.start, self.grid.side - rows.stop))
        return torch.fft.fft(field, dim=-2, norm="ortho")

    def _on_grid(self, cells: Tensor, *, columns_only: bool = False) -> Tensor:
        side = self.grid.side
        rows, columns = self.grid.input_block
        padding = (columns.start, side - columns.stop, rows.start, side - rows.stop)
        return nn.functional.pad(cells, padding[:2] if columns_only else padding)

    def _past_layer(self, cells: Tensor, longer: Tensor | None) -> Tensor:
        """Light that met no screen: the image of the mirrors upside down, defocused by the layer's thickness."""
        image = torch.roll(self._on_grid(cells).flip(1, 2), (1, 1), dims=(1, 2))
        free = self._complex("unscattered")
        if longer is not None:
            free = free * _turned(longer * self.wave_numbers)
        image = image * torch.fft.fftshift(free)
        if self.grid.aperture:
            image = torch.fft.fft2(torch.fft.ifft2(image, norm="ortho") * self.stop, norm="ortho")
        rows, columns = self.grid.output_block
        return image[:, rows, columns]

    def _read(self, block: Tensor) -> Tensor:
        """Cells (batch, rows, columns) as (batch, n_pixels, fine^2), pixels in raster order."""
        fine = self.fine
        rows, columns = block.shape[1] // fine, block.shape[2] // fine
        block = block.reshape(len(block), rows, fine, columns, fine).transpose(2, 3)
        return block.reshape(len(block), rows * columns, fine**2)[:, : self.n_pixels]


def _turned(phase: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(phase), phase)


def _axial_wave_numbers(side: int, *, step_m: float, wavelength_m: float) -> np.ndarray:
    """k_z - k of every frequency of a grid, in radians per metre; no wave of the layer is evanescent."""
    f = scipy.fft.fftfreq(side, step_m)
    squared = 1.0 - wavelength_m**2 * (f[:, None] ** 2 + f[None, :] ** 2)
    return 2 * np.pi / wavelength_m * (np.sqrt(np.maximum(squared, 0)) - 1)


def _background_powers(projector: Projector) -> tuple[float, float]:
    """Power of the macro-pixels' background from mirrors that are always on, and from the rest of it if it were on."""
    dmd, kind = projector.device.dmd, type(projector.source)
    dark, lit = (
        kind(projector.layout, dataclasses.replace(dmd, contrast_ratio=contrast), projector.seed)
        for contrast in (math.inf, 1.0)
    )
    on = float(dark.background) ** 2
    return on, max(float(lit.background) ** 2 - on, 0.0)


def _field_without_leakage(projector: Projector) -> np.ndarray:
    """Fields with every feature off and mirrors that send nothing when off, as `Projector.matrix` gives them."""
    other = Projector(
        projector.device.evolve(**{"dmd.contrast_ratio": math.inf}), projector.seed, projector.layout, projector.region,
        resolution="mirrors", execution="waves" if projector.medium.has_waves else "auto",
        memory_budget=projector.memory_budget, threads=projector.threads,
    )  # fmt: skip
    field = other.fields(np.zeros((1, projector.source.n_features), dtype=np.uint8))[0]
    return np.ascontiguousarray(field).reshape(-1).view(np.float32)
