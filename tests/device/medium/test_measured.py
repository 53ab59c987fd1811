"""A device around a matrix that somebody measured."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from opusim.bench.bench import OpticalBench
from opusim.calibration import measure_tm
from opusim.device.medium import MeasuredMedium
from opusim.device.record import Device
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

AURORA = Device.load("aurora")
EXPOSURE_S = 400e-6
ROI = (540, 0, 1, 2040)
LAYOUT = MirrorLayout(
    dmd_shape=(912, 1140), n_features=(30,), kind="lined", factor=912 * 1140 // 30, roi_offset=(0, 0),
    roi_size=(912, 1140),
)  # fmt: skip


def matrix(outputs=200, inputs=30, seed=0):
    rng = np.random.default_rng(seed)
    return 3.0 * (rng.standard_normal((outputs, inputs)) + 1j * rng.standard_normal((outputs, inputs)))


def device(path, **medium):
    return AURORA.ideal().evolve(
        medium=MeasuredMedium(path=str(path), transmission=AURORA.medium.transmission, **medium)
    )


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "tm.h5"
    with h5py.File(path, "w") as file:
        file["tm"] = matrix()
        file["real"] = np.ones((3, 4))
        file["nan"] = np.full((3, 30), np.nan + 0j)
        file["zero"] = np.zeros((3, 30), complex)
    return path


def bits(n=5):
    return np.random.default_rng(1).integers(0, 2, size=(n, 30), dtype=np.uint8)


def test_outputs_are_the_measured_matrix_times_the_features(stored):
    """y = |Hx|^2 with H scaled to the mean square 1 and the light shared out over the features; float32."""
    bench = OpticalBench(device(stored), 0)
    y = bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=200)
    h = matrix() / np.sqrt(np.mean(np.abs(matrix()) ** 2))
    intensity = np.abs(bits() @ h.T) ** 2 * AURORA.dmd.n_mirrors / 30
    expected = 0.04 * 0.6 * intensity * bench.photons_per_intensity(EXPOSURE_S)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_background_is_added(stored):
    with h5py.File(stored, "a") as file:
        file["background"] = 2 * matrix(200, 1, seed=5)[:, 0]
    bench = OpticalBench(device(stored), 0)
    zero = MirrorPatterns(np.zeros((1, 30), np.uint8), LAYOUT)
    y = bench.transform(zero, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=200)[0]
    scale = np.sqrt(np.mean(np.abs(matrix()) ** 2))
    background = np.abs(2 * matrix(200, 1, seed=5)[:, 0] / scale) ** 2 * AURORA.dmd.n_mirrors / 30
    np.testing.assert_allclose(y, 0.04 * 0.6 * background * bench.photons_per_intensity(EXPOSURE_S), rtol=1e-4)


def test_fingerprint_follows_the_contents_not_the_path(stored, tmp_path):
    other = tmp_path / "other.h5"
    other.write_bytes(stored.read_bytes())
    assert device(stored).fingerprint() == device(other).fingerprint()
    with h5py.File(other, "a") as file:
        file["tm"][0, 0] = 1
    assert device(stored).fingerprint() != device(other).fingerprint()


def test_toml_round_trip(stored):
    there = device(stored, decorrelation_time_s=100.0)
    assert Device.from_toml(there.to_toml()) == there


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"dataset": "nothing"}, "nothing.*'tm'"),
        ({"dataset": "real"}, "complex"),
        ({"dataset": "nan"}, "'nan'.*every value must be finite"),
        ({"dataset": "zero"}, "zero"),
        ({"background": "real"}, "real"),
        ({"path": "missing.h5"}, "missing.h5.*cannot be read"),
        ({"path": __file__}, "not a readable HDF5 file"),
    ],
)
def test_bad_files_are_refused_on_use_with_the_reason(stored, changes, words):
    bad = device(stored).evolve(**{f"medium.{k}": v for k, v in changes.items()})
    bench = OpticalBench(bad, 0)
    with pytest.raises(ValueError, match=words):
        bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=3)


@pytest.mark.parametrize("factor", [1e200, 1e-200, 1e160, 1e-170, 1e300, 2.0**-1000], ids=str)
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_a_matrix_of_any_magnitude_gives_the_light_of_its_shape(stored, factor, dtype):
    """The matrix is scaled to the mean square 1, so a factor on it and on its background changes no count."""
    if dtype == np.complex64:
        factor = {True: 1e36, False: 1e-36}[factor > 1]
    both = {"tm": matrix(), "background": 0.5 * matrix(200, 1, seed=5)[:, 0]}
    counts = []
    for by in (1.0, factor):
        with h5py.File(stored, "w") as file:
            for name, values in both.items():
                file[name] = (values * by).astype(dtype)
        bench = OpticalBench(device(stored), 0)
        patterns = MirrorPatterns(bits(), LAYOUT)
        counts.append(bench.transform(patterns, exposure_s=EXPOSURE_S, roi=ROI, n_pixels=200))
    np.testing.assert_allclose(counts[1], counts[0], rtol=1e-5)
    assert counts[0].mean() > 1


@pytest.mark.parametrize(
    ("background", "words"),
    [
        (np.nan, r"background.*\[0\] is \(?nan.*finite"),
        (np.inf, r"background.*\[0\] is \(?inf.*finite"),
        (1e200, "background.*reaches 1e.200.*one unit"),
        (1e30, "background.*reaches 1e.30.*one unit"),
        ("dark", "background.*must hold complex or real numbers"),
    ],
    ids=str,
)
def test_a_background_that_no_light_can_have_is_refused(stored, background, words):
    with h5py.File(stored, "a") as file:
        if isinstance(background, str):
            file["background"] = np.array([background.encode()] * 200)
        else:
            file["background"] = np.full(200, background, dtype=complex)
    bench = OpticalBench(device(stored), 0)
    with pytest.raises(ValueError, match=words):
        bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=3)


def test_more_pixels_or_features_than_the_file_holds(stored):
    bench = OpticalBench(device(stored), 0)
    with pytest.raises(ValueError, match="200 pixels, but 201"):
        bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=201)
    wide = MirrorLayout(
        dmd_shape=(912, 1140), n_features=(31,), kind="lined", factor=912 * 1140 // 31, roi_offset=(0, 0),
        roi_size=(912, 1140),
    )  # fmt: skip
    with pytest.raises(ValueError, match="have 31 features.*known for 30 inputs.*at most 30 features"):
        bench.transform(MirrorPatterns(np.ones((1, 31), np.uint8), wide), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=3)
    y = bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=20)
    assert y.shape == (5, 20)


def test_unpolarised_light_needs_a_second_matrix(stored):
    with pytest.raises(ValueError, match="polarised"):
        device(stored).evolve(**{"camera.polarised": False})


def test_a_refused_call_takes_no_frames(stored):
    bench = OpticalBench(device(stored), 0)
    with pytest.raises(ValueError, match="201"):
        bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=201)
    with pytest.raises(
        ValueError, match=r"bare mirrors.*known for 30 inputs.*bench.input_layout\), with bits of the shape \(n, 30\)"
    ):
        bench.expose(np.zeros((912, 1140), np.uint8), exposure_s=EXPOSURE_S, roi=(0, 0, 1, 100))
    # Also where no matrix is kept, whose numbers are read with the frames.
    for budget in (None, 1):
        bench = OpticalBench(device(stored, dataset="nan"), 0, memory_budget=budget)
        with pytest.raises(ValueError, match="must be finite"):
            bench.transform(MirrorPatterns(bits(), LAYOUT), exposure_s=EXPOSURE_S, roi=ROI, n_pixels=3)
        assert (bench.clock.frames, bench.clock.elapsed_s) == (0, 0.0)


def _virtual(file):
    layout = h5py.VirtualLayout((4, 3), "c8")
    layout[:] = h5py.VirtualSource("other.h5", "tm", shape=(4, 3))
    file.create_virtual_dataset("tm", layout)


def _packed(file):
    file.create_dataset("tm", (10**6, 10**6), "c8", chunks=(1000, 1000), compression="gzip")


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda f: f.__setitem__("tm", h5py.SoftLink("/nowhere")),
            "'tm' as a link to '/nowhere', and there is no such",
        ),
        (lambda f: f.__setitem__("tm", h5py.SoftLink("/tm")), "'tm' as a link to '/tm', and there is no such"),
        (
            lambda f: f.__setitem__("tm", h5py.ExternalLink("b.h5", "/tm")),
            "link to '/tm' in the file 'b.h5', but it must",
        ),
        (lambda f: f.create_group("tm"), "tm is a group, but it must be a data set"),
        (lambda f: f.__setitem__("tm", h5py.Empty("c8")), "tm holds nothing"),
        (_virtual, "tm keeps its elements in other files"),
        (_packed, "tm, of the shape .1000000, 1000000., needs 7.28 TiB, but this machine has"),
    ],
)
def test_a_matrix_that_is_not_in_the_file_is_refused(tmp_path, make, words):
    """The fingerprint follows the bytes of the file: what lies elsewhere is not of the device."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    medium = device(tmp_path / "a.h5").medium
    with pytest.raises((ValueError, MemoryError), match=f"a.h5.*{words}"):
        medium.entries(range(3), range(4), seed=0)


def test_a_link_within_the_file_leads_to_the_matrix(stored):
    right = device(stored).medium.entries(range(30), range(200), seed=0)
    with h5py.File(stored, "a") as file:
        file["link"] = h5py.SoftLink("/tm")
        file["background"] = h5py.SoftLink("/nowhere")
    linked = device(stored, dataset="link", background="none").medium
    assert linked.shape == (200, 30) and np.array_equal(linked.entries(range(30), range(200), seed=0), right)
    with pytest.raises(ValueError, match="'background' as a link to '/nowhere', and there is no such thing"):
        device(stored).medium.entries(range(1), range(1), seed=0)


def test_a_matrix_that_is_changed_within_a_tick_of_the_clock_is_read_anew(stored):
    """In place, so that number and size stay: the times alone could tell, and count in steps."""
    medium = device(stored).medium
    for value in (1.0, 2j, 3.0, 4j):
        with h5py.File(stored, "r+") as file:
            file["tm"][...] = value
        assert np.allclose(medium.entries(range(1), range(1), seed=0), value / abs(value))


def test_a_device_of_version_1_keeps_even_noise_and_rows_in_raster_order(stored):
    """As before, and with the fingerprint of then: what came later is left out of it where it does what was done."""
    table = {"kind": "measured", "path": str(stored), "transmission": 8e-11, "decorrelation_time_s": 100.0}
    old = Device.from_dict({"preset": "aurora@1", "medium": table})
    assert (old.medium.drift_noise, old.medium.pixels) == ("even", "none")
    new = Device.from_dict({"preset": "aurora", "medium": table})
    assert (new.medium.drift_noise, new.medium.pixels) == ("row and column", "pixels")
    assert Device.from_toml(old.to_toml()) == old and Device.from_toml(new.to_toml()) == new
    changed = old.evolve(**{"medium.drift_noise": "row and column"})
    assert changed.fingerprint() != old.fingerprint()
    assert old.evolve(**{"medium.pixels": "pixels"}).fingerprint() != old.fingerprint()


def test_features_that_share_the_light_are_refused_with_the_field_that_says_so(stored, tmp_path):
    """A procedure asks for its usual number of patterns there, as of any medium without inputs of its own."""
    bench = OpticalBench(AURORA.evolve(medium=device(stored, input_light="shared").medium), 0)
    words = (
        "30 features, but 64 were asked for: .*medium.input_light is 'shared', .*with 'mirrors' the bench has the input"
    )
    with pytest.raises(ValueError, match=words):
        measure_tm(bench, 64, exposure_s=EXPOSURE_S, roi=(0, 0, 4, 10), out=tmp_path / "out.h5")
    with pytest.raises(ValueError, match=r"200 pixels, but 201 were asked for: [^.]*\.$"):
        device(stored, input_light="shared").medium.check_size(30, 201)
