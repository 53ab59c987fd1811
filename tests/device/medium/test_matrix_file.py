"""What the file of a measured matrix may hold: places of pixels, numbers of any magnitude, MATLAB's ways; memory."""

from __future__ import annotations

import math
import time
import tracemalloc

import h5py
import numpy as np
import pytest

from opusim.bench.bench import OpticalBench
from opusim.calibration import measure_tm, read_tm
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

IDEAL = Device.load("ideal")
N_INPUTS, REGION = 30, (500, 40, 12, 20)
N_OUTPUTS = REGION[2] * REGION[3]
LAYOUT = MirrorLayout(
    dmd_shape=IDEAL.dmd.shape, n_features=(N_INPUTS,), kind="lined", factor=math.prod(IDEAL.dmd.shape) // N_INPUTS,
    roi_offset=(0, 0), roi_size=IDEAL.dmd.shape,
)  # fmt: skip


def normal(*shape, seed=0):
    parts = np.random.default_rng(seed).standard_normal((2, *shape))
    return parts[0] + 1j * parts[1]


TM = normal(N_OUTPUTS, N_INPUTS)
PLACES = np.stack(np.unravel_index(np.arange(N_OUTPUTS), REGION[2:]), axis=1) + REGION[:2]


def device(path, **medium):
    return IDEAL.evolve(medium=MeasuredMedium(path=str(path), transmission=IDEAL.medium.transmission, **medium))


def shown(bench, roi=REGION, n_pixels=None, n=3):
    bits = np.random.default_rng(7).integers(0, 2, size=(n, N_INPUTS), dtype=np.uint8)
    n_pixels = roi[2] * roi[3] if n_pixels is None else n_pixels
    return bench.transform(MirrorPatterns(bits, LAYOUT), exposure_s=400e-6, roi=roi, n_pixels=n_pixels)


@pytest.fixture
def stored(tmp_path):
    """Write data sets into a file, and return its path."""

    def write(**data):
        path = tmp_path / "tm.h5"
        with h5py.File(path, "w") as file:
            for name, values in data.items():
                file[name] = values
        return path

    return write


# ---------------------------------------------------------------- places of pixels


@pytest.mark.parametrize("budget", [None, 1], ids=["kept", "in tiles"])
@pytest.mark.parametrize("shuffled", [False, True], ids=["in raster order", "shuffled"])
def test_a_region_that_moves_keeps_the_rows_of_its_pixels(stored, shuffled, budget):
    """Without noise the same pixel of the sensor reads the same count, to the bit, wherever the region begins."""
    order = np.random.default_rng(3).permutation(N_OUTPUTS) if shuffled else np.arange(N_OUTPUTS)
    path = stored(tm=TM[order], background=TM[order, 0], pixels=PLACES[order])
    bench = OpticalBench(device(path, decorrelation_time_s=1e5), 0, memory_budget=budget)
    for elapsed_s in (0.0, 5e4):
        bench.advance_to(bench.clock.frames, max(elapsed_s, bench.clock.elapsed_s))
        whole = shown(bench).reshape(3, *REGION[2:])
        row, column = REGION[:2]
        for down, right in ((0, 0), (3, 0), (0, 7), (5, 11)):
            part = shown(bench, roi=(row + down, column + right, 6, 9)).reshape(3, 6, 9)
            np.testing.assert_array_equal(part, whole[:, down : down + 6, right : right + 9])
        first = shown(
            bench, roi=(row + 2, column + 4, 6, 9), n_pixels=13
        )  # of a region not all of whose pixels are read
        np.testing.assert_array_equal(first, whole[:, 2:8, 4:13].reshape(3, -1)[:, :13])
    assert whole.max() > 0


def test_rows_by_place_are_the_field_of_their_pixel(stored):
    """Row i of the file belongs to the pixel that it says: |sum of its features|^2, up to one factor, by hand."""
    order = np.random.default_rng(3).permutation(N_OUTPUTS)
    counts = shown(OpticalBench(device(stored(tm=TM[order], pixels=PLACES[order])), 0)).astype(float)
    bits = np.random.default_rng(7).integers(0, 2, size=(3, N_INPUTS), dtype=np.uint8)
    light = np.abs(bits @ TM.T) ** 2
    np.testing.assert_allclose(counts / counts.mean(), light / light.mean(), rtol=1e-4, atol=1e-4)


def test_a_rectangle_says_the_places_as_well(stored):
    by_place = shown(OpticalBench(device(stored(tm=TM, pixels=PLACES)), 0))
    np.testing.assert_array_equal(shown(OpticalBench(device(stored(tm=TM, pixels=np.array(REGION))), 0)), by_place)
    elsewhere = shown(OpticalBench(device(stored(tm=TM, where=PLACES), pixels="where"), 0), roi=(502, 44, 3, 3))
    np.testing.assert_array_equal(elsewhere, by_place.reshape(3, *REGION[2:])[:, 2:5, 4:7].reshape(3, -1))


def test_without_places_rows_are_the_pixels_of_the_region_in_raster_order(stored):
    path = stored(tm=TM, pixels=PLACES)
    kept = shown(OpticalBench(device(path), 0))
    for medium in ({"path": path, "pixels": "none"}, {"path": stored(tm=TM)}):
        bench = OpticalBench(device(**medium), 0)
        np.testing.assert_array_equal(shown(bench, roi=(0, 0, 12, 20)), kept)
        np.testing.assert_array_equal(shown(bench, roi=(9, 9, 1, 50)), kept[:, :50])


@pytest.mark.parametrize(
    ("roi", "words"),
    [
        ((499, 40, 12, 20), r"pixel \(499, 40\) .row, column. of the sensor"),
        ((500, 41, 12, 20), r"pixel \(500, 60\)"),
        ((0, 0, 1, 1), r"240 pixels, in rows 500 to 511 and columns 40 to 59"),
        ((0, 0, 1, 1), r"roi \(500, 40, 12, 20\) does, in lightonml's order \(\(40, 500\), \(20, 12\)\)"),
        ((0, 0, 1, 1), r"'pixels'.*medium.pixels = 'none' takes the rows"),
    ],
)
def test_a_region_that_the_file_does_not_cover(stored, roi, words):
    bench = OpticalBench(device(stored(tm=TM, pixels=PLACES)), 0)
    with pytest.raises(ValueError, match=words):
        shown(bench, roi=roi)
    assert bench.clock.frames == 0


def test_the_rectangle_that_would_do_is_the_largest_one(stored):
    """A cross of 3 x 9 and 9 x 3 pixels, and a pixel elsewhere: both bars are largest, and one is named."""
    mask = np.zeros((20, 20), bool)
    mask[8:11, 5:14] = mask[5:14, 8:11] = mask[0, 0] = True
    places = np.argwhere(mask)
    bench = OpticalBench(device(stored(tm=TM[: len(places)], pixels=places)), 0)
    with pytest.raises(ValueError, match=r"roi \((8, 5, 3, 9|5, 8, 9, 3)\) does"):
        shown(bench, roi=(5, 5, 3, 3))
    assert shown(bench, roi=(8, 5, 3, 9)).shape == (3, 27)


def wrong_places():
    twice, negative, outside = PLACES.copy(), PLACES.copy(), PLACES.copy()
    twice[7] = twice[3]
    negative[5, 1] = -1
    outside[4, 0] = IDEAL.camera.shape[0]
    return {
        "twice": (twice, r"'pixels' of .*tm.h5' puts rows 3 and 7 of the matrix on one pixel, \(500, 43\)"),
        "negative": (negative, r"'pixels' of .* holds -1 at \[5, 1\].*from 0 on"),
        "outside": (outside, rf"row 4 of the matrix on the pixel \({IDEAL.camera.shape[0]}, 44\), but the sensor has"),
        "too few": (PLACES[:-1], r"shape \(239, 2\).*each of the 240 rows"),
        "floats": (PLACES.astype(float), "type float64.*whole numbers"),
        "flags": (PLACES > 0, "type bool.*whole numbers"),
        "numbers": (np.arange(N_OUTPUTS), r"shape \(240,\)"),
        "huge": (PLACES.astype(np.uint64) + np.uint64(2**63), "holds 9223372036854776308"),
        "other rectangle": (np.array([0, 0, 12, 21]), r"rectangle \[0, 0, 12, 21\] of 252 pixels.*as many"),
        "empty": (h5py.Empty("i8"), "pixels holds nothing"),
    }


@pytest.mark.parametrize("name", wrong_places())
def test_places_that_no_pixels_have(stored, name):
    places, words = wrong_places()[name]
    bench = OpticalBench(device(stored(tm=TM, pixels=places)), 0)
    with pytest.raises(ValueError, match=words):
        shown(bench)
    assert bench.clock.frames == 0


def test_places_that_are_asked_for_by_name_must_be_there(stored):
    with pytest.raises(ValueError, match="medium.pixels is 'where', but .* holds 'pixels', 'tm'"):
        shown(OpticalBench(device(stored(tm=TM, pixels=PLACES), pixels="where"), 0))


def test_a_file_of_opusim_is_a_medium_and_says_its_region(tmp_path):
    """As `opusim calibrate tm` writes it: the region of the record is where its outputs lie, if that is asked for."""
    path, roi = tmp_path / "own.h5", (8, 16, 10, 12)
    measure_tm(OpticalBench(IDEAL, 0), 16, exposure_s=400e-6, roi=roi, out=path)
    record = read_tm(path)
    layout = record.layout()
    assert tuple(record.roi) == roi
    bench = OpticalBench(device(path, pixels="transmission/roi"), 0)
    patterns = MirrorPatterns(np.eye(16, dtype=np.uint8), layout)
    counts = bench.transform(patterns, exposure_s=400e-6, roi=(10, 20, 3, 4), n_pixels=12)
    rows = (np.arange(2, 5)[:, None] * 12 + np.arange(4, 8)).ravel()
    fields = record.matrix(rows) + record.background(rows)[:, None]
    light = np.abs(fields.T) ** 2
    np.testing.assert_allclose(counts / counts.mean(), light / light.mean(), rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="'transmission/roi'.*rows 8 to 17"):
        bench.transform(patterns, exposure_s=400e-6, roi=(0, 0, 3, 4), n_pixels=12)
    # If not, rows are the pixels of any region.
    bench = OpticalBench(device(path), 0)
    whole = bench.transform(patterns, exposure_s=400e-6, roi=(0, 0, 1, 120), n_pixels=120)
    np.testing.assert_array_equal(whole[:, rows], counts)


# ---------------------------------------------------------------- numbers


def entries(path, **medium):
    found = MeasuredMedium(str(path), **medium)
    n_outputs, n_inputs = found.shape
    return found.entries(range(n_inputs), range(n_outputs), seed=0).T


def scaled(tm):
    return tm / np.sqrt(np.mean(np.abs(tm) ** 2))


@pytest.mark.parametrize(
    "how",
    [{}, {"chunks": (7, 11)}, {"chunks": (240, 1), "compression": "gzip"}, {"dtype": ">c16"}, {"dtype": "c8"}],
    ids=str,
)
def test_however_it_is_stored_the_matrix_is_the_same(tmp_path, how, monkeypatch):
    """In one piece, in chunks, packed, in the other order of bytes; read in one block or in many."""
    with h5py.File(tmp_path / "tm.h5", "w") as file:
        file.create_dataset("tm", data=TM, **how)
    for block in (2 << 20, 1000, 100):
        monkeypatch.setattr("opusim.device.medium.matrix_file._BLOCK_BYTES", block)
        for cached in ("checked", "header", "spread"):
            getattr(__import__("opusim.device.medium.matrix_file", fromlist=["x"]), cached).cache_clear()
        np.testing.assert_allclose(entries(tmp_path / "tm.h5"), scaled(TM), rtol=2e-6, atol=1e-6)


def test_what_matlab_writes_is_read_as_matlab_shows_it(tmp_path):
    """MATLAB 7.3: axes turned, complex numbers as pairs (real, imag), vectors as matrices, a mark on each data set."""
    pairs = np.dtype([("real", "f8"), ("imag", "f8")])

    def put(file, name, values, kind=b"double"):
        values = np.atleast_2d(values.T)
        if np.iscomplexobj(values):
            both = np.empty(values.shape, pairs)
            both["real"], both["imag"] = values.real, values.imag
            values = both
        file.create_dataset(name, data=values).attrs["MATLAB_class"] = np.bytes_(kind)

    plain, from_matlab = tmp_path / "plain.h5", tmp_path / "matlab.mat"
    states = np.stack([TM, normal(*TM.shape, seed=4)])
    with h5py.File(plain, "w") as file:
        file["tm"], file["background"], file["pixels"] = TM, TM[:, 3], PLACES
        file["states"], file["times_s"] = states, [0.0, 5.0]
    with h5py.File(from_matlab, "w") as file:
        put(file, "tm", TM)
        put(file, "background", TM[:, 3])
        put(file, "pixels", PLACES.astype(np.int32), b"int32")
        put(file, "states", states)
        put(file, "times_s", np.array([0.0, 5.0]))
        assert file["tm"].shape == TM.shape[::-1] and file["background"].shape == (1, N_OUTPUTS)
    assert MeasuredMedium(str(from_matlab)).shape == TM.shape
    one, other = (shown(OpticalBench(device(path), 0)) for path in (plain, from_matlab))
    np.testing.assert_array_equal(one, other)
    for path in (plain, from_matlab):
        medium = MeasuredMedium(str(path), dataset="states", background="none")
        assert medium.drift.times_s == (0.0, 5.0)
        later = medium.entries(range(N_INPUTS), range(N_OUTPUTS), seed=0, state=1).T
        np.testing.assert_allclose(later, states[1] / np.sqrt(np.mean(np.abs(TM) ** 2)), rtol=1e-5, atol=1e-6)


def test_pairs_of_numbers_without_a_mark_are_complex_too(tmp_path):
    both = np.empty(TM.shape, np.dtype([("real", "f4"), ("imag", "f4")]))
    both["real"], both["imag"] = TM.real, TM.imag
    with h5py.File(tmp_path / "tm.h5", "w") as file:
        file["tm"] = both
    np.testing.assert_allclose(entries(tmp_path / "tm.h5"), scaled(TM), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TM.real, "type float64.*must be a complex matrix.*joined as real"),
        ((100 * TM.real).astype(np.int16), "type int16.*must be a complex matrix"),
        (np.stack([TM.real, TM.imag], axis=-1), r"shape \(240, 30, 2\) and type float64.*joined as real"),
        (TM[0], r"shape \(30,\)"),
        (TM[None, None], r"shape \(1, 1, 240, 30\)"),
        (TM[:0], r"shape \(0, 30\)"),
        (np.array(["a"], dtype=object), "must be a complex matrix"),
    ],
    ids=["real", "whole numbers", "parts apart", "one axis", "four axes", "no rows", "texts"],
)
def test_what_is_no_complex_matrix_is_refused_by_name(stored, data, words):
    medium = MeasuredMedium(str(stored(tm=data)))
    with pytest.raises(ValueError, match=f"Data set 'tm' of .*tm.h5' has .*{words}"):
        _ = medium.shape


@pytest.mark.parametrize("factor", [1e200, 1e-200, 1e300, 5e-324 * 2**40], ids=str)
def test_columns_of_any_magnitude_beside_others(stored, factor):
    """Large ones make the others dark; nothing is infinite, with drift neither. Expected in extended precision."""
    tm = TM.copy()
    tm[:, ::2] *= factor
    wide = tm.astype(np.clongdouble)
    known = (wide / np.sqrt(np.mean(np.abs(wide) ** 2))).astype(np.complex128)
    path = stored(tm=tm, background=tm[:, 0])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        np.testing.assert_allclose(entries(path), known, rtol=1e-5, atol=1e-6)
        medium = MeasuredMedium(str(path), decorrelation_time_s=1.0)
        later = medium.entries(range(N_INPUTS), range(N_OUTPUTS), seed=0, state=300)
        background = medium.background_field(range(N_OUTPUTS), seed=0, state=300)
    assert np.isfinite(later).all() and np.isfinite(background).all()
    assert np.mean(np.abs(later) ** 2) == pytest.approx(1, rel=0.1)


def test_subnormal_numbers_keep_what_digits_they_have(stored):
    tm = (TM * 1e-42).astype(np.complex64)
    np.testing.assert_allclose(entries(stored(tm=tm)), scaled(tm.astype(complex)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
def test_a_number_that_is_not_finite_is_named_by_its_place(stored, bad):
    tm, states = TM.copy(), np.stack([TM, TM, TM])
    tm[200, 17] = bad
    states[2, 3, 4] = bad
    with pytest.raises(ValueError, match=r"Data set 'tm' of .*: \[200, 17\] is \(?.*every value must be finite"):
        entries(stored(tm=tm))
    with pytest.raises(ValueError, match=r"Data set 'tm' of .*: \[2, 3, 4\] is \(?.*every value must be finite"):
        entries(stored(tm=states, times_s=[0, 1, 2]))


@pytest.mark.parametrize(
    ("background", "words"),
    [
        (TM[:-1, 0], r"shape \(239,\).*must hold complex or real numbers, of shape \(240,\)"),
        (TM[:, :2], r"shape \(240, 2\)"),
        (TM[:, 0].real > 0, "type bool"),
        (TM[:, 0] * math.nan, r"\[0\] is .*finite"),
    ],
)
def test_a_background_of_another_size_or_kind(stored, background, words):
    bench = OpticalBench(device(stored(tm=TM, background=background)), 0)
    with pytest.raises(ValueError, match=f"Data set 'background' of .*tm.h5'.*{words}"):
        shown(bench)
    assert bench.clock.frames == 0


@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "u8", "c16"])
def test_a_background_of_real_or_whole_numbers_is_what_it_says(stored, kind):
    values = np.arange(N_OUTPUTS) % 9
    path = stored(tm=TM, background=values.astype(kind))
    known = values / np.sqrt(np.mean(np.abs(TM) ** 2))
    np.testing.assert_allclose(MeasuredMedium(str(path)).background_field(range(N_OUTPUTS)), known, rtol=1e-6)


@pytest.mark.parametrize("name", ["background", "pixels", "times"])
def test_a_data_set_of_another_name_than_the_usual_must_be_there(stored, name):
    """One rule for the three that may be left out: only under their usual names, and as 'none'."""
    path = stored(tm=np.stack([TM, TM]), times_s=[0.0, 1.0])
    bench = OpticalBench(device(path, **{name: "misspelt"}), 0)
    words = rf"medium.{name} is 'misspelt', but .*tm.h5' holds 'times_s', 'tm'. 'none' names no data set"
    with pytest.raises(ValueError, match=words):
        shown(bench)
    assert bench.clock.frames == 0
    shown(OpticalBench(device(path, **{"sequence": False, name: "none"}), 0))


@pytest.mark.parametrize("factor", [1e200, 1e30, 2e7, math.ldexp(1.0, 1000)], ids=str)
@pytest.mark.parametrize("unit", [1.0, 1e-200, 5e-324 * 2**60], ids=str)
def test_a_state_far_above_the_first_is_refused(stored, factor, unit):
    """Its light would be no number in single precision: told before the first frame, with the state."""
    states = np.stack([TM, 0.1 * TM, TM]) * unit
    with np.errstate(over="ignore"):
        states[2] *= factor
    path = stored(tm=states, times_s=[0, 1, 2])
    bench = OpticalBench(device(path), 0)
    words = r"Data set 'tm' of .*tm.h5' reaches \S+ in state 2, more than 1e.07 times the root mean square of state 0"
    if not np.isfinite(states).all():
        words = "every value must be finite"
    for use in (lambda: shown(bench), MeasuredMedium(str(path)).check_content):
        with pytest.raises(ValueError, match=words):
            use()
    assert bench.clock.frames == 0


@pytest.mark.parametrize("unit", [1.0, 1e-270, 1e290], ids=str)
@pytest.mark.parametrize("factor", [1e6, 1e-30, 1e-200, 0.0], ids=str)
def test_a_state_that_is_bright_or_dark_is_light(stored, factor, unit):
    """|state|^2 over that of the first is the factor squared, a shutter among them; closed form, single precision."""
    states = np.stack([unit * TM, TM * factor * unit])
    medium = MeasuredMedium(str(stored(tm=states, times_s=[0, 1])))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        medium.check_content()
        first, later = (
            medium.entries(range(N_INPUTS), range(N_OUTPUTS), seed=0, state=k).astype(complex) for k in (0, 1)
        )
    np.testing.assert_allclose(later, factor * first, rtol=1e-5, atol=1e-40)
    assert np.mean(np.abs(first) ** 2) == pytest.approx(1, rel=1e-5)


# ---------------------------------------------------------------- another file in its place


def written_over(path, times):
    with h5py.File(path, "a") as file:
        file["tm"][...] = times * file["tm"][()]


def put_in_place(path, times):
    other = path.with_name("other.h5")
    with h5py.File(other, "w") as file:
        file["tm"] = times * TM
    other.replace(path)


@pytest.mark.parametrize("change", [written_over, put_in_place])
def test_a_file_that_is_another_one_is_refused_by_a_bench_that_has_read_it(stored, change):
    """Its old matrix and the new one would be mixed, under one fingerprint. Another bench reads the new one."""
    path = stored(tm=TM)
    medium = device(path)
    bench, told = OpticalBench(medium, 0), r"medium.path is .*tm.h5', but that is not the file any more that this bench"
    first = shown(bench)
    time.sleep(0.05)  # the times of a file move in steps
    change(path, 1j * np.arange(1, N_INPUTS + 1))
    for use in (lambda: shown(bench), lambda: shown(bench, roi=(0, 0, 4, 4)), lambda: bench.input_layout):
        with pytest.raises(ValueError, match=told):
            use()
    assert bench.clock.frames == 3
    assert not np.array_equal(first, shown(OpticalBench(medium, 0)))


def test_a_file_that_leads_elsewhere_is_refused_and_one_that_is_gone_is_not_missed(stored, tmp_path, monkeypatch):
    stored(tm=TM)
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(tmp_path)
    bench = OpticalBench(device("tm.h5"), 0)
    first = shown(bench)
    monkeypatch.chdir(other)
    assert shown(bench).shape == first.shape  # its matrix is there
    with h5py.File("tm.h5", "w") as file:
        file["tm"] = TM
    with pytest.raises(ValueError, match="'tm.h5', but that is not the file .* the working folder is another"):
        shown(bench)
    monkeypatch.chdir(tmp_path)
    assert shown(bench).shape == first.shape


# ---------------------------------------------------------------- what it costs


def test_size_and_fingerprint_take_no_copy_and_reading_takes_one(tmp_path):
    """2 000 x 10 000 entries, 153 MiB in single precision, 305 in double: 2 MiB for the size, 1.15 copies to read."""
    n_outputs, n_inputs = 2000, 10_000
    row = normal(n_inputs)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        data = file.create_dataset("tm", (n_outputs, n_inputs), "c16")
        for a in range(0, n_outputs, 100):
            data[a : a + 100] = row
        file["pixels"] = np.array([0, 0, 40, 50])
    large = device(tmp_path / "large.h5")
    tracemalloc.start()
    try:
        assert large.medium.shape == (n_outputs, n_inputs)
        large.medium.check_size(n_inputs, n_outputs)
        large.fingerprint()
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
        tracemalloc.reset_peak()
        tile = large.medium.entries(range(4), range(5), seed=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.15 * 8 * n_outputs * n_inputs
    np.testing.assert_allclose(tile[:, 0], scaled(row)[:4], rtol=1e-5)


@pytest.mark.parametrize("drifts", [False, True], ids=["still", "drifting"])
def test_a_bench_keeps_one_copy_of_a_large_matrix(tmp_path, drifts):
    """2 000 x 10 000: 153 MiB. Twice that and tiles while it is made, once after; twice for good by a law of drift."""
    n_outputs, n_inputs = 2000, 10_000
    row = normal(n_inputs).astype(np.complex64)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        data = file.create_dataset("tm", (n_outputs, n_inputs), "c8")
        for a in range(0, n_outputs, 100):
            data[a : a + 100] = row
    size = 8 * n_outputs * n_inputs
    large = device(tmp_path / "large.h5", decorrelation_time_s=1e6 if drifts else math.inf)
    bench = OpticalBench(large, 0)
    patterns = MirrorPatterns(np.ones((1, n_inputs), np.uint8), bench.input_layout)
    tracemalloc.start()
    try:
        large.medium.check_content()
        assert tracemalloc.get_traced_memory()[1] < 0.2 * size
        bench.transform(patterns, exposure_s=400e-6, roi=(0, 0, 40, 50), n_pixels=2000)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * size
    assert kept < (2.4 if drifts else 1.4) * size
