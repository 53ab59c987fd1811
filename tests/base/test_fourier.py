"""Fourier transforms by the engine of `scipy.fft` are those of `scipy.fft`."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.fft

from opusim.base import fourier

rng = np.random.default_rng(11)
SHAPES = [(1, 6, 10), (3, 30, 16), (2, 7, 11), (1, 1, 1)]


def grids(shape: tuple[int, ...], kind: type = np.complex64) -> np.ndarray:
    """Random complex grids."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(kind)


@pytest.fixture(params=["engine", "scipy.fft"], autouse=True)
def way(request, monkeypatch):
    """With the engine alone, and as if it were not found."""
    if request.param == "scipy.fft":
        monkeypatch.setattr(fourier, "_pocketfft", None)
    return request.param


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
@pytest.mark.parametrize("inverse", [False, True])
def test_complex_transforms_are_those_of_scipy_to_the_bit(shape, kind, norm, inverse):
    x = grids(shape, kind)
    before = x.copy()
    whole, line = (scipy.fft.ifftn, scipy.fft.ifft) if inverse else (scipy.fft.fftn, scipy.fft.fft)
    for axes in ((-2, -1), (1,), (2,)):
        found = fourier.transform(x, axes, inverse=inverse, norm=norm)
        assert found.dtype == kind and np.array_equal(found, whole(x, axes=axes, norm=norm))
        assert np.array_equal(found, fourier.transform(x, axes, inverse=inverse, norm=norm, workers=2))
        if len(axes) == 1:
            assert np.array_equal(found, line(x, axis=axes[0], norm=norm))
    assert np.array_equal(x, before)


def test_a_result_may_take_the_place_of_the_grid():
    """As in passes over rows of a grid that is wider in memory."""
    wide = grids((4, 12, 24))
    x = wide[:, :, :20]
    expected = scipy.fft.fft(x, axis=1, norm="ortho")
    assert np.array_equal(fourier.transform(x, (1,), norm="ortho", overwrite=True), expected)
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("shape", [(6, 10), (16, 16), (5, 9), (2, 2)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_real_transforms_are_those_of_scipy_to_the_bit(shape, kind):
    x = rng.normal(size=shape).astype(kind)
    spectrum = fourier.rfft2(x)
    assert np.array_equal(spectrum, scipy.fft.rfft2(x)) and spectrum.dtype == scipy.fft.rfft2(x).dtype
    back = fourier.irfft2(spectrum, shape[1])
    assert np.array_equal(back, scipy.fft.irfft2(spectrum, s=shape)) and back.dtype == kind


@pytest.mark.parametrize("n", [1, 2, 7, 30, 384])
@pytest.mark.parametrize("step", [1.0, 1 / 384, 2.7e-6])
def test_frequencies_are_those_of_scipy_to_the_bit(n, step):
    assert np.array_equal(fourier.frequencies(n, step), scipy.fft.fftfreq(n, step))
    assert np.array_equal(fourier.half_frequencies(n, step), scipy.fft.rfftfreq(n, step))
    grid = rng.normal(size=(n, 5))
    assert np.array_equal(fourier.centred(grid), scipy.fft.fftshift(grid))


def test_the_engine_is_found_beside_scipy_fft_in_either_order():
    """And each of them computes when the other one is there."""
    code = """
        import sys
        import numpy as np
        {first}
        {second}
        import scipy.fft
        from opusim.base import fourier
        assert fourier._pocketfft is not None
        x = np.arange(12, dtype=np.complex64).reshape(3, 4)
        print(np.array_equal(fourier.transform(x, (0, 1)), scipy.fft.fft2(x)), scipy.fft.dct(x.real).shape)
    """
    orders = ("from opusim.base import fourier", "import scipy.fft"), ("import scipy.fft", "import opusim.base.fourier")
    for first, second in orders:
        program = textwrap.dedent(code.format(first=first, second=second))
        answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert answer.stdout == "True (3, 4)\n", answer.stderr
