"""Fields at the camera as torch functions of the mirrors, by the matrix of the features or by the waves."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from opusim.base.errors import no_torch
from opusim.bench.by_matrix import MatrixWay
from opusim.bench.geometry import Geometry
from opusim.bench.projector import Projector
from opusim.bench.sources import MacroSource, make_source
from opusim.device.medium import WaveMedium
from opusim.device.medium.grid import ModeGrid
from opusim.device.medium.layer import LayerFactors

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise no_torch("opusim.differentiable", error) from error

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
        From features to the fields on the pixels.
    way : MatrixWay
        Its way, which has the matrix.
    dtype : torch.dtype
        Real type of the arrays.
    contrast : bool
        Whether the contrast of the mirrors is a variable.
    """

    matrix: Tensor
    constant: Tensor
    leaking: Tensor
    fixed: Tensor

    def __init__(self, projector: Projector, way: MatrixWay, dtype: torch.dtype, *, contrast: bool) -> None:
        super().__init__()
        geometry = projector.geometry
        matrix, constant = way.matrix(0)
        self.shape = (geometry.region.n_pixels, geometry.sampling.samples, 2)
        self.contrast = contrast
        self._keep("matrix", matrix, dtype)
        self._keep("constant", constant, dtype)
        if not contrast:
            return
        # With e the amplitude of a mirror that is off, the matrix goes as 1 - e. The constant has a part that goes as
        # e and one that does not change; with macro-pixels this is a mode that adds the powers of both.
        self.start = geometry.device.dmd.off_amplitude
        self.background: tuple[float, float] | None = None
        if geometry.by_mirror:
            fixed = _field_without_leakage(projector)
            leaking = (constant - fixed.astype(np.float64)) / self.start
        else:
            leaking = matrix.sum(axis=0, dtype=np.float64) / (1 - self.start)
            self.background = on, off = _background_powers(geometry)
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


class _Layer(_Field):
    """The layer in one polarisation: `LayerOperator` written in torch, with phases that may change.

    The other one works in place, block by block in a core's cache, or with transforms whose scale its factors carry;
    none of it is open to gradients. That both are the same law is what `test_fields_are_those_of_the_projector` tests.

    Parameters
    ----------
    factors : LayerFactors
        What the light is multiplied by.
    slopes : mapping of str to LayerFactors
        By how much each variable turns their phases (`WaveMedium.phase_slopes`).
    grid : ModeGrid
        Grid of modes.
    dtype : torch.dtype
        Real type of the arrays.
    """

    def __init__(
        self, factors: LayerFactors, slopes: Mapping[str, LayerFactors], grid: ModeGrid, dtype: torch.dtype
    ) -> None:  # fmt: skip
        super().__init__()
        self.grid = grid
        self.n_screens = len(factors.screens)
        self.kept: set[str] = set()
        for end, of in [("", factors), *((f"_by_{name}", slope) for name, slope in slopes.items())]:
            stop = of.stop if factors.ballistic is not None else None  # it is in the last screen, too
            parts = {"transfer": of.transfer, "ballistic": of.ballistic, "stop": stop}
            for part, array in {"screens": np.stack(of.screens) if of.screens else None, **parts}.items():
                if array is not None:
                    self._keep(part + end, array, dtype)
                    self.kept.add(part + end)

    def forward(self, cells: Tensor, changes: Mapping[str, Tensor]) -> Tensor:
        """Return the fields of the output cells, complex, (batch, rows, columns).

        Parameters
        ----------
        cells : Tensor, shape (batch, rows, columns)
            Complex fields of the input cells.
        changes : mapping of str to Tensor
            By how much each variable has changed.
        """
        screens = self._factor("screens", changes)
        field = self._lens_in(cells) * screens[0]
        if self.n_screens > 1:
            transfer = self._factor("transfer", changes)
            for k in range(1, self.n_screens):
                spectrum = torch.fft.fft2(field, norm="ortho") * transfer
                field = torch.fft.ifft2(spectrum, norm="ortho") * screens[k]
        rows, columns = self.grid.output_block
        # The second pass of the transform skips the rows that nobody reads.
        field = torch.fft.fft(field, dim=-2, norm="ortho")[:, rows]
        field = torch.fft.fft(field, dim=-1, norm="ortho")[..., columns]
        return field + self._past(cells, changes) if "ballistic" in self.kept else field

    def _factor(self, part: str, changes: Mapping[str, Tensor]) -> Tensor:
        factor = self._complex(part)
        for name, change in changes.items():
            if f"{part}_by_{name}" in self.kept:
                factor = factor * _turned(change * getattr(self, f"{part}_by_{name}"))
        return factor

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

    def _past(self, cells: Tensor, changes: Mapping[str, Tensor]) -> Tensor:
        """Light that met no screen: the image of the mirrors upside down, defocused by the layer's thickness."""
        image = torch.roll(self._on_grid(cells).flip(1, 2), (1, 1), dims=(1, 2))
        image = image * self._factor("ballistic", changes)
        if "stop" in self.kept:
            image = torch.fft.fft2(torch.fft.ifft2(image, norm="ortho") * self.stop, norm="ortho")
        rows, columns = self.grid.output_block
        return image[:, rows, columns]


class WaveField(_Field):
    """Fields by the waves: lens, planes with free space between them, lens.

    What the light is multiplied by comes from the medium (`LayerFactors`), and so does what its own variables change
    (`WaveMedium.phase_slopes`). The contrast of the mirrors may be a variable too.

    Parameters
    ----------
    geometry : Geometry
        From features to the fields on the pixels, of a medium that has waves.
    dtype : torch.dtype
        Real type of the arrays.
    variables : set of str
        Paths of the parameters that are variables.
    """

    places: Tensor
    amplitudes: Tensor
    feature: Tensor
    always: Tensor
    rest: Tensor

    def __init__(self, geometry: Geometry, dtype: torch.dtype, *, variables: set[str]) -> None:
        super().__init__()
        medium, grid = geometry.device.medium, geometry.grid
        assert isinstance(medium, WaveMedium) and grid is not None, "a medium of entries has no waves"
        self.grid = grid
        assert geometry.block is not None, "pixels lie somewhere on the grid"
        self.sampling, self.n_pixels, self.block = geometry.sampling, geometry.region.n_pixels, geometry.block
        places = np.empty(0, dtype=np.int64) if self.block.in_order else self.block.places(self.n_pixels).ravel()
        self._keep("places", places, dtype)
        self._keep("amplitudes", self.sampling.amplitudes, dtype)
        self.contrast = "dmd.contrast_ratio" in variables
        # Fields of the medium that are variables, and where they start.
        self.inside = {name: float(getattr(medium, name)) for name in medium.inside if f"medium.{name}" in variables}
        self._keep_source(geometry, dtype)
        how: dict[str, Any] = {"wavelength_m": geometry.device.laser.wavelength_m, "seed": geometry.seed}
        self.layers = nn.ModuleList()
        transfer: Any = None
        for channel in range(self.sampling.channels):
            slopes = {name: medium.phase_slopes(name, grid, channel=channel, **how) for name in self.inside}
            factors = medium.factors(grid, channel=channel, **how)
            if channel and factors.transfer is not None and np.array_equal(factors.transfer, transfer):
                factors = dataclasses.replace(factors, transfer=transfer)  # the same space: kept once
            transfer = factors.transfer
            self.layers.append(_Layer(factors, slopes, grid, dtype))

    def _keep_source(self, geometry: Geometry, dtype: torch.dtype) -> None:
        """Keep which feature drives each input cell, how strongly, and what the cells send with every feature off."""
        size = math.prod(self.grid.input_shape)
        n, dmd = geometry.source.n_features, geometry.device.micromirrors

        def amplitudes(contrast: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            mirrors = dataclasses.replace(dmd, contrast_ratio=contrast)
            modes = make_source(geometry.layout, mirrors, geometry.seed, by_mirror=geometry.by_mirror).modes().tocoo()
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

    # ---------------------------------------------------------------- forward

    def forward(self, x: Tensor, reader: Reader) -> Tensor:
        """Return the fields, (batch, n_pixels, samples, 2), real and imaginary parts last."""
        cells = self._cells(x, reader)
        changes = {name: reader(f"medium.{name}") - start for name, start in self.inside.items()}
        fields = [self._read(layer(cells, changes)) for layer in self.layers]
        return torch.view_as_real(torch.cat(fields, dim=-1))

    def _read(self, block: Tensor) -> Tensor:
        """Points of each pixel, weighted: complex, (batch, n_pixels, points)."""
        fields = self.block.read(block, self.n_pixels, lambda a, index, axis: a.index_select(axis, index), self.places)
        return fields if self.sampling.fine == 1 else fields * self.amplitudes

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


def _turned(phase: Tensor) -> Tensor:
    return torch.polar(torch.ones_like(phase), phase)


def _background_powers(geometry: Geometry) -> tuple[float, float]:
    """Power of the macro-pixels' background from mirrors that are always on, and from the rest of it if it were on."""
    assert geometry.layout is not None, "bare mirrors have no background"
    mirrors = geometry.device.micromirrors
    dark, lit = (
        MacroSource(geometry.layout, dataclasses.replace(mirrors, contrast_ratio=contrast), geometry.seed)
        for contrast in (math.inf, 1.0)
    )
    on = float(dark.background) ** 2
    return on, max(float(lit.background) ** 2 - on, 0.0)


def _field_without_leakage(projector: Projector) -> np.ndarray:
    """Fields with every feature off and mirrors that send nothing when off, as `MatrixWay.matrix` gives them."""
    geometry = projector.geometry
    device = geometry.device.evolve(**{"dmd.contrast_ratio": math.inf})
    other = Projector(
        device, geometry.seed, geometry.layout, geometry.region, resolution="mirrors",
        execution="waves" if device.medium.has_waves else "auto", memory_budget=projector.memory_budget,
        threads=projector.threads,
    )  # fmt: skip
    field = other.way.fields(np.zeros((1, geometry.source.n_features), dtype=np.uint8))[0]
    return np.ascontiguousarray(field).reshape(-1).view(np.float32)
