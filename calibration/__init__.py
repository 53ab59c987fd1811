"""Procedures that learn about an optical bench by showing patterns and reading frames.

What belongs here sees a device only through the bench protocol (``expose``, the shutter, the flat field, the sensor's
and the mirrors' shapes), never through the simulation, so that it runs on a laboratory's bench too. Only `truth`, which
tells a report what a simulated device really is, knows more::

    from opusim import OpticalBench
    from opusim.calibration import characterise_camera, write_record

    bench = OpticalBench("aurora")
    camera = characterise_camera(bench, roi=(512, 956, 64, 128))
    write_record("cal.h5", "camera", camera, bench=bench)

`Calibration` runs procedures by their names, each with what earlier ones found, as the command line does. A new one is
a `Procedure`, in a file of its own.

The pure algorithms are in ``opusim.calibration.algorithms``. Names are loaded when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from opusim.bench.protocol import Bench as Bench
    from opusim.calibration.procedures.base import PROCEDURES as PROCEDURES
    from opusim.calibration.procedures.base import Option as Option
    from opusim.calibration.procedures.base import Procedure as Procedure
    from opusim.calibration.procedures.camera import CameraRecord as CameraRecord
    from opusim.calibration.procedures.camera import characterise_camera as characterise_camera
    from opusim.calibration.procedures.drift import DriftRecord as DriftRecord
    from opusim.calibration.procedures.drift import measure_drift as measure_drift
    from opusim.calibration.procedures.exposure import ExposureRecord as ExposureRecord
    from opusim.calibration.procedures.exposure import find_exposure as find_exposure
    from opusim.calibration.procedures.focus import FocusRecord as FocusRecord
    from opusim.calibration.procedures.focus import focus_binary as focus_binary
    from opusim.calibration.procedures.focus import focus_levels as focus_levels
    from opusim.calibration.procedures.focus import focus_phase as focus_phase
    from opusim.calibration.procedures.focus import measure_focus as measure_focus
    from opusim.calibration.procedures.frequency import FrequencyRecord as FrequencyRecord
    from opusim.calibration.procedures.frequency import lock_frequency as lock_frequency
    from opusim.calibration.procedures.linear import LinearRecord as LinearRecord
    from opusim.calibration.procedures.linear import measure_linear as measure_linear
    from opusim.calibration.procedures.matrix.measure import TmRecord as TmRecord
    from opusim.calibration.procedures.matrix.measure import measure_tm as measure_tm
    from opusim.calibration.procedures.matrix.measure import read_tm as read_tm
    from opusim.calibration.procedures.phase import PhaseRecord as PhaseRecord
    from opusim.calibration.procedures.phase import measure_phases as measure_phases
    from opusim.plotting.calibration import report_figure as report_figure

    from .files import read_info as read_info
    from .files import read_record as read_record
    from .files import record_names as record_names
    from .files import write_record as write_record
    from .files import write_records as write_records
    from .report import read_report as read_report
    from .session import Calibration as Calibration
    from .store import CalibrationWarning as CalibrationWarning

# name -> module of this package that it comes from
_LAZY = {
    "Bench": "opusim.bench.protocol",
    "Calibration": ".session",
    "Option": "opusim.calibration.procedures.base",
    "PROCEDURES": "opusim.calibration.procedures.base",
    "Procedure": "opusim.calibration.procedures.base",
    "ExposureRecord": "opusim.calibration.procedures.exposure",
    "find_exposure": "opusim.calibration.procedures.exposure",
    "read_info": ".files",
    "read_record": ".files",
    "record_names": ".files",
    "write_record": ".files",
    "write_records": ".files",
    "FocusRecord": "opusim.calibration.procedures.focus",
    "focus_binary": "opusim.calibration.procedures.focus",
    "focus_levels": "opusim.calibration.procedures.focus",
    "focus_phase": "opusim.calibration.procedures.focus",
    "measure_focus": "opusim.calibration.procedures.focus",
    "FrequencyRecord": "opusim.calibration.procedures.frequency",
    "lock_frequency": "opusim.calibration.procedures.frequency",
    "LinearRecord": "opusim.calibration.procedures.linear",
    "measure_linear": "opusim.calibration.procedures.linear",
    "PhaseRecord": "opusim.calibration.procedures.phase",
    "measure_phases": "opusim.calibration.procedures.phase",
    "CameraRecord": "opusim.calibration.procedures.camera",
    "characterise_camera": "opusim.calibration.procedures.camera",
    "read_report": ".report",
    "CalibrationWarning": ".store",
    "report_figure": "opusim.plotting.calibration",
    "DriftRecord": "opusim.calibration.procedures.drift",
    "measure_drift": "opusim.calibration.procedures.drift",
    "TmRecord": "opusim.calibration.procedures.matrix.measure",
    "measure_tm": "opusim.calibration.procedures.matrix.measure",
    "read_tm": "opusim.calibration.procedures.matrix.measure",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
