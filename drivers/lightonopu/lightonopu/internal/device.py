"""The low-level device, for lightonml 1.4.2 and later."""

from __future__ import annotations

import sys
from typing import Any

from opusim.base.errors import OpuAlreadyUsedException
from opusim.drivers.compat import environment
from opusim.drivers.lowlevel import device
from opusim.drivers.types import AcqState

__all__ = ["AcqState", "OpuAlreadyUsedException", "OpuDevice"]


class OpuDevice(device.OpuDevice):
    """A simulated device where the real driver has a real one; see `opusim.drivers.OpuDevice`.

    Parameters
    ----------
    opu_type : {"type1", "type2", "type3"}
        Kind of the device, which also says what is simulated unless the environment does.
    frametime_us, exposure_us : int
        Times to start with.
    sequence_nb_prelim, verbose : int
        Kept, without effect.
    output_roi : tuple, optional
        Region to start with; the whole sensor by default.
    name : str
        Name of this unit.

    Notes
    -----
    As the real one, it is closed when it is pickled.
    """

    def __init__(
        self,
        opu_type: str,
        frametime_us: float,
        exposure_us: float,
        sequence_nb_prelim: int = 0,
        output_roi: Any = None,
        verbose: int = 0,
        name: str = "opu",
    ) -> None:
        choice = environment.selected(opu_type)
        super().__init__(
            opu_type, frametime_us, exposure_us, sequence_nb_prelim, output_roi, verbose, name,
            device=choice.device, seed=choice.seed, exclusive=choice.exclusive,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        """Close the device and return its settings, among them whether it was open."""
        state = super().__getstate__()
        self.close()
        return state

    @property
    def acq_state(self) -> AcqState | None:
        """What the camera is doing; `linear_reconstruction` learns whose frames come next in this thread."""
        from .. import linear_reconstruction

        linear_reconstruction.note_frames(self.device_model.operation.frames_per_vector)
        return super().acq_state

    def transform2(self, ins: Any, out: Any, batch_index: int = -1, nb_acq_output: Any = None) -> None:
        """Fill `out`; rows without a frame become 0: lightonml's search for a trigger fault takes their mean too."""
        super().transform2(ins, out, batch_index, nb_acq_output)
        if nb_acq_output is not None:
            out[nb_acq_output:] = 0

    def project(self, patterns: Any, n_pixels: int, *, settings: Any = None, **rest: Any) -> Any:
        """Show patterns; what `linear_reconstruction` needs to know of the camera and the light is noted for it."""
        from .. import linear_reconstruction

        settings = self.exposure() if settings is None else settings
        layout = getattr(patterns, "layout", None)
        level_dn = None if layout is None else self.features_level_dn(layout, settings.exposure_us)
        linear_reconstruction.note_levels(self.black_level_dn, level_dn, len(patterns))
        return super().project(patterns, n_pixels, settings=settings, **rest)


_OpuDevice = OpuDevice
del OpuDevice


def __getattr__(name: str) -> Any:
    """Give `OpuDevice`, after lightonml has been shown where the configuration of this device is.

    lightonml asks for the class each time that it makes an OPU, just before it looks for its configuration.
    """
    if name != "OpuDevice":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    config = sys.modules.get("lightonml.internal.config")
    if hasattr(config, "host_path") and not environment.MACHINE_HOST_FILE.exists():
        config.host_path = environment.host_file()  # type: ignore[union-attr]
    return _OpuDevice
