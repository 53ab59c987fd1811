"""The whole spectrum of the layer against random matrix theory.

Asked of a layer that depolarises: the largest singular value within 3 % of Marchenko and Pastur's edge, the smallest
within 3 % where there are at most half as many inputs as outputs, KS distance below .02, whatever part of the modes is
read. Submatrices chosen at random hide a fault in the ends of the spectrum, so all of it is looked at, by Lanczos'
method; benchmarks/spectrum.py does the same on the grids of the presets.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from scipy import stats

from opusim.device.medium import ModeGrid, PhaseScreenMedium
from tests.support.spectrum import layer_spectrum, spectrum

WAVELENGTH_M = 532e-9
MIDDLE, FACE = PhaseScreenMedium(), PhaseScreenMedium(depolarised_at="exit face")
LOSSLESS = PhaseScreenMedium(depolarising=False)
# Side, inputs, outputs: shares of the modes from a twentieth to all of them.
SHARES = {
    "a tenth, a quarter": (128, (40, 40), (64, 64)),
    "a quarter each": (128, (64, 64), (64, 64)),
    "a quarter, a half": (128, (64, 64), (91, 91)),
    "a half each": (128, (91, 91), (91, 91)),
    "a half, all": (128, (90, 90), (128, 128)),
    "all": (128, (128, 128), (128, 128)),
    "more inputs than outputs": (128, (100, 80), (40, 60)),
}


def probes_for(shape: tuple[int, int]) -> int:
    """Random vectors with which the share of the spectrum is known to .8 / sqrt(20 000) = .006."""
    return -(-20_000 // (shape[0] * shape[1]))


@pytest.mark.parametrize("n_in, n_out", [(700, 1400), (900, 900), (1400, 700)])
def test_the_method_finds_the_spectrum_of_a_matrix(n_in, n_out):
    """Of a Gaussian matrix: ends as by a decomposition to 1e-3, distance to the law below .02.

    The share that 20 vectors see is known to .8 / sqrt(20 x 700) = .007; the matrix itself is off the law by .003.
    """
    rng = np.random.default_rng(5)
    g = (rng.standard_normal((n_out, n_in)) + 1j * rng.standard_normal((n_out, n_in))) / np.sqrt(2)
    g = g.astype(np.complex64)
    found = spectrum(lambda x: g @ x, lambda y: g.conj().T @ y, n_in, n_out, steps=80, probes=20)
    truth = np.linalg.svd(g / np.sqrt(max(n_in, n_out)), compute_uv=False)
    assert found.values.max() == pytest.approx(truth[0], rel=1e-3)
    if n_in != n_out:
        assert found.values.min() == pytest.approx(truth[-1], rel=1e-2)
    assert found.distance < 0.02


@pytest.mark.parametrize("case", SHARES)
def test_singular_values_are_those_of_an_iid_matrix(case):
    """All of them, for any share of the modes, by the method's own error of .006 well below what is asked."""
    side, inputs, outputs = SHARES[case]
    probes = probes_for(min(inputs, outputs, key=np.prod))
    found = layer_spectrum(MIDDLE, ModeGrid(side, inputs, outputs), steps=60, probes=probes, seed=3)
    assert found.largest == pytest.approx(1, abs=0.03)
    assert found.distance < 0.02
    if found.ratio <= 0.5:
        assert found.smallest == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("n_screens", [4, 5])
def test_so_are_those_of_more_screens(n_screens):
    medium = PhaseScreenMedium(n_screens=n_screens)
    found = layer_spectrum(medium, ModeGrid(128, (64, 64), (91, 91)), steps=60, probes=10)
    assert found.largest == pytest.approx(1, abs=0.03)
    assert found.smallest == pytest.approx(1, abs=0.03)
    assert found.distance < 0.02


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_so_are_those_of_a_large_layer(seed):
    """32 400 inputs and outputs, half of the modes: largest within 1 %, distance below .01."""
    found = layer_spectrum(MIDDLE, ModeGrid(256, (180, 180), (180, 180)), steps=80, seed=seed)
    assert found.largest == pytest.approx(1, abs=0.01)
    assert found.distance < 0.01


def test_depolarising_at_the_exit_face_opens_channels():
    """What version 1 of the presets does: too much by .1 to .9 in the largest value (docs/physics.md section 3).

    What is read of the face times the amplitude there is a block of a circulant matrix of random symbols: where
    neighbouring symbols are large, a field that fills that place comes through.
    """
    half = layer_spectrum(FACE, ModeGrid(256, (180, 180), (180, 180)), steps=60)
    whole = layer_spectrum(FACE, ModeGrid(128, (128, 128), (128, 128)), steps=60, probes=2)
    assert 1.15 < half.largest < 1.5
    assert 1.3 < whole.largest < 2
    assert whole.distance > 0.08


def test_fewer_than_three_screens_have_no_middle():
    """There the exit face takes its place, to the bit."""
    grid = ModeGrid(64, (8, 8), (16, 16))
    for n in (1, 2):
        pair = [PhaseScreenMedium(n_screens=n, depolarised_at=at) for at in ("middle screen", "exit face")]
        middle, face = (m.factors(grid, wavelength_m=WAVELENGTH_M, seed=0) for m in pair)
        assert all(np.array_equal(a, b) for a, b in zip(middle.screens, face.screens, strict=True))
        assert pair[0].middle_amplitude(64, seed=0).tolist() == np.ones((64, 64)).tolist()


def haar_largest(inputs: float, outputs: float) -> float:
    """Largest singular value of a block of a random unitary matrix over that of an i.i.d. matrix.

    For shares p and q of its columns and rows: (sqrt(p(1 - q)) + sqrt(q(1 - p))) / (sqrt p + sqrt q) up to p + q = 1
    (Wachter, Annals of Statistics 8, 937, 1980), which is sqrt(1 - p) for p = q.
    """
    p, q = inputs, outputs
    return (np.sqrt(p * (1 - q)) + np.sqrt(q * (1 - p))) / (np.sqrt(p) + np.sqrt(q))


@pytest.mark.parametrize("inputs, outputs", [((40, 40), (64, 64)), ((64, 64), (64, 64)), ((64, 64), (90, 90))])
def test_a_lossless_layer_is_a_block_of_a_unitary_map(inputs, outputs):
    """Its largest singular value is that of a block of a random unitary matrix, within 2 %."""
    found = layer_spectrum(LOSSLESS, ModeGrid(128, inputs, outputs), steps=60)
    shares = np.prod(inputs) / 128**2, np.prod(outputs) / 128**2
    assert found.largest == pytest.approx(haar_largest(*shares), rel=0.02)


def two_polarisations(side: int, seed: int):
    """A layer of three screens that each turn the polarisation by a random unitary 2 x 2 matrix, in plain numpy."""
    rng = np.random.default_rng(seed)
    medium = PhaseScreenMedium()
    free = medium.factors(ModeGrid(side, (2, 2), (2, 2)), wavelength_m=WAVELENGTH_M, seed=seed).transfer
    screens = []
    for k in range(3):
        q = rng.standard_normal((4, side, side))
        a, b = q[0] + 1j * q[1], q[2] + 1j * q[3]
        turn = np.exp(1j * medium.screen_phase(k, side, seed=seed)) / np.sqrt(np.abs(a) ** 2 + np.abs(b) ** 2)
        screens.append((turn * np.array([[a, -b.conj()], [b, a.conj()]])).astype(np.complex64))

    def forward(block: np.ndarray) -> np.ndarray:
        """Field in the polarisation that is read, over the grid, for a block of cells lit in one polarisation."""
        field = np.zeros((2, side, side), dtype=np.complex64)
        field[0, : block.shape[0], : block.shape[1]] = block
        field = scipy.fft.fft2(field, norm="ortho")
        for k, screen in enumerate(screens):
            if k:
                field = scipy.fft.ifft2(scipy.fft.fft2(field, norm="ortho") * free, norm="ortho")
            field = np.einsum("ijyx,jyx->iyx", screen, field)
        return scipy.fft.fft2(field[0], norm="ortho") * np.sqrt(2 * side**2)

    return forward


def test_two_polarisations_alone_do_not_make_the_matrix_iid():
    """Turned at every screen, one of them read: a block of a unitary map of twice the size, within 2 %.

    Its largest value is sqrt(1 - p) of the edge, p the share of the modes of both polarisations: .87 where half of the
    modes of each are read, and .707 where all are.
    """
    side, n = 48, 34  # half of the modes of each polarisation
    forward = two_polarisations(side, 1)
    columns = np.empty((n * n, n, n), dtype=np.complex64)
    for j in range(n * n):
        unit = np.zeros((n, n), dtype=np.complex64)
        unit[divmod(j, n)] = 1
        columns[j] = forward(unit)[7 : 7 + n, 7 : 7 + n]
    largest = np.linalg.svd(columns.reshape(n * n, n * n), compute_uv=False)[0] / (2 * n)
    share = n * n / (2 * side**2)
    assert largest == pytest.approx(haar_largest(share, share), rel=0.02)
    assert largest < 0.9


def test_the_amplitude_of_the_middle_screen_is_a_quarter_circle():
    """Density sqrt(4 - x^2)/pi: mean 8/(3 pi), squares 1, fourth powers 2, and its distribution, within five sigma."""
    x = MIDDLE.middle_amplitude(256, seed=0)
    assert x.dtype == np.float32 and x.shape == (256, 256)
    x = x.astype(np.float64).ravel()
    n = x.size
    assert 0 <= x.min() and x.max() <= 2
    assert x.mean() == pytest.approx(8 / (3 * np.pi), abs=5 * np.sqrt(1 - (8 / (3 * np.pi)) ** 2) / np.sqrt(n))
    assert np.mean(x**2) == pytest.approx(1, abs=5 * np.sqrt(2 - 1) / np.sqrt(n))
    assert np.mean(x**4) == pytest.approx(2, abs=5 * np.sqrt(14 - 4) / np.sqrt(n))  # Catalan numbers 1, 2, 5, 14

    def cdf(v):
        return (v * np.sqrt(4 - v * v) / 2 + 2 * np.arcsin(v / 2)) / np.pi

    assert stats.kstest(x, cdf).statistic < 2.6 / np.sqrt(n)  # exceeded by chance in 3 of a million
    assert MIDDLE.exit_amplitude(8, seed=0).tolist() == np.ones((8, 8)).tolist()
    assert FACE.middle_amplitude(8, seed=0).tolist() == np.ones((8, 8)).tolist()


def test_polarisations_have_amplitudes_of_their_own():
    """Independent: correlation within five sigma."""
    one, two = (MIDDLE.middle_amplitude(128, seed=4, channel=c).ravel() for c in (0, 1))
    assert abs(np.corrcoef(one, two)[0, 1]) < 5 / 128


@pytest.mark.parametrize("medium", [MIDDLE, FACE], ids=["middle", "face"])
def test_the_light_of_one_input_is_that_of_a_column_of_an_iid_matrix(medium):
    """Over the whole grid its mean is 1 and its spread 1/sqrt N, N modes: within five sigma of 400 columns.

    With a unitary map on both sides an input spreads evenly over the points of the screen, and <x^4> - 1 = 1 there.
    Rounding to complex64 and the scale of the grid's mean are below 1e-4.
    """
    grid = ModeGrid(64, (20, 20), (64, 64))
    operator = medium.operator(grid, wavelength_m=WAVELENGTH_M, seed=2)
    totals = np.concatenate([
        np.mean(np.abs(operator.forward(part).astype(np.complex128)) ** 2, axis=(1, 2))
        for part in np.split(np.eye(400, dtype=np.complex64).reshape(400, 20, 20), 10)
    ])  # fmt: skip
    sigma = 1 / 64
    assert totals.mean() == pytest.approx(1, abs=5 * sigma / 20)
    assert totals.std() == pytest.approx(sigma, rel=5 / np.sqrt(2 * 400))


def test_the_stop_of_a_pixels_grain_acts_on_an_iid_matrix():
    """Where pixels are integrated over a round stop makes neighbouring samples alike: the law is that of stop times G.

    The map of the layer against i.i.d. entries over the whole grid behind the same stop, drawn by numpy: largest value
    within 3 %, distance of the spectra below .02.
    """
    side, inputs, outputs, diameter = 48, (24, 24), (30, 30), 0.5
    found = layer_spectrum(MIDDLE, ModeGrid(side, inputs, outputs, diameter), steps=60, probes=20)
    axis = scipy.fft.fftfreq(side, d=1 / side)
    # The edge of the stop is a ramp of the power over one step of the grid, about the radius of equal second moment.
    radius = np.sqrt((side * diameter / 2) ** 2 - 5 / 12)
    stop = np.sqrt(np.clip(radius + 0.5 - np.hypot(axis[:, None], axis), 0, 1))
    stop /= np.sqrt(np.mean(stop**2))
    rng = np.random.default_rng(1)
    block = (slice(None), slice(9, 39), slice(9, 39))
    columns = [
        scipy.fft.fft2(stop * part, axes=(1, 2), norm="ortho")[block].reshape(-1, 900)
        for part in (rng.standard_normal((4, 144, side, side, 2)) @ np.array([1, 1j]) / np.sqrt(2))
    ]
    g = np.concatenate(columns).T.astype(np.complex64)
    drawn = spectrum(lambda x: g @ x, lambda y: g.conj().T @ y, 576, 900, steps=60, probes=20)
    assert found.largest == pytest.approx(drawn.largest, rel=0.03)
    assert found.largest > 1.3  # far from the law of independent outputs
    s = np.linspace(0.05, float(drawn.values.max()), 500)
    assert np.abs(found.share_below(s) - drawn.share_below(s)).max() < 0.02


def test_another_plane_is_refused():
    with pytest.raises(ValueError, match="depolarised_at is 'entrance', but it must be .*'middle screen'.*'exit face'"):
        PhaseScreenMedium(depolarised_at="entrance")
