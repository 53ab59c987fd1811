"""Procedures that learn about an optical bench by showing patterns and reading frames.

What belongs here sees a device only through the bench protocol (``expose``, the shutter, the flat field, the sensor's
and the mirrors' shapes), never through the simulation, so that it runs on a laboratory's bench too::

    from opusim import OpticalBench
    from opusim.calibration import characterise_camera, write_record

    bench = OpticalBench("aurora")
    camera = characterise_camera(bench, roi=(512, 956, 64, 128))
    write_record("cal.h5", "camera", camera, bench=bench)

The pure algorithms are in the modules `phase_shifting`, `off_axis`, `masks` and `hadamard`. Names are loaded when they
are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim._lazy import lazy_names

if TYPE_CHECKING:
    from .bench_protocol import Bench as Bench
    from .exposure import ExposureRecord as ExposureRecord
    from .exposure import find_exposure as find_exposure
    from .files import read_info as read_info
    from .files import read_record as read_record
    from .files import record_names as record_names
    from .files import write_record as write_record
    from .focus import FocusRecord as FocusRecord
    from .focus import focus_binary as focus_binary
    from .focus import focus_phase as focus_phase
    from .focus import measure_focus as measure_focus
    from .linear import LinearRecord as LinearRecord
    from .linear import measure_linear as measure_linear
    from .phase_steps import PhaseRecord as PhaseRecord
    from .phase_steps import measure_phases as measure_phases
    from .photon_transfer import CameraRecord as CameraRecord
    from .photon_transfer import characterise_camera as characterise_camera
    from .report import read_report as read_report
    from .report_figure import report_figure as report_figure
    from .stability import DriftRecord as DriftRecord
    from .stability import measure_drift as measure_drift
    from .transmission import TmRecord as TmRecord
    from .transmission import measure_tm as measure_tm
    from .transmission import read_tm as read_tm

# name -> module of this package that it comes from
_LAZY = {
    "Bench": ".bench_protocol",
    "ExposureRecord": ".exposure",
    "find_exposure": ".exposure",
    "read_info": ".files",
    "read_record": ".files",
    "record_names": ".files",
    "write_record": ".files",
    "FocusRecord": ".focus",
    "focus_binary": ".focus",
    "focus_phase": ".focus",
    "measure_focus": ".focus",
    "LinearRecord": ".linear",
    "measure_linear": ".linear",
    "PhaseRecord": ".phase_steps",
    "measure_phases": ".phase_steps",
    "CameraRecord": ".photon_transfer",
    "characterise_camera": ".photon_transfer",
    "read_report": ".report",
    "report_figure": ".report_figure",
    "DriftRecord": ".stability",
    "measure_drift": ".stability",
    "TmRecord": ".transmission",
    "measure_tm": ".transmission",
    "read_tm": ".transmission",
}

__all__ = [
    "Bench", "CameraRecord", "DriftRecord", "ExposureRecord", "FocusRecord", "LinearRecord", "PhaseRecord", "TmRecord",
    "characterise_camera", "find_exposure", "focus_binary", "focus_phase", "measure_drift", "measure_focus",
    "measure_linear", "measure_phases", "measure_tm", "read_info", "read_record", "read_report", "read_tm",
    "record_names", "report_figure", "write_record",
]  # fmt: skip

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
