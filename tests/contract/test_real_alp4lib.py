"""ALP4lib 1.1.0 itself beside the module of opusim's: names, values, arguments; and over the simulated library."""

from __future__ import annotations

import ctypes as ct
import importlib.util
import inspect
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.drivers.compat import standin
from opusim.drivers.compat.alp4 import table
from opusim.drivers.compat.alp4.table import with_mirrors


def installed() -> Path | None:
    for distribution in metadata.distributions(name="ALP4lib", path=[p for p in sys.path if p != standin.ALP4LIB]):
        return Path(str(distribution.locate_file("ALP4.py")))
    return None


REAL = installed()
pytestmark = pytest.mark.skipif(REAL is None, reason="ALP4lib is not installed; .ci/peers alp4 has it")
SHAPE = (768, 1024)


def module(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def real():
    return module(REAL, "real_ALP4")


@pytest.fixture(scope="module")
def ours():
    return module(Path(standin.ALP4LIB) / "ALP4.py", "our_ALP4")


@pytest.fixture(params=["real", "ours"])
def either(request, real, ours, monkeypatch):
    """The class ALP4 of either over a new board, and the module of its constants; both say it all by one library."""
    from opusim.device.record import Device
    from opusim.drivers.compat.alp4.library import Library

    device = with_mirrors(Device.load("ideal"), "DLP7000")
    monkeypatch.setattr(table, "_table", None)
    made = table.use(OpticalBench(device, 1))
    chosen = real if request.param == "real" else ours
    if chosen is real:
        # In place of the maker's file; numpy opens libraries of its own.
        with monkeypatch.context() as patch:
            patch.setattr(real.ct, "CDLL", lambda path: Library(made.board))
            board = chosen.ALP4(libDir="/opt/vialux")
    else:
        board = chosen.ALP4(libDir="/opt/vialux")
    board.Initialize()
    return chosen, board


def test_version(real):
    assert metadata.version("ALP4lib") in ("1.1.0", "1.1.0+opusim")


def test_every_name_of_a_star_import_is_there_with_its_value(real, ours):
    public = {name for name in vars(real) if not name.startswith("_")} - {"six"}
    assert public - set(vars(ours)) == set()
    for name in public:
        value, other = getattr(real, name), getattr(ours, name)
        if isinstance(value, (int, dict, str)):
            assert value == other and type(value) is type(other), name
        elif isinstance(value, ct.c_ulong):
            assert value.value == other.value, name
        elif inspect.isclass(value) and issubclass(value, ct.Structure):
            fields = [(field, kind, getattr(value, field).offset) for field, kind in value._fields_]
            names = [(field, getattr(other, field).offset) for field, _ in other._fields_]
            assert [(field, offset) for field, _, offset in fields] == names, name
            assert ct.sizeof(value) == ct.sizeof(other), name
    assert len([name for name in public if name.startswith("ALP_")]) > 120


def test_calls_have_the_same_arguments_and_defaults(real, ours):
    for name, call in inspect.getmembers(real.ALP4, inspect.isfunction):
        wanted, found = inspect.signature(call).parameters, inspect.signature(getattr(ours.ALP4, name)).parameters
        assert [(p.name, p.default, p.kind) for p in wanted.values()] == [
            (p.name, p.default, p.kind) for p in found.values()
        ], name
    for name in ("MAKELONG", "img_to_bitplane", "afficheur", "ALPError"):
        assert list(inspect.signature(getattr(real, name)).parameters) == list(
            inspect.signature(getattr(ours, name)).parameters
        )


def test_docstrings_are_not_theirs(real, ours):
    for name, call in inspect.getmembers(real.ALP4, inspect.isfunction):
        theirs, own = inspect.getdoc(call) or "", inspect.getdoc(getattr(ours.ALP4, name)) or ""
        assert not theirs or own.splitlines()[0] not in theirs, name


def test_small_functions_give_the_same(real, ours):
    bits = np.random.default_rng(0).integers(0, 2, 800)
    assert real.img_to_bitplane(bits) == ours.img_to_bitplane(bits)
    assert real.MAKELONG(3, 7) == ours.MAKELONG(3, 7)
    assert str(real.ALPError(1008)) == str(ours.ALPError(1008))
    packed = np.zeros(1600 * 320, dtype=np.uint8)
    packed[:5000] = np.random.default_rng(1).integers(0, 256, 5000)
    assert np.array_equal(real.afficheur(packed), ours.afficheur(packed))


def outcome(call, *arguments, **named):
    """What a call gives: its value, or the name and the text of its error."""
    try:
        value = call(*arguments, **named)
    except Exception as error:
        return type(error).__name__, str(error).partition("'")[0]
    return value.value if hasattr(value, "value") else value


def session(m, d):
    """Calls of a program, right ones and wrong ones, and what each gives."""
    pictures = (np.random.default_rng(0).integers(0, 2, (3, *SHAPE)) * 255).astype(np.uint8)
    yield outcome(d.SeqInquire, m.ALP_PICNUM)
    yield outcome(d.SetTiming)
    yield outcome(d.Run)
    yield outcome(d.SeqAlloc, 3), outcome(d.SeqAlloc, nbImg=2, bitDepth=8), outcome(d.SeqAlloc, 10**6)
    first, second = d.Seqs[0], d.Seqs[1]
    yield len(d.Seqs), outcome(d.SeqPut, pictures.ravel(), first), outcome(d.SeqPut, pictures.tolist(), first)
    yield outcome(d.SeqPut, pictures.ravel(), first, 1, 3), outcome(d.SeqPut, pictures.ravel(), first, dataFormat="x")
    buffer = (ct.c_ubyte * pictures.size).from_buffer_copy(pictures.tobytes())
    yield (
        outcome(d.SeqPut, buffer, first, dataFormat="C"),
        outcome(d.SeqPutEx, pictures[:1].ravel(), 5, 100, first, 0, 1),
    )
    yield outcome(d.SeqPutEx, pictures.ravel(), 700, 100, first), outcome(d.ImgToBitPlane, pictures[0].ravel())
    for name in (m.ALP_BITPLANES, m.ALP_PICNUM, m.ALP_PICTURE_TIME, m.ALP_MIN_PICTURE_TIME, m.ALP_BIN_MODE, 4711):
        yield outcome(d.SeqInquire, name, first), outcome(d.SeqInquire, name)
    yield outcome(d.SeqControl, m.ALP_BIN_MODE, m.ALP_BIN_UNINTERRUPTED, first), outcome(d.SeqControl, 4711, 1)
    yield outcome(d.SetTiming, first, pictureTime=44), outcome(d.SetTiming, first, pictureTime=43)
    yield outcome(d.SetTiming, SequenceId=second, illuminationTime=5000, synchDelay=10, triggerInDelay=5)
    for name in (m.ALP_DEVICE_NUMBER, m.ALP_AVAIL_MEMORY, m.ALP_DEV_DMDTYPE, m.ALP_TRIGGER_EDGE, 4711):
        yield outcome(d.DevInquire, name)
    yield outcome(d.DevControl, m.ALP_TRIGGER_EDGE, m.ALP_EDGE_RISING), outcome(d.DevInquire, m.ALP_TRIGGER_EDGE)
    gate = m.tAlpDynSynchOutGate(1, 1)
    yield outcome(d.DevControlEx, m.ALP_DEV_DYN_SYNCH_OUT1_GATE, gate), outcome(d.DevControlEx, 4711, gate)
    yield outcome(d.ProjControl, m.ALP_PROJ_INVERSION, 1), outcome(d.ProjControl, 4711, 1)
    yield outcome(d.ProjControlEx, m.ALP_FLUT_WRITE_9BIT, ct.byref(m.tFlutWrite()))
    yield outcome(d.ProjInquire, m.ALP_PROJ_STATE), outcome(d.ProjInquireEx, m.ALP_PROJ_STATE)
    yield outcome(d.Run, first), outcome(d.ProjInquireEx, m.ALP_PROJ_STATE), outcome(d.DevInquire, m.ALP_DEV_STATE)
    yield outcome(d.FreeSeq, first), outcome(d.FreeSeq, first), outcome(d.Wait), outcome(d.Free)
    yield outcome(d.Halt), outcome(d.Run, second, False), outcome(d.Wait), outcome(d.FreeSeq, 2), outcome(d.FreeSeq)
    yield outcome(d.Free), outcome(d.Halt)


_said = {}


def test_a_program_gets_the_same_answers_of_both(either, capsys):
    """ALP4lib over the simulated library, and the module of opusim's: values, errors, and what they print of errors."""
    chosen, board = either
    assert (board.nSizeX, board.nSizeY, board.DMDType.value) == (1024, 768, 4)
    said = list(session(chosen, board))
    said.append([line for line in capsys.readouterr().out.splitlines() if not line.startswith("Loading")])
    assert ("ALPError", chosen.ALP_ERRORS[1007]) in said[3] and len(said) > 25
    _said[chosen.__name__] = said
    if len(_said) == 2:
        assert _said["real_ALP4"] == _said["our_ALP4"]
