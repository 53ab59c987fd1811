"""Laws of multiple scattering, on the transmission matrices of the media. Seeds are fixed.

Statistical tolerances are those of docs/physics.md section 5 where it has one; the others state a five-sigma range
(false-alarm rate 6e-7 a test).
"""

from __future__ import annotations

import gc
import weakref

import h5py
import numpy as np
import pytest

from opusim import theory
from opusim.device.medium import Drift, GaussianMedium, MeasuredMedium, ModeGrid, PhaseScreenMedium
from opusim.device.pixel_sampling import pixel_sampling

WAVELENGTH_M = 532e-9


def screen_matrix(medium, *, inputs=(16, 16), outputs=(128, 128), side=256, seed=1, **kwargs):
    """tm[output, input] of phase screens on a small grid."""
    grid = ModeGrid(side, inputs, outputs, kwargs.pop("aperture", 0.0))
    operator = medium.operator(grid, wavelength_m=WAVELENGTH_M, seed=seed, **kwargs)
    n = inputs[0] * inputs[1]
    unit = np.eye(n, dtype=np.complex64).reshape(n, *inputs)
    columns = [operator.forward(unit[i : i + 16]).reshape(-1, outputs[0] * outputs[1]) for i in range(0, n, 16)]
    return np.concatenate(columns).T


@pytest.fixture(scope="module")
def screens():
    return screen_matrix(PhaseScreenMedium())


@pytest.fixture(scope="module")
def gaussian():
    return GaussianMedium().entries(range(256), range(128 * 128), seed=1).T


@pytest.fixture(params=["screens", "gaussian"])
def matrix(request):
    return request.getfixturevalue(request.param)


def coherence(a, b):
    return abs(np.vdot(a, b)) / np.sqrt(np.vdot(a, a).real * np.vdot(b, b).real)


def test_entries_are_circular_complex_gaussian(matrix):
    """<|t|^4>/<|t|^2>^2 = 2 (tolerance of docs/physics.md), unit variance and <t^2> = 0 within five sigma."""
    t = matrix.astype(np.complex128)
    intensity = np.abs(t) ** 2
    n = intensity.size
    assert np.mean(intensity**2) / np.mean(intensity) ** 2 == pytest.approx(2, abs=0.05)
    assert abs(np.mean(t**2)) < 5 * np.sqrt(2 / n)
    # Energy conservation ties the entries of the screens together, which only lowers the spread of the mean.
    # The whole grid's energy is exact; the part that is read may be off by the spread of its envelope.
    assert np.mean(intensity) == pytest.approx(1, abs=0.02)


def test_intensity_is_exponential_with_contrast_one(matrix):
    """P(I) = exp(-I/mean)/mean for random inputs: contrast 1 +- .02 and the distribution function within 5/sqrt(n)."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, size=(4, 256)).astype(np.float32)
    intensity = np.abs(matrix @ x.T) ** 2
    intensity = intensity / intensity.mean(axis=0)
    assert intensity.std() == pytest.approx(1, abs=0.02)
    one = np.sort(intensity[:, 0])
    empirical = (np.arange(len(one)) + 0.5) / len(one)
    # Kolmogorov-Smirnov: P(D > 2.6/sqrt(n)) = 2.7e-6.
    assert np.abs(empirical - (1 - np.exp(-one))).max() < 2.6 / np.sqrt(len(one))


def test_singular_values_follow_marchenko_pastur(matrix):
    """KS distance < .02 after dividing out row and column envelopes (docs/physics.md section 5), 256 in, 1024 out."""
    chosen = np.random.default_rng(5).choice(matrix.shape[0], 1024, replace=False)
    t = matrix[chosen].astype(np.complex128)
    t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=1, keepdims=True))
    t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=0, keepdims=True))
    s = np.sort(np.linalg.svd(t / np.sqrt(1024), compute_uv=False))
    cdf = theory.marchenko_pastur_cdf(s, 256 / 1024)
    n = len(s)
    distance = max(np.abs(cdf - np.arange(n) / n).max(), np.abs(cdf - (np.arange(n) + 1) / n).max())
    assert distance < 0.02
    low, high = theory.marchenko_pastur_edges(256 / 1024)
    assert s[0] == pytest.approx(low, abs=0.03)
    assert s[-1] == pytest.approx(high, abs=0.03)


def test_single_screen_fails_marchenko_pastur_in_shift_correlation():
    """K = 1 passes marginal tests but has an infinite memory effect: neighbours are shifted copies."""
    t = screen_matrix(PhaseScreenMedium(n_screens=1)).T.reshape(256, 128, 128)
    assert coherence(t[100][:, 1:], t[101][:, :-1]) == pytest.approx(1, abs=1e-4) or coherence(
        t[100][:, :-1], t[101][:, 1:]
    ) == pytest.approx(1, abs=1e-4)


def test_neighbours_are_independent(screens):
    """Neighbouring inputs and outputs: coherence as for i.i.d. entries, sqrt(pi/4/n) on average, within five sigma."""
    t = screens.T.reshape(256, 128, 128)
    for shift in (-2, -1, 0, 1, 2):
        inside = slice(4, 124)
        values = [coherence(t[i][:, inside], np.roll(t[i + 1], shift, axis=1)[:, inside]) for i in range(0, 255, 3)]
        n = 128 * 120
        mean, spread = np.sqrt(np.pi / 4 / n), np.sqrt((1 - np.pi / 4) / n / len(values))
        assert np.mean(values) < mean + 5 * spread + 1e-3
    outputs = [coherence(t[:, :, j], t[:, :, j + 1]) for j in range(0, 126, 5)]
    assert np.mean(outputs) < np.sqrt(np.pi / 4 / (256 * 128)) * 1.5


@pytest.mark.parametrize("thickness_m", [30e-6, 60e-6, 120e-6])
def test_memory_effect_follows_the_thickness(thickness_m):
    """Speckle of tilted light, shifted back, correlates as (qL/sinh qL)^2 with L = .4 to .55 of the thickness.

    Tilt by one mode is q = 2 pi / (side x step). L is fitted over the tilts; the range is that of docs/physics.md for
    five screens, widened by the statistical error of about 5 %.
    """
    side, step = 256, 0.4e-6
    medium = PhaseScreenMedium(n_screens=5, thickness_m=thickness_m)
    grid = ModeGrid(side, (1, 9), (200, 200))
    operator = medium.operator(grid, wavelength_m=WAVELENGTH_M, seed=4)
    fields = operator.forward(np.eye(9, dtype=np.complex64).reshape(9, 1, 9)).astype(np.complex128)
    measured = []
    for tilt in range(1, 9):
        pairs = []
        for start in range(9 - tilt):
            # Two transforms turn the image: light from the mirror on the right moves the speckle to the left or right.
            a, b = fields[start], fields[start + tilt]
            pairs.append(max(coherence(a[:, tilt:], b[:, :-tilt]), coherence(a[:, :-tilt], b[:, tilt:])) ** 2)
        measured.append(np.mean(pairs))
    q = 2 * np.pi / (side * step) * np.arange(1, 9)
    lengths = np.linspace(0.2, 0.8, 601) * thickness_m
    misfit = [np.sum((theory.memory_effect(q, length) - measured) ** 2) for length in lengths]
    best = lengths[int(np.argmin(misfit))] / thickness_m
    assert 0.38 < best < 0.58
    assert np.max(np.abs(theory.memory_effect(q, best * thickness_m) - measured)) < 0.06


def test_scattering_keeps_the_energy():
    """Without depolarisation, which takes light from the polarisation that is read, energy is kept to 1e-5."""
    medium = PhaseScreenMedium(depolarising=False)
    grid = ModeGrid(128, (32, 32), (128, 128))
    operator = medium.operator(grid, wavelength_m=WAVELENGTH_M, seed=0)
    rng = np.random.default_rng(2)
    field = (rng.standard_normal((3, 32, 32)) + 1j * rng.standard_normal((3, 32, 32))).astype(np.complex64)
    out = operator.forward(field).astype(np.complex128)
    before = np.sum(np.abs(field.astype(np.complex128)) ** 2, axis=(1, 2))
    np.testing.assert_allclose(np.sum(np.abs(out) ** 2, axis=(1, 2)) / 128**2, before, rtol=1e-5)


def test_reciprocity(screens):
    """The transposed pass gives the same entries: light goes both ways through the layer alike."""
    grid = ModeGrid(256, (16, 16), (128, 128))
    operator = PhaseScreenMedium().operator(grid, wavelength_m=WAVELENGTH_M, seed=1)
    cells = np.zeros((2, 128, 128), dtype=np.complex64)
    cells[0, 3, 5] = cells[1, 100, 77] = 1
    rows = operator.backward(cells).reshape(2, -1)
    np.testing.assert_allclose(rows, screens[[3 * 128 + 5, 100 * 128 + 77]], atol=2e-5)


def test_ballistic_light_is_the_mirrors_image_upside_down():
    """Nothing scattered: the lenses image the mirrors inverted, one grid point to one, all energy in it."""
    medium = PhaseScreenMedium(ballistic_fraction=1.0)
    grid = ModeGrid(64, (5, 7), (64, 64))
    field = np.zeros((1, 5, 7), dtype=np.complex64)
    field[0, 0, 1] = 1
    out = np.abs(medium.operator(grid, wavelength_m=WAVELENGTH_M, seed=0).forward(field))[0]
    rows, columns = grid.input_block
    row, column = rows.start + 0 - 32, columns.start + 1 - 32
    assert np.unravel_index(out.argmax(), out.shape) == (32 - row, 32 - column)
    assert out.max() == pytest.approx(64, rel=1e-5)  # unit variance over the grid means amplitude `side` in one point
    assert np.sort(out.ravel())[-2] < 1e-3


def test_ballistic_light_without_screens_agrees_with_wave_optics():
    """phase_std 0 leaves free space, computed step by step; it must equal the ballistic path's closed form."""
    free = PhaseScreenMedium(phase_std_rad=0.0, n_screens=3, thickness_m=1e-4, depolarising=False)
    closed = PhaseScreenMedium(ballistic_fraction=1.0, n_screens=3, thickness_m=1e-4)
    rng = np.random.default_rng(8)
    field = (rng.standard_normal((2, 9, 12)) + 1j * rng.standard_normal((2, 9, 12))).astype(np.complex64)
    for aperture in (0.0, 0.5):
        grid = ModeGrid(64, (9, 12), (40, 64), aperture)
        a = free.operator(grid, wavelength_m=WAVELENGTH_M, seed=0).forward(field)
        b = closed.operator(grid, wavelength_m=WAVELENGTH_M, seed=0).forward(field)
        np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(b).max())


def test_ballistic_fraction_is_the_share_of_the_energy():
    grid = ModeGrid(128, (8, 8), (128, 128))
    field = np.ones((1, 8, 8), dtype=np.complex64)
    part = PhaseScreenMedium(ballistic_fraction=0.3).operator(grid, wavelength_m=WAVELENGTH_M, seed=3).forward(field)
    none = PhaseScreenMedium().operator(grid, wavelength_m=WAVELENGTH_M, seed=3).forward(field)
    ballistic = part - np.sqrt(0.7) * none
    assert np.sum(np.abs(ballistic) ** 2) / 128**2 == pytest.approx(0.3 * 64, rel=1e-4)


def test_screen_phase_has_its_spread_and_correlation():
    """Standard deviation sigma and correlation exp(-(r/l_c)^2), within five sigma of about 128^2 / (pi 2^2) cells."""
    medium = PhaseScreenMedium(phase_std_rad=2.0, correlation_length_m=0.8e-6)
    phase = np.stack([medium.screen_phase(0, 256, seed=s).astype(np.float64) for s in range(8)])
    cells = 8 * 256**2 / (np.pi * 2**2)
    assert phase.std() == pytest.approx(2.0, rel=5 / np.sqrt(2 * cells))
    for lag in (1, 2, 3):
        measured = np.mean(phase * np.roll(phase, lag, axis=2)) / np.mean(phase**2)
        assert measured == pytest.approx(np.exp(-((lag * 0.4 / 0.8) ** 2)), abs=5 / np.sqrt(cells))


@pytest.mark.parametrize("kind", ["phase_screens", "gaussian", "measured"])
def test_decorrelation_follows_its_law_and_never_comes_back(kind, tmp_path):
    """C(t) = exp(-(t/tau)^2) for all three kinds, out to 40 tau: within .03, five sigma of a matrix of 160 000 entries.

    K screens with K sigma^2 = 27 give exp(-27 (1 - exp(-(t/tau)^2 / 27))), which differs from the law by at most .01.
    """
    tau = 100.0
    drift = Drift(tau)
    shares = (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 8.0, 15.0, 23.1, 40.0)

    def matrix_at(state):
        if kind == "phase_screens":
            medium = PhaseScreenMedium(decorrelation_time_s=tau)
            return screen_matrix(medium, inputs=(4, 4), outputs=(100, 100), side=128, state=state)
        if kind == "gaussian":
            return GaussianMedium(decorrelation_time_s=tau).entries(range(16), range(10_000), seed=0, state=state).T
        path = tmp_path / "tm.h5"
        if not path.exists():
            with h5py.File(path, "w") as file:
                file["tm"] = GaussianMedium().entries(range(16), range(10_000), seed=9).T
        medium = MeasuredMedium(path=str(path), decorrelation_time_s=tau)
        return medium.entries(range(16), range(10_000), seed=0, state=state).T

    start = matrix_at(0)
    later = {share: matrix_at(int(drift.state(np.array(share * tau)))) for share in shares}
    for share, now in later.items():
        correlation = np.vdot(start, now) / np.vdot(start, start).real
        assert abs(correlation - np.exp(-(share**2))) < 0.03
        assert np.mean(np.abs(now) ** 2) == pytest.approx(1, abs=0.03)
    # Stationary: it also follows its law between two later times.
    between = np.vdot(later[3.0], later[4.0]).real / np.sqrt(
        np.vdot(later[3.0], later[3.0]).real * np.vdot(later[4.0], later[4.0]).real
    )
    assert between == pytest.approx(np.exp(-1), abs=0.03)


def test_the_drifts_weights_give_its_correlation_exactly():
    """The covariance that the weights of the moving average imply is exp(-((t - s)/tau)^2), to 1e-3."""
    drift = Drift(1.0)

    def vector(t):
        first, others = drift.mixture(t)
        return {0: first, **dict(others)}

    for t in (0.0, 0.3, 1.7, 5.2, 31.0):
        for s in (0.0, 0.1, 1.2, 5.0, 30.5):
            a, b = vector(t), vector(s)
            covariance = sum(weight * b.get(n, 0.0) for n, weight in a.items())
            assert covariance == pytest.approx(np.exp(-((t - s) ** 2)), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.02, 0.25, 0.5])
def test_matrix_is_like_an_iid_one_however_much_of_the_light_is_read(part):
    """KS < .02 when a quarter or half of the grid is read; a lossless layer fails that.

    It is a unitary map, and a block of one has less spread singular values (docs/physics.md section 3).
    """
    side = 64
    rows = max(2, round(np.sqrt(part) * side))
    distances = {}
    for depolarising in (True, False):
        medium = PhaseScreenMedium(depolarising=depolarising)
        t = screen_matrix(medium, inputs=(16, 16), outputs=(rows, rows), side=side, seed=2).astype(np.complex128)
        t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=1, keepdims=True))
        t /= np.sqrt(np.mean(np.abs(t) ** 2, axis=0, keepdims=True))
        small, large = sorted(t.shape)
        s = np.sort(np.linalg.svd(t / np.sqrt(large), compute_uv=False))
        cdf = theory.marchenko_pastur_cdf(s, small / large)
        distances[depolarising] = np.abs(cdf - (np.arange(small) + 0.5) / small).max()
    assert distances[True] < 0.02
    if part == 0.5:
        assert distances[False] > 0.05


def test_exit_face_passes_a_rayleigh_share():
    """<|a|^4>/<|a|^2>^2 = 2 for the amplitude that passes the polariser: circular Gaussian, within five sigma."""
    a = PhaseScreenMedium().exit_amplitude(256, seed=0).astype(np.float64)
    assert np.mean(a**2) == pytest.approx(1, abs=5 / 256)
    assert np.mean(a**4) / np.mean(a**2) ** 2 == pytest.approx(2, abs=5 * np.sqrt(20) / 256)


def test_a_state_lasts_until_its_correlation_has_fallen_by_1e_5():
    drift = Drift(1000.0)
    assert 1 - drift.correlation(drift.step_s) == pytest.approx(1e-5, rel=1e-3)
    assert drift.state(np.array([0.0, drift.step_s * 0.99, drift.step_s * 1.01])).tolist() == [0, 0, 1]
    assert Drift(np.inf).state(np.array([0.0, 1e9])).tolist() == [0, 0]


def test_tiles_of_a_gaussian_matrix_are_the_stored_matrix():
    medium = GaussianMedium()
    whole = medium.entries(range(40), range(101), seed=3)
    np.testing.assert_array_equal(medium.entries(range(7, 29), range(33, 88), seed=3), whole[7:29, 33:88])
    assert not np.array_equal(medium.entries(range(40), range(101), seed=4), whole)


def test_unpolarised_channels_are_independent():
    grid = ModeGrid(128, (4, 4), (100, 100))
    field = np.ones((1, 4, 4), dtype=np.complex64)
    one, two = (
        PhaseScreenMedium().operator(grid, wavelength_m=WAVELENGTH_M, seed=3, channel=c).forward(field) for c in (0, 1)
    )
    assert coherence(one, two) < 5 / np.sqrt(10_000)
    mean = (np.abs(one) ** 2 + np.abs(two) ** 2) / 2
    assert mean.std() / mean.mean() == pytest.approx(1 / np.sqrt(2), abs=0.02)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_pixel_integration_lowers_the_contrast_by_its_law(ratio):
    """Contrast 1/sqrt(M) of a square pixel over a round aperture's grain: .98, .91, .72, .45, .245 (docs/physics.md).

    The coarsest case has some 50 grains across; 16 realisations leave a spread of the measured contrast below .006.
    """
    fine, aperture, axis = pixel_sampling(ratio)
    weights = np.multiply.outer(axis, axis)
    pixels = 240 // fine
    grid = ModeGrid(256, (2, 2), (pixels * fine, pixels * fine), aperture)
    rng = np.random.default_rng(0)
    values = []
    for seed in range(16):
        operator = PhaseScreenMedium().operator(grid, wavelength_m=WAVELENGTH_M, seed=seed)
        field = rng.standard_normal((1, 2, 2)).astype(np.complex64)
        intensity = np.abs(operator.forward(field)[0].astype(np.complex128)) ** 2 / np.sum(field**2)
        values.append(np.einsum("aibj,ij->ab", intensity.reshape(pixels, fine, pixels, fine), weights))
    pooled = np.stack(values)
    known = {0.25: 0.98, 0.5: 0.91, 1.0: 0.72, 2.0: 0.45, 4.0: 0.245}[ratio]
    assert pooled.mean() == pytest.approx(1, abs=0.02)
    assert pooled.std() / pooled.mean() == pytest.approx(known, abs=0.02)
    assert pooled.std() / pooled.mean() == pytest.approx(theory.speckle_contrast(ratio), abs=0.02)


@pytest.mark.parametrize("side", [90, 216, 250, 270, 360, 400])
def test_fields_do_not_depend_on_the_batch_or_the_threads(side):
    """Small grids go several to a transform or whole, larger ones in blocks, and threads take grids or parts of one."""
    grid = ModeGrid(side, (31, 30), (41, 43))
    rng = np.random.default_rng(side)
    cells = (rng.standard_normal((7, 31, 30)) + 1j * rng.standard_normal((7, 31, 30))).astype(np.complex64)
    operators = [PhaseScreenMedium().operator(grid, wavelength_m=WAVELENGTH_M, seed=1, workers=n) for n in (1, 2, 3)]
    whole = operators[0].forward(cells)
    for operator in operators:
        for batch in (1, 2, 3, 7):
            parts = [operator.forward(cells[i : i + batch]) for i in range(0, 7, batch)]
            assert np.array_equal(np.concatenate(parts), whole)


def test_a_layer_is_found_as_long_as_a_copy_of_it_lives():
    first = PhaseScreenMedium().operator(ModeGrid(64, (5, 7), (64, 64)), wavelength_m=WAVELENGTH_M, seed=0)
    found = weakref.ref(first)
    other = first.on(ModeGrid(64, (5, 7), (32, 32)))
    third = other.on(ModeGrid(64, (3, 3), (32, 32)))
    del first, other
    gc.collect()
    assert found() is not None and found().factors is third.factors
    del third
    gc.collect()
    assert found() is None
