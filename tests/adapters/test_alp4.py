"""The board under the name ALP4, its light, and a real or simulated one as a bench."""

from __future__ import annotations

import ctypes as ct
import warnings

import numpy as np
import pytest

from opusim import OpticalBench
from opusim.adapters.alp4 import AlpBench, AlpCamera, trigger, use
from opusim.bench.laboratory import LabDevice
from opusim.device.record import Device
from opusim.drivers.compat.alp4.board import MODELS
from opusim.drivers.compat.alp4.grid import Grid, blocks_in, centred, read
from opusim.drivers.compat.alp4.table import bench_from_environment, table
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.patterns.reading import read_packed

ROI = (500, 900, 8, 12)
SHAPE = (768, 1024)


def blocks(n, side=96, seed=0, shape=SHAPE, left=None):
    """Random pictures of square blocks, (n, rows, columns) of 0 and 255, as a script makes them by np.kron.

    As many as fit, in the middle: 8 x 10 of 96 mirrors a side on a DLP7000.
    """
    rows, columns = shape[0] // side, shape[1] // side
    small = np.random.default_rng(seed).integers(0, 2, (n, rows, columns), dtype=np.uint8) * np.uint8(255)
    pictures = np.zeros((n, *shape), dtype=np.uint8)
    top, left = (shape[0] - rows * side) // 2, (shape[1] - columns * side) // 2 if left is None else left
    of_blocks = np.kron(small, np.ones((side, side), dtype=np.uint8))
    pictures[:, top : top + rows * side, left : left + columns * side] = of_blocks
    return pictures


def code(alp, call, *arguments, **named):
    """The return code of a call that fails."""
    with pytest.raises(alp.ALPError) as error:
        call(*arguments, **named)
    return {text: number for number, text in alp.ALP_ERRORS.items()}[str(error.value)]


def loaded(board, alp, pictures, bits=1, **timing):
    sequence = board.SeqAlloc(nbImg=len(pictures), bitDepth=bits)
    board.SeqPut(pictures.ravel())
    board.SetTiming(**timing)
    return sequence


# ---------------------------------------------------------------- the board


@pytest.mark.parametrize(("dmd", "kind"), [("DLP7000", 4), ("DLP9500", 3)])
def test_the_board_says_what_it_is(alp, on, dmd, kind, capsys):
    board, bench = on(dmd=dmd)
    rows, columns = bench.mirror_shape
    assert (board.nSizeX, board.nSizeY, board.DMDType.value) == (columns, rows, kind)
    assert f"DMD found, resolution = {columns} x {rows}." in capsys.readouterr().out
    assert board.DevInquire(alp.ALP_DEV_STATE) == 1102
    assert board.DevInquire(alp.ALP_AVAIL_MEMORY) == MODELS[rows, columns].pictures
    # A second program cannot have it, and none can have one of another number.
    assert code(alp, alp.ALP4().Initialize) == 1004
    board.Free()
    assert code(alp, alp.ALP4().Initialize, 77) == 1001
    with pytest.raises(AttributeError, match="_ALPLib"):
        board.Halt()


def test_memory_is_counted_in_binary_pictures_and_ends(alp, on):
    board, _ = on()
    most = board.DevInquire(alp.ALP_AVAIL_MEMORY)
    first = board.SeqAlloc(nbImg=10, bitDepth=8)
    board.SeqAlloc(nbImg=3)
    assert board.DevInquire(alp.ALP_AVAIL_MEMORY) == most - 83
    assert code(alp, board.SeqAlloc, most - 82) == 1007
    board.FreeSeq(first)
    assert board.DevInquire(alp.ALP_AVAIL_MEMORY) == most - 3
    assert code(alp, board.SeqAlloc, 0) == code(alp, board.SeqAlloc, 1, 9) == 1005


def test_picture_times_have_the_limits_of_the_public_figures(alp, on):
    """22 727 and 17 857 binary pictures a second without a dark phase, 290 of 8 bits; 30 a second by default."""
    for dmd, shortest in (("DLP7000", 44), ("DLP9500", 56)):
        board, _ = on(dmd=dmd)
        board.SeqAlloc(nbImg=2)
        board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_UNINTERRUPTED)
        board.SetTiming(pictureTime=shortest)
        assert board.SeqInquire(alp.ALP_MIN_PICTURE_TIME) == board.SeqInquire(alp.ALP_PICTURE_TIME) == shortest
        assert code(alp, board.SetTiming, pictureTime=shortest - 1) == 1005
        board.SetTiming()
        assert board.SeqInquire(alp.ALP_PICTURE_TIME) == 33334 and board.SeqInquire(alp.ALP_OFF_TIME) == 0
        assert code(alp, board.SetTiming, pictureTime=10**7 + 1) == 1005
        board.Free()
    board, _ = on()
    board.SeqAlloc(nbImg=1, bitDepth=8)
    assert 1e6 / board.SeqInquire(alp.ALP_MIN_PICTURE_TIME) == pytest.approx(290, rel=0.02)
    board.SeqControl(alp.ALP_BITNUM, 1)
    board.SetTiming()
    assert board.SeqInquire(alp.ALP_MIN_PICTURE_TIME) < 100


def test_times_that_contradict_each_other_are_refused(alp, on):
    board, _ = on()
    board.SeqAlloc(nbImg=1)
    assert code(alp, board.SetTiming, pictureTime=1000, illuminationTime=1001) == 1005
    assert code(alp, board.SetTiming, pictureTime=1000, synchPulseWidth=1000) == 1005
    assert code(alp, board.SetTiming, synchDelay=130_001) == 1005
    board.SetTiming(illuminationTime=500)
    picture, dark = board.SeqInquire(alp.ALP_PICTURE_TIME), board.SeqInquire(alp.ALP_OFF_TIME)
    assert picture == 500 + dark and 0 < dark < 50
    board.SetTiming(pictureTime=1000)
    assert board.SeqInquire(alp.ALP_ILLUMINATE_TIME) == board.SeqInquire(alp.ALP_ON_TIME) == 1000 - dark


def test_what_is_in_use_stays(alp, on, capsys):
    board, _ = on()
    sequence = loaded(board, alp, blocks(2), pictureTime=1000)
    board.Run()
    assert board.DevInquire(alp.ALP_DEV_STATE) == 1100
    assert code(alp, board.SeqPut, blocks(2).ravel()) == 1008
    assert code(alp, board.Free) == code(alp, board.ProjControl, alp.ALP_PROJ_INVERSION, 1) == 1002
    board.FreeSeq(sequence)
    assert alp.ALP_ERRORS[1008] in capsys.readouterr().out  # printed, not raised, as ALP4lib does it
    assert code(alp, board.Wait) == 1005
    board.Halt()
    assert board.DevInquire(alp.ALP_DEV_STATE) == 1102
    with pytest.raises(ValueError, match="not in list"):
        board.FreeSeq(sequence)
    board.Free()


def test_bad_calls_have_the_codes_of_the_library(alp, on):
    board, _ = on()
    assert code(alp, board.SeqControl, alp.ALP_SEQ_REPEAT, 2) == 1005  # no sequence
    board.SeqAlloc(nbImg=3)
    pictures = blocks(3)
    assert code(alp, board.SeqPut, pictures[:2].ravel()) == 1006
    assert code(alp, board.SeqPut, pictures.ravel(), PicOffset=1, PicLoad=3) == 1005
    assert code(alp, board.SeqControl, alp.ALP_LASTFRAME, 3) == code(alp, board.SeqControl, 4711, 1) == 1005
    assert code(alp, board.SeqControl, alp.ALP_FLUT_MODE, alp.ALP_FLUT_9BIT) == 1005
    assert code(alp, board.DevInquire, 4711) == code(alp, board.DevControl, alp.ALP_PWM_LEVEL, 101) == 1005
    assert code(alp, board.ProjInquire, alp.ALP_PROJ_STATE) == 1005
    with pytest.raises(AttributeError, match="astype"):
        board.SeqPut([0] * 9)
    with pytest.raises(ValueError, match="dataFormat"):
        board.SeqPut(pictures.ravel(), dataFormat="numpy")
    with pytest.raises(TypeError):
        board.ImgToBitPlane(pictures[0])
    with pytest.raises(ValueError, match="Version not supported"):
        alp.ALP4(version="3.9")


def test_the_state_is_in_the_low_bytes_of_a_double(alp, on):
    board, _ = on()
    loaded(board, alp, blocks(1))
    for started, state in ((False, 1201), (True, 1200)):
        if started:
            board.Run()
        assert ct.c_int32.from_buffer(board.ProjInquireEx(alp.ALP_PROJ_STATE)).value == state


# ---------------------------------------------------------------- pictures in memory


def memory(sequence):
    """Mirrors of a sequence, (n * bits, rows, columns)."""
    found = table().board.sequences[sequence.value]
    return np.unpackbits(found.planes, axis=1, bitorder="little").reshape(-1, *table().bench.mirror_shape)


@pytest.mark.parametrize("dmd", ["DLP7000", "DLP9500"])
def test_each_format_brings_the_same_mirrors(alp, on, dmd):
    board, bench = on(dmd=dmd)
    rng = np.random.default_rng(5)
    wanted = rng.integers(0, 2, (3, *bench.mirror_shape), dtype=np.uint8)
    padding = 0 if dmd == "DLP7000" else 16
    packed = np.packbits(wanted, axis=2)
    packed = np.concatenate([packed, rng.integers(0, 255, (*packed.shape[:2], padding), dtype=np.uint8)], axis=2)
    assert packed.shape[2] in (128, 256)
    low = rng.integers(0, 128, wanted.shape, dtype=np.uint8)
    for kind, data in (
        (alp.ALP_DATA_MSB_ALIGN, wanted * 128 + low),
        (alp.ALP_DATA_LSB_ALIGN, wanted + (low & 0xFE)),
        (alp.ALP_DATA_BINARY_TOPDOWN, packed),
        (alp.ALP_DATA_BINARY_BOTTOMUP, packed[:, ::-1]),
    ):
        sequence = board.SeqAlloc(nbImg=3)
        board.SeqControl(alp.ALP_DATA_FORMAT, kind)
        board.SeqPut(data.astype(np.float64).ravel())
        assert np.array_equal(memory(sequence), wanted)
        board.FreeSeq()
        sequence = board.SeqAlloc(nbImg=3)
        board.SeqControl(alp.ALP_DATA_FORMAT, kind)
        flat = np.ascontiguousarray(data).ravel()
        for k in (2, 0, 1):  # pointers, picture by picture
            part = flat.reshape(3, -1)[k].tobytes()
            board.SeqPut((ct.c_ubyte * len(part)).from_buffer_copy(part), PicOffset=k, PicLoad=1, dataFormat="C")
        assert np.array_equal(memory(sequence), wanted)
        board.FreeSeq()


def test_bit_planes_and_lines(alp, on):
    board, _ = on()
    gray = np.random.default_rng(6).integers(0, 16, (2, *SHAPE), dtype=np.uint8)
    planes = np.stack([(gray >> (3 - b)) & 1 for b in range(4)], axis=1).reshape(-1, *SHAPE)
    for kind, data in ((alp.ALP_DATA_MSB_ALIGN, gray << 4), (alp.ALP_DATA_LSB_ALIGN, gray)):
        sequence = board.SeqAlloc(nbImg=2, bitDepth=4)
        board.SeqControl(alp.ALP_DATA_FORMAT, kind)
        board.SeqPut(data.ravel())
        assert np.array_equal(memory(sequence), planes)
    assert code(alp, board.SeqControl, alp.ALP_DATA_FORMAT, alp.ALP_DATA_BINARY_TOPDOWN) == 1005
    new = np.full((1, 100, 1024), 15, dtype=np.uint8)
    board.SeqPutEx(new.ravel(), 200, 100, PicOffset=1, PicLoad=1)
    planes[4:, 200:300] = 1
    assert np.array_equal(memory(sequence), planes)
    assert code(alp, board.SeqPutEx, new.ravel(), 700, 100) == 1005


# ---------------------------------------------------------------- light


def reference(bench, pictures, exposure_s=400e-6):
    """Frames of the same bench made anew, without the board: of 8 x 10 blocks, or of mirrors if there are others."""
    other, layout = OpticalBench(bench.device, bench.seed), centred(bench.mirror_shape, (8, 10))
    planes = packed(pictures)
    bits, recognised = read_packed(layout, planes)
    shown = MirrorPatterns(bits, layout) if recognised.all() else planes
    return other.expose(shown, exposure_s=exposure_s, roi=ROI)


def packed(pictures):
    return np.packbits(pictures >> 7, axis=2, bitorder="little").reshape(len(pictures), -1)


def test_frame_k_is_that_of_picture_k(alp, on):
    board, bench = on()
    pictures = blocks(4)
    wanted = reference(bench, pictures)
    loaded(board, alp, pictures, pictureTime=1000)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(4)
    board.Run(loop=False)
    assert np.array_equal(camera.frames(), wanted) and camera.lost == 0
    assert bench.clock.frames == 4 and bench.clock.elapsed_s == pytest.approx(4e-3)
    board.Wait()
    assert board.DevInquire(alp.ALP_DEV_STATE) == 1102
    # A part of it, some times over; then in a loop.
    board.SeqControl(alp.ALP_FIRSTFRAME, 1)
    board.SeqControl(alp.ALP_LASTFRAME, 2)
    board.SeqControl(alp.ALP_SEQ_REPEAT, 2)
    camera.arm(4)
    board.Run(loop=False)
    board.Wait()  # the camera has its frames when Wait returns
    assert np.array_equal(camera.frames(), wanted[[1, 2, 1, 2]])
    camera.arm(5)
    board.Run()
    board.Halt()
    assert np.array_equal(camera.frames(), wanted[[1, 2, 1, 2, 1]])


def test_inversion_and_upside_down(alp, on):
    board, bench = on()
    pictures = blocks(2)
    board.ProjControl(alp.ALP_PROJ_INVERSION, 1)
    board.ProjControl(alp.ALP_PROJ_UPSIDE_DOWN, 1)
    loaded(board, alp, pictures, pictureTime=1000)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(2)
    board.Run(loop=False)
    # All mirrors are turned round, those beside the blocks too.
    lit = centred(SHAPE, (8, 10))
    layout = MirrorLayout(SHAPE, (8, 10), "macro_2d", 96, lit.roi_offset, lit.roi_size)
    bits, recognised = read_packed(layout, packed(255 - pictures[:, ::-1]))
    assert recognised.all()
    other = OpticalBench(bench.device, bench.seed)
    assert np.array_equal(camera.frames(), other.expose(MirrorPatterns(bits, layout), exposure_s=400e-6, roi=ROI))


def test_gray_is_the_sum_of_planes_by_their_times(alp, on):
    """Light of a picture of 2 bits: two thirds of its time the upper plane, one third the lower."""
    board, bench = on()
    upper, lower = blocks(1, seed=1)[0], blocks(1, seed=2)[0]
    gray = (upper & 128) | (lower & 64)
    sequence = loaded(board, alp, gray[None], bits=2, pictureTime=3020, illuminationTime=3000)
    camera = AlpCamera(roi=ROI, exposure_s=3000e-6)
    camera.arm(1)
    board.Run(loop=False)
    found = camera.frames()[0]
    planes = reference(bench, np.stack([upper, lower]), 3000e-6)
    assert np.allclose(found, planes[0] * 2 / 3 + planes[1] / 3, rtol=1e-4)
    # Fewer bits: the upper plane alone.
    board.SeqControl(alp.ALP_BITNUM, 1, sequence)
    board.SetTiming(sequence, pictureTime=3020)
    camera.arm(1)
    board.Run(loop=False)
    assert np.allclose(camera.frames()[0], planes[0], rtol=1e-4)


def test_an_exposure_longer_than_a_picture_sees_the_dark_phase_and_the_next_one(alp, on):
    board, bench = on()
    pictures = blocks(2)
    of_each = reference(bench, pictures, 1000e-6)
    loaded(board, alp, pictures, pictureTime=1000, illuminationTime=600)
    camera = AlpCamera(roi=ROI, exposure_s=1000e-6)
    camera.arm(1)
    board.Run()
    assert np.allclose(camera.frames()[0], of_each[0] * 0.6, rtol=1e-4)
    board.Halt()
    camera.exposure_s = 1500e-6
    camera.arm(1)
    board.Run()
    assert np.allclose(camera.frames()[0], of_each[0] * 0.6 + of_each[1] * 0.5, rtol=1e-4)
    board.Halt()
    # Without a dark phase the light goes on to the next picture.
    board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_UNINTERRUPTED)
    board.SetTiming(pictureTime=1000)
    camera.arm(1)
    board.Run()
    assert np.allclose(camera.frames()[0], of_each[0] + of_each[1] * 0.5, rtol=1e-4)


def test_pulses_that_come_too_fast_are_lost_and_told(alp, on):
    board, bench = on()
    pictures = blocks(7)
    wanted = reference(bench, pictures, 200e-6)
    board.SeqAlloc(nbImg=7)
    board.SeqPut(pictures.ravel())
    board.SetTiming(pictureTime=220)
    camera = AlpCamera(roi=ROI, exposure_s=200e-6)
    assert camera.frametime_s == pytest.approx(bench.minimum_frametime_s(8, 200e-6)) and 220e-6 < camera.frametime_s
    camera.arm(3)
    board.Run(loop=False)
    with pytest.warns(UserWarning, match="pulses came while the camera was not ready: it needs 250 us") as told:
        frames = camera.frames()
    assert told[0].filename == __file__
    assert np.array_equal(frames, wanted[[0, 2, 4]]) and camera.lost == 2
    board.Wait()
    camera.arm(5)
    board.Run(loop=False)
    words = "armed for 5 frames, but has 4.*and 3 pulses came .*: it needs 250 us"
    with pytest.raises(TimeoutError, match=words) as error:
        camera.frames()
    assert "Set a longer pictureTime" in str(error.value) and camera.lost == 3


@pytest.mark.parametrize(("period_us", "repetitions"), [(220, 1), (100, 1), (100, 3), (130, 2)])
def test_each_pulse_is_a_frame_or_lost(alp, on, period_us, repetitions):
    board, _ = on()
    sequence = loaded(board, alp, blocks(20), pictureTime=period_us)
    board.SeqControl(alp.ALP_SEQ_REPEAT, repetitions, sequence)
    camera = AlpCamera(roi=ROI, exposure_s=200e-6)
    n = 20 * repetitions
    taken = -(-n // -(-250 // period_us))
    camera.arm(n)
    board.Run(loop=False)
    with pytest.raises(TimeoutError, match=f"armed for {n} frames, but has {taken}:"):
        camera.frames()
    assert camera.lost == n - taken
    # No more than were wanted: those behind the last frame are nobody's.
    camera.arm(2)
    board.Run(loop=False)
    with pytest.warns(UserWarning, match="pulses came while"):
        assert len(camera.frames()) == 2
    assert camera.lost == -(-250 // period_us) - 1


def test_snap_sees_what_is_shown_now(alp, on):
    board, bench = on()
    picture = blocks(1)
    lit = reference(bench, picture)[0]
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    dark = reference(bench, np.zeros((1, *SHAPE), np.uint8))[0]
    assert np.array_equal(camera.snap()[0], dark)
    board.SeqAlloc(nbImg=1)
    board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_UNINTERRUPTED)
    board.SeqPut(picture.ravel())
    board.SetTiming(pictureTime=1000)
    board.Run()
    assert np.allclose(camera.snap(3), lit, rtol=1e-5)
    board.Halt()
    assert np.allclose(camera.snap()[0], dark)
    # It stays when it has come to its end in this mode, and not in the other.
    board.Run(loop=False)
    board.Wait()
    assert np.allclose(camera.snap()[0], lit, rtol=1e-5)
    board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_NORMAL)
    board.SetTiming(pictureTime=1000)
    board.Run(loop=False)
    board.Wait()
    assert np.allclose(camera.snap()[0], dark)
    assert camera.dark(2).shape == (2, 8, 12) and not camera.dark().any()


def test_a_sequence_waits_for_another(alp, on):
    """Legacy: one waiting place, a loop ends with its iteration. Queue: in order."""
    board, bench = on()
    pictures = blocks(6)
    wanted = reference(bench, pictures)
    sequences = []
    for k in range(3):
        sequences.append(board.SeqAlloc(nbImg=2))
        board.SeqPut(pictures[2 * k : 2 * k + 2].ravel())
        board.SetTiming(pictureTime=1000)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(4)
    board.Run(sequences[0])
    board.Run(sequences[1], loop=False)
    board.Run(sequences[2], loop=False)  # in place of the one that waits
    assert np.array_equal(camera.frames(), wanted[[0, 1, 4, 5]])
    board.Wait()
    board.ProjControl(alp.ALP_PROJ_QUEUE_MODE, alp.ALP_PROJ_SEQUENCE_QUEUE)
    camera.arm(6)
    for sequence in sequences:
        board.Run(sequence, loop=False)
    board.Wait()
    assert np.array_equal(camera.frames(), wanted)


def test_slave_and_step_wait_for_triggers(alp, on):
    board, bench = on()
    pictures = blocks(3)
    wanted = reference(bench, pictures)
    board.ProjControl(alp.ALP_PROJ_MODE, alp.ALP_SLAVE)
    loaded(board, alp, pictures, pictureTime=1000)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(3)
    board.Run(loop=False)
    with pytest.raises(TimeoutError, match="send triggers in slave mode"):
        camera.frames()
    with pytest.raises(RuntimeError, match="external trigger"):
        board.Wait()
    assert not camera.snap().any()  # dark before the first trigger
    trigger(2)
    with pytest.raises(TimeoutError, match="but has 2"):
        camera.frames()
    trigger()
    assert np.array_equal(camera.frames(), wanted)
    assert board.DevInquire(alp.ALP_DEV_STATE) == 1102
    board.ProjControl(alp.ALP_PROJ_MODE, alp.ALP_MASTER)
    board.ProjControl(alp.ALP_PROJ_STEP, alp.ALP_EDGE_RISING)
    board.Run()
    camera.arm(2)
    assert np.allclose(camera.frames(), wanted[[0, 0]], rtol=1e-5)
    trigger()
    camera.arm(2)
    assert np.allclose(camera.frames(), wanted[[1, 1]], rtol=1e-5)
    with pytest.raises(ValueError, match="n is 0"):
        trigger(0)


def shown(start_us, stop_us):
    """What the mirrors show: (plane, or None where all are off; from; to), neighbours that are alike as one."""
    found, at = [], start_us
    for lit in table().board.lit(start_us, stop_us):
        plane = None if lit.projection is None else lit.plane
        begun = found.pop()[1] if found and found[-1][0] == plane else at
        at += lit.us
        found.append((plane, begun, at))
    assert at == stop_us
    return found


@pytest.mark.parametrize("dark_us", [20, 0])
def test_pulses_come_ahead_of_pictures_by_the_delay_and_all_light_is_left(alp, on, dark_us):
    """From the start of the pulse to the start of the display (docstring of ALP4lib): the picture moves, whole."""
    board, _ = on()
    board.SeqAlloc(nbImg=3)
    board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_NORMAL if dark_us else alp.ALP_BIN_UNINTERRUPTED)
    board.SeqPut(blocks(3).ravel())
    board.SetTiming(pictureTime=1000, synchDelay=200)
    assert board.SeqInquire(alp.ALP_ILLUMINATE_TIME) == board.SeqInquire(alp.ALP_ON_TIME) == 1000 - dark_us
    board.Run(loop=False)
    pictures = [(k, 200 + 1000 * k, 1200 + 1000 * k - dark_us) for k in range(3)]
    if dark_us:
        between = [(None, last, last + dark_us) for _, _, last in pictures[:2]]
        wanted = [(None, 0, 200), pictures[0], between[0], pictures[1], between[1], pictures[2], (None, 3180, 4000)]
    else:
        wanted = [(None, 0, 200), *pictures[:2], (2, 2200, 4000)]  # the last one stays
    assert shown(0, 4000) == wanted
    # In its midst, too; and it has come to its end when the light of the last picture has.
    table().board.pass_time(1100)
    assert shown(1100, 4000)[0] == (0, 1100, 1200 - dark_us)
    board.Wait()
    assert table().board.now_us == 3200 and board.DevInquire(alp.ALP_DEV_STATE) == 1102
    # The next one has a delay of its own, in which the last picture stays where nothing clears it.
    board.Run(loop=False)
    assert shown(3200, 3600) == [(None if dark_us else 2, 3200, 3400), (0, 3400, 3600)]


def test_a_delay_leaves_the_picture_before_on_the_mirrors(alp, on):
    """Frames begin at the pulses: with a delay as long as the exposure each is of the picture before its own."""
    board, bench = on()
    pictures = blocks(3)
    wanted = reference(bench, pictures, 200e-6)
    board.SeqAlloc(nbImg=3)
    board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_UNINTERRUPTED)
    board.SeqPut(pictures.ravel())
    board.SetTiming(pictureTime=2000, synchDelay=200)
    camera = AlpCamera(roi=ROI, exposure_s=200e-6)
    for before in (np.zeros_like(wanted[2]), wanted[2]):  # dark; then what stays of the first run
        camera.arm(3)
        board.Run(loop=False)
        assert np.allclose(camera.frames(), [before, wanted[0], wanted[1]], rtol=1e-4) and camera.lost == 0
        board.Wait()
    # Half of it here: with a dark phase of 20 us, 80 us of the one before and 100 of its own.
    board.SeqControl(alp.ALP_BIN_MODE, alp.ALP_BIN_NORMAL)
    board.SetTiming(pictureTime=2000, synchDelay=100)
    camera.arm(2)
    board.Run()
    assert np.allclose(camera.frames()[1], wanted[0] * 0.4 + wanted[1] * 0.5, rtol=1e-4)
    board.Halt()
    # There are as many pulses as pictures.
    camera.arm(4)
    board.Run(loop=False)
    with pytest.raises(TimeoutError, match="armed for 4 frames, but has 3"):
        camera.frames()


def test_a_delay_that_does_not_fit_is_refused(alp, on):
    board, bench = on()
    pictures = blocks(2)
    loaded(board, alp, pictures, pictureTime=1000)
    for delay in (1000, 1500):
        assert code(alp, board.SetTiming, pictureTime=1000, synchDelay=delay) == 1005
    assert board.SeqInquire(alp.ALP_MAX_SYNCH_DELAY) == 999
    board.SetTiming(pictureTime=1000, synchDelay=999)
    board.SetTiming(pictureTime=200_000)
    assert board.SeqInquire(alp.ALP_MAX_SYNCH_DELAY) == 130_000
    # Of the master mode alone: a trigger shows its picture at once.
    board.SetTiming(pictureTime=1000, synchDelay=400)
    board.ProjControl(alp.ALP_PROJ_MODE, alp.ALP_SLAVE)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(2)
    board.Run(loop=False)
    trigger(2)
    assert np.array_equal(camera.frames(), reference(bench, pictures))


# ---------------------------------------------------------------- one matrix


@pytest.mark.parametrize(("side", "place"), [(3, (0, 128)), (16, (40, 64)), (5, (3, 101)), (2, (700, 960))])
def test_blocks_are_found_where_they_lie(side, place):
    rows, columns = min(12, (768 - place[0]) // side), min(20, (1024 - place[1]) // side)
    layout = MirrorLayout(SHAPE, (rows, columns), "dark_macro_2d", side, place, (rows * side, columns * side))
    bits = np.random.default_rng(side).integers(0, 2, (40, rows * columns), dtype=np.uint8)
    planes = layout.packed(bits)
    assert blocks_in([planes[:7], planes[7:]], SHAPE) == layout
    found, recognised = read(layout, planes)
    assert recognised.all() and np.array_equal(found, bits)


def test_a_block_is_read_as_reading_by_mirrors_does():
    layout = centred(SHAPE, (32, 40))
    bits = np.random.default_rng(0).integers(0, 2, (300, 32 * 40), dtype=np.uint8)
    planes = layout.packed(bits)
    rng = np.random.default_rng(1)
    for row, mirror in zip(planes[:250], rng.integers(0, layout.n_mirrors, 250), strict=True):
        row[mirror // 8] ^= 1 << (mirror % 8)
    ours, known = read(layout, planes), read_packed(layout, planes)
    assert np.array_equal(ours[1], known[1]) and ours[1].sum() == 50
    assert np.array_equal(ours[0][ours[1]], known[0][known[1]])


def test_no_blocks_where_there_are_none():
    assert blocks_in([packed(np.zeros((3, *SHAPE), np.uint8))], SHAPE) is None
    assert blocks_in([packed(np.full((3, *SHAPE), 255, np.uint8))], SHAPE) is None
    single = np.random.default_rng(0).integers(0, 2, (2, *SHAPE), dtype=np.uint8) * np.uint8(255)
    assert blocks_in([packed(single)], SHAPE) is None
    assert blocks_in([], SHAPE) is None


@pytest.mark.slow
def test_the_grid_of_a_program_is_chosen_once(alp, on):
    """Blocks of the memory when light is first needed; coarser pictures meet the same matrix."""
    board, bench = on(grid="auto")
    fine, coarse = blocks(20, 48, left=0), blocks(2, 96, seed=9, left=0)
    sequence = loaded(board, alp, fine, pictureTime=1000)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(20)
    board.Run(loop=False)
    frames = camera.frames()
    layout = table().grid.layout
    assert layout is not None and (layout.n_features, layout.factor) == ((16, 21), 48)
    features = np.stack([p[::48, ::48][:16, :21] >> 7 for p in fine]).reshape(20, -1)
    plain = OpticalBench(bench.device, bench.seed)
    assert np.array_equal(frames, plain.expose(MirrorPatterns(features, layout), exposure_s=400e-6, roi=ROI))
    board.FreeSeq(sequence)
    loaded(board, alp, coarse, pictureTime=1000)
    camera.arm(2)
    board.Run(loop=False)
    frames = camera.frames()
    features = np.stack([p[::48, ::48][:16, :21] >> 7 for p in coarse]).reshape(2, -1)
    assert np.array_equal(frames, plain.expose(MirrorPatterns(features, layout), exposure_s=400e-6, roi=ROI))
    # Finer details end it, which is told once; then all go by mirrors.
    board.FreeSeq()
    finer = blocks(1, 32, seed=4, left=0)
    wanted = reference(bench, np.concatenate([finer, fine[:1]]))
    for k, pictures in enumerate((finer, fine[:1])):
        loaded(board, alp, pictures, pictureTime=1000)
        camera.arm(1)
        board.Run(loop=False)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert np.allclose(camera.frames()[0], wanted[k], rtol=1e-5)
        assert [("another realisation" in str(w.message), w.filename == __file__) for w in told] == [(True, True)] * (
            k == 0
        )
        board.FreeSeq()


@pytest.mark.slow
def test_few_pictures_and_single_mirrors_are_one_matrix(alp, on):
    """Fifteen pictures may be coarser than those to come: they go by mirrors, and so do all after them."""
    board, bench = on(grid="auto")
    pictures = blocks(16, 96)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    loaded(board, alp, pictures[:1], pictureTime=1000)
    camera.arm(1)
    board.Run(loop=False)
    first = camera.frames()[0]
    board.FreeSeq()
    loaded(board, alp, pictures, pictureTime=1000)
    camera.arm(1)
    board.Run(loop=False)
    assert np.allclose(camera.frames()[0], first, rtol=1e-5)
    by_mirrors = OpticalBench(bench.device, bench.seed).expose(packed(pictures[:1]), exposure_s=400e-6, roi=ROI)
    assert np.allclose(first, by_mirrors[0], rtol=1e-5)


def test_a_grid_that_is_declared_is_kept_to(alp, on):
    board, _ = on(grid=(8, 10))
    loaded(board, alp, blocks(1, 32), pictureTime=1000)
    camera = AlpCamera(roi=ROI, exposure_s=400e-6)
    camera.arm(1)
    board.Run(loop=False)
    with pytest.raises(ValueError, match="Picture 0 of 1 does not lie on the grid of this bench"):
        camera.frames()


@pytest.mark.slow
def test_a_bench_of_single_mirrors_has_one_matrix_either_way(alp, on):
    """Recognised or not: the same fields, to what the two ways differ by."""
    board, bench = on(grid="auto", resolution="mirrors")
    loaded(board, alp, blocks(16, 96), pictureTime=1000)
    camera = AlpCamera(roi=(500, 900, 1, 4), exposure_s=400e-6)
    camera.arm(1)
    board.Run(loop=False)
    frames = camera.frames()
    assert table().grid.layout is not None
    wanted = bench.expose(packed(blocks(16, 96)[:1]), exposure_s=400e-6, roi=camera.roi)
    assert np.allclose(frames, wanted, atol=1e-4 * wanted.mean())


def test_behind_a_lens_both_are_one_matrix_too():
    """There each mirror is a mode under every resolution: nothing ends the blocks, and nothing is to be told."""
    shape = (48, 64)
    device = Device.from_dict(
        {
            "preset": "ideal", "name": "lens", "dmd": {"shape": list(shape)},
            "camera": {"shape": [64, 64], "frame_rate_hz": 5780.0},
            "medium": {"kind": "fourier_lens", "transmission": 1e-13},
            "optics": {"held": "magnification", "pixel_integration": False},
            "operation": {"ones_range": [1, 48 * 64]},
        }
    )  # fmt: skip
    grid = Grid(OpticalBench(device, 0), "auto")
    grid.settle([packed(blocks(20, 8, shape=shape))])
    layout = grid.layout
    assert layout is not None and layout.factor == 8
    finer = packed(blocks(1, 4, seed=4, shape=shape))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(grid.patterns(finer), finer)
    assert grid.layout is layout


def test_what_use_and_the_camera_refuse(alp, on, alp_devices):
    board, bench = on()
    with pytest.raises(RuntimeError, match="call Free"):
        use(bench)
    board.Free()
    for arguments, error, words in (
        ({"bench": "aurora"}, TypeError, "must be an opusim.OpticalBench"),
        ({"bench": OpticalBench("ideal")}, ValueError, r"\(768, 1024\) \(DLP7000\)"),
        ({"bench": bench, "dmd": "DLP7000"}, ValueError, "dmd is 'DLP7000' beside a bench"),
        ({"dmd": "DLP4500"}, ValueError, "dmd"),
        ({"bench": bench, "grid": "fine"}, ValueError, "grid is 'fine'"),
        ({"bench": bench, "grid": (2000, 3)}, ValueError, "only .768, 1024. mirrors"),
        ({"bench": bench, "grid": MirrorLayout.lined((4, 8), 2)}, ValueError, "laid out for"),
        ({"bench": bench, "grid": 3}, TypeError, "grid is 3"),
    ):
        with pytest.raises(error, match=words):
            use(**arguments)
    assert use(bench, grid="256x256") is bench
    camera = AlpCamera(roi=ROI)
    for value in (0.0, -1.0, 0.5e-6, 1.5e-6):
        with pytest.raises(ValueError, match="exposure_s"):
            camera.exposure_s = value
    with pytest.raises(ValueError, match="roi"):
        camera.roi = (0, 0, 5000, 1)
    with pytest.raises(ValueError, match="n is 0"):
        camera.arm(0)
    with pytest.raises(RuntimeError, match="not armed"):
        camera.frames()


# ---------------------------------------------------------------- as a bench


def bench_of(board, take=None, **more):
    """A board and its own camera as a bench; frames are taken by another function, if one is given."""
    camera = AlpCamera()
    record = LabDevice(
        "ALP bench", (board.nSizeY, board.nSizeX), camera.sensor_shape, bits=8, black_level_dn=2.6, exposure_s=400e-6,
        frametime_s=500e-6,
    )  # fmt: skip
    return AlpBench(board, take or camera.take, record, camera.bench.minimum_frametime_s, **more)


@pytest.mark.slow
def test_the_board_as_a_bench_passes_the_suite(alp, on):
    from opusim.testing import check_bench

    board, _ = on("aurora", grid="mirrors")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This bench has no shutter")
        print(check_bench(bench_of(board)))


@pytest.mark.parametrize("dmd", ["DLP7000", "DLP9500"])
def test_the_board_as_a_bench_shows_whole_sequences(alp, on, dmd):
    board, bench = on(dmd=dmd, grid=(8, 10) if dmd == "DLP7000" else (8, 14))
    shutter = []
    made = bench_of(board, shutter=shutter.append)
    side = 96 if dmd == "DLP7000" else 135
    pictures = blocks(3, side, shape=bench.mirror_shape)
    mirrors = pictures >> 7
    starts = []
    run = board.Run
    board.Run = lambda **how: (starts.append(how), run(**how))
    layout = centred(bench.mirror_shape, (8, 10) if dmd == "DLP7000" else (8, 14))
    bits, recognised = read_packed(layout, packed(pictures))
    assert recognised.all()
    other = OpticalBench(bench.device, bench.seed)
    wanted = other.expose(MirrorPatterns(bits, layout), exposure_s=400e-6, roi=ROI)
    with pytest.raises(RuntimeError, match="float32"):  # the ideal camera does not round, and the record says 8 bits
        made.expose(mirrors, exposure_s=400e-6, roi=ROI)
    frames = made.show(mirrors, exposure_s=400e-6, frametime_s=500e-6, roi=ROI)
    assert np.allclose(frames, wanted, rtol=1e-5) and len(starts) == 2
    made.dark(1, exposure_s=400e-6, frametime_s=500e-6, roi=ROI)
    assert shutter == [False, True]
    assert board.DevInquire(alp.ALP_AVAIL_MEMORY) == MODELS[bench.mirror_shape].pictures
    # The camera needs more than the board for a frame, but not for a very short time of it.
    assert made.minimum_frametime_s(8, 1e-5) == pytest.approx(bench.minimum_frametime_s(8, 1e-5), abs=1e-6)
    quick = AlpBench(board, AlpCamera().take, made.device, lambda n_rows, exposure_s: 1e-6)
    assert quick.minimum_frametime_s(8, 1e-5) == pytest.approx(MODELS[bench.mirror_shape].load_us * 1e-6)


class Elsewhere:
    """A board whose library is not the simulated one, as far as AlpBench can see."""

    def __init__(self, board):
        self._board = board

    def __getattr__(self, name):
        if name == "_ALPLib":
            return object()
        return getattr(self._board, name)


def sequences_of(board):
    """Note how many pictures each sequence of a board is asked for."""
    asked, allocate = [], board.SeqAlloc
    board.SeqAlloc = lambda nbImg=1, bitDepth=1: (asked.append(nbImg), allocate(nbImg, bitDepth))[1]
    return asked


@pytest.mark.slow
def test_the_bench_keeps_to_the_blocks_of_its_pictures(alp, on):
    """No guards on a simulated board: they are of other blocks, and would leave single mirrors."""
    board, _ = on("aurora", grid="auto")
    made = bench_of(board)
    assert made.guards is False
    made.expose(blocks(20, 48) >> 7, exposure_s=400e-6, roi=ROI)
    layout = table().grid.layout
    assert layout is not None and (layout.n_features, layout.factor) == ((16, 21), 48)


def test_pictures_of_a_grid_that_was_declared_are_taken(alp, on):
    board, _ = on("aurora")
    mirrors = blocks(20) >> 7
    # A real board has guards. Where the user says how inputs lie, they lie so.
    assert bench_of(Elsewhere(board)).guards is True and bench_of(Elsewhere(board), guards=False).guards is False
    guarded = bench_of(Elsewhere(board), input_layout=centred(SHAPE, (8, 10)))
    asked = sequences_of(board)
    frames = guarded.expose(mirrors, exposure_s=400e-6, roi=ROI)
    assert frames.shape == (20, 8, 12) and asked == [24]
    asked.clear()
    assert bench_of(board).expose(mirrors, exposure_s=400e-6, roi=ROI).std() > 0 and asked == [1, 20]
    # Parts of a call; what their memory does not hold is shown as several.
    asked.clear()
    made = bench_of(board)
    made.sequence_frames = 8
    made.expose(mirrors, exposure_s=400e-6, roi=ROI)
    assert asked == [1, 8, 8, 4]


@pytest.mark.parametrize("guards", [None, True])
def test_an_opu_shows_inputs_of_the_grid(alp, on, guards):
    """Patterns over all mirrors would be refused, those of guards and of an OPU's own looks too."""
    from opusim import OPU
    from opusim.drivers import OpuDevice

    board, bench = on("aurora")
    layout = centred(SHAPE, (8, 10))
    made = bench_of(board, guards=guards, input_layout=layout)
    x = np.random.default_rng(2).integers(0, 2, (70, 8, 10), dtype=np.uint8)
    with OPU(100, opu_device=OpuDevice(bench=made)) as opu:
        y = opu.fit_transform2d(x)
        assert opu.current_fit.layout == layout
    assert y.shape == (70, 100) and y.std() > 1


def test_a_picture_stays_for_latency_and_exposure(alp, on):
    board, _ = on()
    late = LabDevice("x", SHAPE, (1088, 2048), latency_s=300e-6)
    made = AlpBench(board, AlpCamera().take, late, lambda n_rows, exposure_s: exposure_s)
    assert made.minimum_frametime_s(8, 400e-6) == pytest.approx(700e-6)


def test_frames_that_the_camera_lost_are_shown_again(alp, on):
    board, bench = on("aurora")
    whole, answers = AlpCamera().take, []

    def one_less(n, start, **how):
        answers.append(n)
        return whole(n, start, **how)[: -1 if len(answers) == 1 else None]

    made = bench_of(board, one_less)
    with pytest.warns(UserWarning, match="1 was shown again"):
        frames = made.expose(blocks(3) >> 7, exposure_s=400e-6, roi=ROI)
    assert len(frames) == 3 and answers == [3, 3]


def test_guards_and_layouts_of_a_bench_are_checked(alp, on):
    board, _ = on()
    with pytest.raises(TypeError, match="guards is 1"):
        bench_of(board, guards=1)
    with pytest.raises(TypeError, match="input_layout of the bench is 3"):
        bench_of(board, input_layout=3)
    with pytest.raises(ValueError, match=r"input_layout of the bench is for \(4, 8\) mirrors"):
        bench_of(board, input_layout=MirrorLayout.lined((4, 8), 2))


def test_a_bench_of_another_size_is_refused(alp, on):
    board, _ = on()
    record = LabDevice("x", (10, 10), (8, 8))
    with pytest.raises(ValueError, match=r"device has \(10, 10\) mirrors, but the board has"):
        AlpBench(board, lambda *a, **b: None, record, lambda n, e: 1.0)
    with pytest.raises(TypeError, match="camera is 3"):
        AlpBench(board, 3, LabDevice("x", SHAPE, (8, 8)), lambda n, e: 1.0)
    with pytest.raises(TypeError, match="device is"):
        AlpBench(board, lambda: 0, "x", lambda n, e: 1.0)
    with pytest.raises(TypeError, match="shutter is 5, but it must be a function of True"):
        bench_of(board, shutter=5)


def test_a_modulator_of_phases_is_not_replaced_in_silence(monkeypatch):
    monkeypatch.setenv("OPUSIM_DEVICE", "ngrc-bench")
    with pytest.warns(UserWarning, match="'ngrc-bench' has a modulator of phases, .*mirrors of a DLP7000 stand"):
        assert bench_from_environment().mirror_shape == SHAPE
