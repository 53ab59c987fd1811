"""The mean output of a device as a torch module, with gradients with respect to the input and to the device.

The simulator draws photons, electrons and grey levels: it has no gradient. What it gives on average has one, and
`ExpectedOutput` computes it: the field of the simulator's own matrix or waves, the mean electrons of the intensity,
and the mean of what full well, read noise, clipping and rounding make of them (``opusim.differentiable.camera``)::

    model = ExpectedOutput("aurora", 784, 1000, seed=3, learn=["operation.exposure_s"])
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    ...
    bench = OpticalBench(model.device(), seed=3)  # the simulator, with what was learnt

PyTorch is an optional dependency: the extra ``torch``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.errors import no_torch
from opusim.base.module_state import CarriesState
from opusim.base.tensors import ordinary_tensor
from opusim.bench.by_matrix import MatrixWay
from opusim.bench.inputs import checked_phases, input_layout, output_roi
from opusim.bench.plan import EXECUTIONS
from opusim.bench.prepared import reference_wave
from opusim.bench.projector import Projector
from opusim.bench.region import AnyRoi, Region, Roi, checked_roi
from opusim.device.camera import middle_of_sensor
from opusim.device.record import RESOLUTIONS, Device
from opusim.device.reference import shifted_rad
from opusim.device.versions import told_version
from opusim.patterns.layout import MirrorLayout
from opusim.theory import exposure_moments

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise no_torch("opusim.differentiable", error) from error

from .camera import ROUNDINGS, Reading, expected_counts
from .field import MatrixField, WaveField
from .parameters import PHASE, Parameters, Reader, inside_of

__all__ = ["ExpectedOutput"]

MIRRORS = ("straight-through", "relaxed")


class ExpectedOutput(validation.Fixed, CarriesState, nn.Module):
    """Mean grey levels of a device for binary vectors, as a function that torch can differentiate.

    Parameters
    ----------
    device : Device, str or Path
        The device, a preset's name, or the path of a TOML file.
    n_features : int or tuple of int
        Features of a vector, or (rows, columns) of a picture.
    n_components : int
        Pixels that are read.
    seed : int
        Seed of the device: the same medium and the same sensor as a bench or an `OPU` of this seed.
    learn : iterable of str
        Dotted paths of the device's parameters that become parameters of the module, as in
        ``["camera.gain_dn_per_e"]``; also "reference_phase_rad". `opusim.differentiable.parameters.RANGES` lists
        them.
    reference_phase_rad : float or array_like of float, optional
        Phase of the reference arm in radians; None blocks it. Several phases: an output for each, as in
        `OpticalBench.transform`.
    mirrors : {"straight-through", "relaxed"}
        "straight-through": an input above .5 turns its mirrors on; the gradient passes as if it were the input.
        "relaxed": inputs from 0 to 1 are amplitudes of mirrors between off and on, which no device has.
    rounding : {"mean", "straight-through", "none"}
        "mean": the mean of rounded counts, what averaging many frames gives. "straight-through": the mean level,
        rounded; the gradient passes as if it were not. "none": the mean level, clipped but not rounded. Without
        effect for a camera that does not round (``camera.quantise``).
    layout : MirrorLayout, optional
        How features lie on the mirrors; as large as they fit by default, as an `OPU` lays them.
    roi : tuple of int, optional
        (row, column, n_rows, n_columns) on the sensor; that of an `OPU` of the device's type by default.
    resolution : {"auto", "mirrors"}, optional
        In place of the device's own.
    execution : {"auto", "matrix", "waves"}
        By the matrix of the features or by waves; the cheaper one by default. By the waves if a parameter inside the
        medium is learnt.
    memory_budget : int, optional
        Bytes that the matrix may take; 6 GiB by default.
    dtype : torch.dtype
        Either torch.float32 or torch.float64.

    Attributes
    ----------
    layout : MirrorLayout
        How the inputs lie on the mirrors; this and the next three are what `OpticalBench.transform` takes to show the
        same.
    roi : Roi
        Pixels that are read, (row, column, n_rows, n_columns).
    n_components, seed : int
        Outputs, and seed of the device.
    steps : torch.nn.ParameterDict
        What is learnt, as numbers without unit that start at 0 (``opusim.differentiable.parameters.Parameters``), so
        that every value stays within its range: read them by `values`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be.

    Notes
    -----
    With S the field, R the reference, d its phase and c the coherence, k electrons for an intensity of 1, a jitter of
    the variance j^2, and M the mean over an exposure of exp(i vibration), whose moments over the vibration's phases are
    closed forms (`opusim.theory.exposure_moments`; without `Operation.exposure_average` those of a moment)::

        z        = 2 c S* R exp(i d)
        light    = k (|S|^2 + |R|^2 + Re(z) E[M] exp(-j^2 / 2))
        mean     = light + dark electrons
        variance = mean + (laser.power_noise_in(exposure) * light)^2
                   + k^2 [Re(z)^2 (E|M|^2 + E[M^2] exp(-2 j^2) - 2 E[M]^2 exp(-j^2))
                           + Im(z)^2 (E|M|^2 - E[M^2] exp(-2 j^2))] / 2

    The mean counts of such electrons are those of ``opusim.differentiable.camera.expected_counts``.

    The device stands at the start of its time: nothing has drifted, and a device whose medium moves within an exposure
    (`Device.drift_within`) is refused, and so is one with a Fourier stop. Phase errors are taken as small where they
    move the light across a limit of the camera: with a jitter of .2 rad such a pixel is off by up to four grey levels,
    with .02 by none.

    A ``state_dict`` carries what is learnt, and for which device, seed, layout and pixels it is. A module that was made
    for others refuses it: its values would be others.

    A pixel far above full scale has a gradient of nearly 0, as its mean count has: a start with light on the scale
    learns faster. Fixed patterns (PRNU, DSNU, dark currents, hot pixels, telegraph noise) are those of the sensor of
    this seed. A pixel's telegraph noise counts as normal noise of its variance. A camera with lag is refused: its
    frames also depend on the vector before, of which a batch says nothing.

    Examples
    --------
    >>> import torch
    >>> from opusim.differentiable import ExpectedOutput
    >>> model = ExpectedOutput("aurora", 100, 50, seed=1, learn=["camera.gain_dn_per_e"])
    >>> x = torch.randint(0, 2, (4, 100), generator=torch.Generator().manual_seed(0)).float()
    >>> y = model(x)
    >>> y.shape, y.dtype
    (torch.Size([4, 50]), torch.float32)
    >>> y.mean().backward()
    >>> round(model.device().camera.gain_dn_per_e, 3)
    0.04
    """

    _fixed = dict.fromkeys(("layout", "roi", "n_components", "seed"), "Make another ExpectedOutput.")

    response: Tensor
    offset_e: Tensor
    hot: Tensor
    dark_normal: Tensor
    telegraph_e2: Tensor
    wave: Tensor

    def __init__(
        self,
        device: Device | str | Path,
        n_features: int | tuple[int, int],
        n_components: int,
        *,
        seed: int = 0,
        learn: Iterable[str] = (),
        reference_phase_rad: Any = None,
        mirrors: str = "straight-through",
        rounding: str = "mean",
        layout: MirrorLayout | None = None,
        roi: AnyRoi | None = None,
        resolution: str | None = None,
        execution: str = "auto",
        memory_budget: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        device = Device.load(device)
        if resolution is not None:
            device = device.evolve(resolution=validation.choice("resolution", resolution, RESOLUTIONS))
        validation.choice("execution", execution, EXECUTIONS)
        _check_still(device)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype!r}, but it must be torch.float32 or torch.float64.")
        self.seed = validation.integer("seed", seed, low=0)
        self.mirrors = validation.choice("mirrors", mirrors, MIRRORS)
        self.rounding = validation.choice("rounding", rounding, ROUNDINGS)
        self.n_components = validation.integer("n_components", n_components, low=1, high=device.camera.n_pixels)
        self.layout = _checked_layout(device, n_features, layout)
        if roi is None:
            n = max(device.operation.minimum_output_size, self.n_components)
            # As an OPU of this type reads its camera.
            full_width = device.operation.opu_type != "type1"
            within = output_roi(device)
            self.roi = Roi(*middle_of_sensor(device.camera.shape, n, full_width=full_width, within=within))
        else:
            self.roi = checked_roi(roi, device.camera.shape)
        validation.integer("n_components", n_components, low=1, high=self.roi.n_pixels)
        phases = checked_phases(reference_phase_rad, device.reference.present)
        if phases is not None and np.ndim(reference_phase_rad) == 0:
            phases = phases[0]
        self._learnt = Parameters(device, learn, phases, dtype)
        region = Region(self.roi, self.n_components, device.camera.shape[1])
        projector = Projector(
            device, self.seed, self.layout, region, resolution=device.resolution,
            execution=self._execution(execution),
            memory_budget=None if memory_budget is None else validation.integer("memory_budget", memory_budget, low=1),
        )  # fmt: skip
        plan = projector.plan
        if plan.way == "matrix" and not plan.stored:
            raise ValueError(
                f"A matrix of {self.layout.n_features_total} features and {self.n_components} outputs takes "
                f"{plan.matrix_bytes / 2**20:.0f} MiB and may take {projector.memory_budget / 2**20:.0f} MiB: "
                "memory_budget must allow it, or a medium of kind 'phase_screens' do without."
            )
        variables = set(self._learnt.paths)
        self.field: MatrixField | WaveField = (
            MatrixField(projector, projector.way, dtype, contrast="dmd.contrast_ratio" in variables)
            if isinstance(projector.way, MatrixWay)
            else WaveField(projector.geometry, dtype, variables=variables)
        )
        self.samples = plan.samples
        self._keep_sensor(device, region, dtype)
        if phases is not None:
            self._keep_reference(device, region, dtype)

    def _execution(self, execution: str) -> str:
        inside = [path for path in self._learnt.paths if path in inside_of(self._learnt.device.medium)]
        if inside and execution == "matrix":
            raise ValueError(
                f"execution is 'matrix', but {inside[0]} acts inside the medium and is learnt through the waves: it "
                "must be 'waves' or 'auto'."
            )
        return "waves" if inside else execution

    def _keep(self, name: str, array: np.ndarray, dtype: torch.dtype) -> None:
        self.register_buffer(name, torch.from_numpy(np.array(array)).to(dtype), persistent=False)

    def _keep_sensor(self, device: Device, region: Region, dtype: torch.dtype) -> None:
        """Keep what is fixed about each pixel: relative response, offset, and whether it is hot."""
        places, camera = region.pixels(), device.camera
        self._keep("offset_e", camera.maps(self.seed, places).offset_e, dtype)
        self._keep("response", camera.evolve(quantum_efficiency=1.0).maps(self.seed, places).gain, dtype)
        cold = camera.evolve(dark_current_doubling_k=math.inf)
        marked = cold.evolve(dark_current_e_per_s=0.0, hot_pixel_dark_e_per_s=1.0)
        self._keep("hot", marked.maps(self.seed, places).dark_e_per_s, dtype)
        self.spreads = bool(camera.dark_current_spread_e_per_s and camera.dark_current_e_per_s)
        if self.spreads:
            # The normal number behind each log-normal dark current, as the mean of the currents may be learnt.
            square = math.log1p((camera.dark_current_spread_e_per_s / camera.dark_current_e_per_s) ** 2)
            current = cold.evolve(hot_pixel_fraction=0.0).maps(self.seed, places).dark_e_per_s.astype(np.float64)
            relative = np.maximum(current / camera.dark_current_e_per_s, np.finfo(np.float32).tiny)
            self._keep("dark_normal", (np.log(relative) + square / 2) / math.sqrt(square), dtype)
        amplitude = camera.maps(self.seed, places).telegraph_e
        self.has_telegraph = bool(amplitude.any())
        if self.has_telegraph:
            # Three levels, half of the frames at the middle one.
            self._keep("telegraph_e2", np.square(amplitude, dtype=np.float64) / 2, dtype)

    def _keep_reference(self, device: Device, region: Region, dtype: torch.dtype) -> None:
        """Keep the reference for a relative amplitude of 1."""
        wave = reference_wave(device, self.seed, region) / np.float32(device.reference.relative_amplitude)
        self._keep("wave", wave.view(np.float32).reshape(*wave.shape, 2), dtype)

    # ---------------------------------------------------------------- what it gives

    @property
    def steps(self) -> nn.ParameterDict:
        """What is learnt, as numbers without unit; names have two underscores in place of the dot."""
        return self._learnt.steps

    def forward(self, x: Tensor, *, values: Mapping[str, Any] | None = None) -> Tensor:
        """Return the mean grey levels.

        Parameters
        ----------
        x : Tensor, shape (batch, n_features) or (n_features,)
            Features; a picture's in raster order.
        values : mapping of str to Tensor or float, optional
            Values of what is learnt, in their own units, in place of the module's: the output then has a gradient
            with respect to these.

        Returns
        -------
        Tensor of `dtype`, shape (batch * number of phases, n_components), or (n_components,)
            Grey levels.

        Raises
        ------
        TypeError, ValueError
            If `x` is not a tensor of this shape, or not from 0 to 1 where mirrors are relaxed; if `values` names
            something that is not learnt.
        """
        reader = self._learnt.reader(self._learnt.values(values))
        rows = self._on_mirrors(x)
        intensity, spread = self._light(self.field(rows, reader), reader)
        electrons_each = self._electrons_per_intensity(reader)
        electrons = intensity * electrons_each
        camera = self._learnt.device.camera
        dark = self._ordinary_dark(reader) * (1 - self.hot)
        dark = dark + reader("camera.hot_pixel_dark_e_per_s") * self.hot
        mean = electrons + dark * (reader("operation.exposure_s") * camera.dark_current_factor)
        variance = mean if camera.shot_noise else torch.zeros_like(mean)
        power_noise = reader("laser.power_noise")
        if isinstance(power_noise, Tensor) or power_noise:
            averaged = self._averaged_power(reader("operation.exposure_s"))
            variance = variance + averaged * (power_noise * electrons) ** 2
        if spread is not None:
            variance = variance + spread * electrons_each**2
        read_noise_e = reader("camera.read_noise_e")
        if self.has_telegraph:
            read_noise_e = torch.sqrt(read_noise_e**2 + self.telegraph_e2)
        reading = Reading(
            full_well_e=reader("camera.full_well_e"),
            read_noise_e=read_noise_e,
            gain_dn_per_e=reader("camera.gain_dn_per_e"),
            black_level_dn=reader("camera.black_level_dn"),
            full_scale_dn=float(camera.full_scale_dn) if camera.quantise else math.inf,
            nonlinearity=camera.nonlinearity,
            scale_end_e=self._scale_end_e(reader) if camera.nonlinearity else math.inf,
        )
        counts = expected_counts(mean, variance, self.offset_e, reading, rounding=self.rounding)
        return counts[0] if x.ndim == 1 and len(counts) == 1 else counts

    def values(self) -> dict[str, float | np.ndarray]:
        """Return what is learnt, in its own units.

        Returns
        -------
        dict of float or ndarray
            Values by path.
        """
        with torch.no_grad():
            found = {path: value.cpu().numpy() for path, value in self._learnt.values().items()}
        return {path: float(value) if value.ndim == 0 else value for path, value in found.items()}

    def device(self) -> Device:
        """Return the device with what was learnt, for the simulator.

        Returns
        -------
        Device
            The device; the phase of the reference is in `values`.
        """
        return self._learnt.learnt_device()

    # ---------------------------------------------------------------- inside

    def _state(self) -> dict[str, Any]:
        device = self._learnt.device
        phase: Any = self._learnt.phase_rad
        layout = {f.name: getattr(self.layout, f.name) for f in dataclasses.fields(self.layout)}
        return {
            "device": device.fingerprint(), "device_name": device.name, "seed": self.seed, "layout": layout,
            "roi": tuple(self.roi), "n_components": self.n_components,
            "reference_phase_rad": None if phase is None else phase.tolist(),
        }  # fmt: skip

    def _take_state(self, content: dict[str, Any]) -> None:
        here = self._state()
        for name in ("device", "seed", "layout", "roi", "n_components", "reference_phase_rad"):
            if content.get(name) != here[name]:
                shown = "device_name" if name == "device" and content["device_name"] != here["device_name"] else name
                version = (
                    told_version(str(content["device"]), self._learnt.device, "the state") if name == "device" else ""
                )
                raise ValueError(
                    f"{name} is {here[shown]!r} here, but {content.get(shown)!r} in the state, and what is learnt "
                    f"counts from it: make the module with the same. {version}".rstrip()
                )

    @property
    def _without_state(self) -> str:
        return "what is learnt is taken to be of the same device, seed, layout and pixels."

    def _on_mirrors(self, x: Tensor) -> Tensor:
        n = self.layout.n_features_total
        if not isinstance(x, Tensor) or x.is_complex():
            kind = f"a tensor of {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise TypeError(f"x is {kind}, but it must be a tensor of real numbers.")
        x = ordinary_tensor("x", x)
        if x.ndim not in (1, 2) or x.shape[-1] != n:
            raise ValueError(f"x has shape {tuple(x.shape)}, but it must be (batch, {n}) or ({n},).")
        if x.device != self.offset_e.device:
            raise ValueError(
                f"x is on {x.device}, but the module is on {self.offset_e.device}: they must be on one device."
            )
        rows = torch.atleast_2d(x).to(self.offset_e.dtype)
        if self.mirrors == "straight-through":
            return (rows > 0.5).to(rows.dtype) + (rows - rows.detach())
        if rows.numel() and not bool(((rows >= 0) & (rows <= 1)).all()):
            low, high = rows.detach().aminmax()
            raise ValueError(
                f"x reaches from {low.item():g} to {high.item():g}, but mirrors='relaxed' takes values from 0 to 1."
            )
        return rows

    def _light(self, field: Tensor, reader: Reader) -> tuple[Tensor, Tensor | None]:
        """Mean and variance, from phase errors, of the intensity (batch * phases, n_pixels), summed over samples."""
        signal = field.square().sum(dim=(-1, -2))
        if self._learnt.phase_rad is None:
            return signal, None
        wave = reader("reference.relative_amplitude") * self.wave
        alone = wave.square().sum(dim=(-1, -2))
        # z = 2 c S* R exp(i d), d being the phase that is meant; the fringe is Re z exp(i error).
        device = self._learnt.device
        pixel = device.sampling.fringe_contrast(device.reference.carrier_cycles_per_pixel)
        scale = 2 * reader("reference.coherence") * pixel
        real = scale * (field * wave).sum(dim=(-1, -2))[:, None]
        imaginary = scale * (field[..., 0] * wave[..., 1] - field[..., 1] * wave[..., 0]).sum(dim=-1)[:, None]
        asked = reader.values[PHASE] if PHASE in reader.values else self._learnt.phase_rad
        turn = shifted_rad(asked, reader("reference.scale_error"), reader("reference.nonlinearity"))
        turn = torch.as_tensor(turn).reshape(-1, 1)
        cosine, sine = torch.cos(turn).to(real.dtype), torch.sin(turn).to(real.dtype)
        along, across = real * cosine - imaginary * sine, real * sine + imaginary * cosine
        jitter2 = torch.as_tensor(reader("reference.jitter_rad") ** 2, dtype=torch.float64)
        middle, power, square = self._moments()
        left = torch.exp(-jitter2 / 2) * middle
        mean = (signal[:, None] + alone) + along * left
        # Differences as small as they are: with the moments of no vibration, 1, they are those of the jitter.
        lost, turned = power - 1, square * torch.expm1(-2 * jitter2) + (square - 1)
        fringe = middle**2 * torch.expm1(-jitter2) + (middle**2 - 1)
        spread = along**2 * (lost + turned - 2 * fringe) + across**2 * (lost - turned)
        return mean.flatten(0, 1), spread.flatten(0, 1) / 2

    def _ordinary_dark(self, reader: Reader) -> Any:
        """Dark current of each pixel, as if none were hot, before the factor of the temperature."""
        mean = reader("camera.dark_current_e_per_s")
        if not self.spreads:
            return mean
        relative = self._learnt.device.camera.dark_current_spread_e_per_s / torch.as_tensor(mean, dtype=torch.float64)
        square = torch.log1p(relative * relative).to(self.dark_normal)
        return mean * torch.exp(torch.sqrt(square) * self.dark_normal - square / 2)

    def _scale_end_e(self, reader: Reader) -> Any:
        """Charge of the end of the scale, as `Camera.scale_end_e`."""
        full_scale_dn = float(self._learnt.device.camera.full_scale_dn)
        full_e = (full_scale_dn - reader("camera.black_level_dn")) / reader("camera.gain_dn_per_e")
        well_e = reader("camera.full_well_e")
        if isinstance(full_e, Tensor) or isinstance(well_e, Tensor):
            return torch.minimum(*(torch.as_tensor(one, device=self.response.device) for one in (full_e, well_e)))
        return min(full_e, well_e)

    def _averaged_power(self, exposure_s: Any) -> Any:
        """Variance of the power's mean over an exposure, over that of the power: as `Laser.power_noise_in`."""
        bandwidth_hz = self._learnt.device.laser.power_noise_bandwidth_hz
        if not bandwidth_hz:
            return 1.0
        length = torch.as_tensor(4 * bandwidth_hz * exposure_s, dtype=self.response.dtype, device=self.response.device)
        # A series where the difference would be lost in rounding, its terms by Horner as in the laser.
        long, short = length.clamp(min=0.5), length.clamp(max=0.5)
        series = torch.ones_like(short)
        for k in range(14, 0, -1):
            series = 1 - short / (k + 2) * series
        return torch.where(length <= 0.5, series, 2 * (long + torch.expm1(-long)) / long**2)

    def _moments(self) -> tuple[float, float, float]:
        """Means over the vibration's phases of a frame's phasor M, of |M|^2 and of M^2."""
        device = self._learnt.device
        lines = device.reference.vibration(self.seed)
        if not len(lines):
            return 1.0, 1.0, 1.0
        # Of an exposure that is learnt, that of the start: the first does not depend on it, the others make noise.
        exposure_s = device.operation.exposure_s if device.operation.exposure_average else 0.0
        return exposure_moments(lines.hz, lines.rad, exposure_s)

    def _electrons_per_intensity(self, reader: Reader) -> Tensor:
        """Mean electrons of each pixel for a mean intensity of 1 on each of its samples."""
        photons = self._learnt.device.photons_per_intensity(reader("operation.exposure_s"), reader)
        return self.response * (photons * reader("camera.quantum_efficiency") / self.samples)


def _check_still(device: Device) -> None:
    """Refuse a device whose frames average over a medium that moves, or depend on others: one matrix, one vector."""
    exposure_s = device.operation.exposure_s
    drift = device.drift_within(exposure_s)
    if not device.modulator.binary:
        raise ValueError(
            f"The modulator of device is a {type(device.modulator).__name__}, which turns phases, but ExpectedOutput "
            "knows mirrors that are on or off: device must have micromirrors."
        )
    if device.modulator.moves:
        raise ValueError(
            "The light of one pattern changes from frame to frame on the modulator of device, but ExpectedOutput knows "
            "vectors one by one: switch off what moves in it."
        )
    if device.camera.lag:
        raise ValueError(
            f"camera.lag is {device.camera.lag!r}, with which a frame depends on the one before it, but ExpectedOutput "
            "knows vectors one by one: camera.lag must be 0."
        )
    if device.fourier_stop.present:
        raise ValueError(
            f"fourier_stop.diameter_cycles is {device.fourier_stop.diameter_cycles!r}, but ExpectedOutput does not "
            "know the light behind a Fourier stop: it must be inf."
        )
    if len(device.sampling.lines) > 1:
        raise ValueError(
            f"laser.linewidth_hz is {device.laser.linewidth_hz!r}, which makes a frame of this medium the sum of "
            f"{len(device.sampling.lines)} frequencies, but ExpectedOutput knows light of one: it must be 0, or "
            "narrower."
        )
    if drift is not None:
        raise ValueError(
            f"operation.exposure_s is {exposure_s:g}, in which a medium of medium.decorrelation_time_s = "
            f"{drift.decorrelation_time_s:g} moves, but ExpectedOutput knows one matrix: the exposure must be at most "
            f"{drift.step_s:.3g} s, or operation.exposure_average False."
        )


def _checked_layout(device: Device, n_features: Any, layout: MirrorLayout | None) -> MirrorLayout:
    """Return the layout given, or the largest one that fits: that of an `OPU` of the strategy "full"."""
    shape = device.dmd.shape
    if layout is not None:
        if not isinstance(layout, MirrorLayout):
            raise TypeError(f"layout is {layout!r} ({type(layout).__name__}), but it must be a MirrorLayout.")
        if layout.dmd_shape != shape:
            raise ValueError(f"layout is for {layout.dmd_shape} mirrors, but the device has {shape}.")
        asked = math.prod(n_features) if isinstance(n_features, (tuple, list)) else n_features
        if asked != layout.n_features_total:
            raise ValueError(f"n_features is {n_features!r}, but the layout has {layout.n_features}.")
        return layout
    own = input_layout(device)
    if own is not None:
        shape2 = isinstance(n_features, (tuple, list))
        n = math.prod(validation.shape2("n_features", n_features)) if shape2 else n_features
        return own.first(validation.integer("n_features", n, low=1, high=own.n_features_total))
    if isinstance(n_features, (tuple, list)):
        rows, columns = validation.shape2("n_features", n_features)
        side = min(shape[0] // rows, shape[1] // columns)
        if not side:
            raise ValueError(f"n_features is {n_features!r}, but a picture must fit on the {shape} mirrors.")
        size = (rows * side, columns * side)
        corner = (shape[0] // 2 - size[0] // 2, shape[1] // 2 - size[1] // 2)
        return MirrorLayout.macro_2d(shape, (rows, columns), corner, size)
    n = validation.integer("n_features", n_features, low=1, high=math.prod(shape))
    return MirrorLayout.plain(shape, n) if n == math.prod(shape) else MirrorLayout.lined(shape, n)
