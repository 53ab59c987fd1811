"""The OPU under lightonml's names, and lightonml's simulator behind it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from opusim import OPU as OWN
from opusim.drivers import ContextArray, OpuDevice
from opusim.drivers.compat import opu as compat
from opusim.drivers.compat.opu import OPU
from opusim.drivers.compat.simulated_device import SimulatedOpuDevice


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("OPUSIM_DEVICE", "OPUSIM_SEED", "OPUSIM_EXCLUSIVE"):
        monkeypatch.delenv(name, raising=False)


def bits(*shape):
    return np.random.default_rng(0).integers(0, 2, shape, dtype=np.uint8)


def reference_matrix(n_features, n_components, seed=0):
    """lightonml's formula (its documentation: N(0, 1) + i N(0, 1), over sqrt(n_features)), as drawn by numpy."""
    draw = np.random.RandomState(seed)
    real = (draw.standard_normal((n_features, n_components)) / np.sqrt(n_features)).astype(np.float32)
    return real + 1j * (draw.standard_normal((n_features, n_components)) / np.sqrt(n_features)).astype(np.float32)


def test_same_counts_as_our_own():
    x = bits(5, 100)
    with OPU(200) as opu, OWN(200) as own:
        assert type(opu) is OPU and isinstance(opu, OWN)
        assert np.array_equal(opu.fit_transform1d(x), own.fit_transform1d(x))


def test_device_and_seed_from_the_environment(monkeypatch):
    monkeypatch.setenv("OPUSIM_DEVICE", "ideal")
    monkeypatch.setenv("OPUSIM_SEED", "4")
    with OPU(50) as opu, OWN(50, device="ideal", seed=4) as own:
        assert opu.device.name == "ideal" and opu.device.seed == 4
        assert np.array_equal(opu.fit_transform1d(bits(3, 30)), own.fit_transform1d(bits(3, 30)))


@pytest.mark.parametrize("with_file", [False, True])
def test_the_environment_is_asked_once(monkeypatch, tmp_path, with_file):
    path = tmp_path / "opu.json"
    path.write_text('{"type": "type3"}')
    asked = []
    selected = compat.environment.selected

    def counted(*arguments):
        asked.append(arguments)
        return selected(*arguments)

    monkeypatch.setattr(compat.environment, "selected", counted)
    opu = OPU(50, config_file=path if with_file else "", open_at_init=False)
    assert asked == [("type3",) if with_file else ()]
    assert opu.device.opu_type == ("type3" if with_file else "type2")
    assert "_selection" not in vars(opu)


def test_json_gives_the_settings(monkeypatch, tmp_path):
    path = tmp_path / "opu.json"
    path.write_text(
        '{"type": "type1", "name": "saturn", "output": {"exposure_us": 250}, "input": {"frametime_us": 900}}'
    )
    monkeypatch.setenv("OPUSIM_DEVICE", str(path))
    with OPU(1000) as opu:
        assert (opu.device.exposure_us, opu.device.frametime_us, opu.device.name) == (250, 900, "saturn")
        assert opu.device.output_shape_max == (1920, 1080)
    monkeypatch.delenv("OPUSIM_DEVICE")
    with OPU(1000, config_file=path) as opu:
        assert (opu.device.exposure_us, opu.device.output_shape_max) == (250, (1920, 1080))


def test_the_oldest_constructor_takes_two_times():
    with OPU(500, 100) as opu:
        assert (opu.device.frametime_us, opu.device.exposure_us, opu.n_components) == (500, 100, 200000)


def test_verbose_level_shows_progress(capfd):
    x = bits(4, 60)
    try:
        compat.set_verbose_level(1)
        with OPU(10) as opu:
            opu.fit_transform1d(x)
        assert "OPU: transform" in capfd.readouterr().err
        with OPU(10, verbose_level=0) as opu:
            opu.fit_transform1d(x)
        assert capfd.readouterr().err == ""
    finally:
        compat.set_verbose_level(0)


# ---------------------------------------------------------------- simulated=True


def test_simulator_has_lightonmls_numbers():
    x = bits(6, 40)
    with OPU(n_components=30, max_n_features=40, simulated=True) as opu:
        y = opu.fit_transform1d(x)
        field = x @ reference_matrix(40, 30)
        assert isinstance(y, ContextArray) and y.dtype == np.float32
        assert np.allclose(y, np.abs(field) ** 2, rtol=1e-5, atol=1e-6)
        assert np.allclose(opu.linear_transform(x), field.real / np.sqrt(40), rtol=1e-5, atol=1e-6)


def test_simulator_by_its_device_and_by_position():
    device = SimulatedOpuDevice()
    opu = OPU(20, device, 30)
    assert isinstance(opu, OPU) and opu.device is device and opu.max_n_features == 30
    opu.max_n_features = 50
    assert device.random_matrix.shape == (50, 20)
    opu.n_components = 10
    assert device.random_matrix.shape == (50, 10)
    opu.fit1d(n_features=50)
    assert opu.transform(bits(50)).shape == (10,)


def test_simulator_takes_bytes_and_any_shapes():
    with OPU(n_components=20, max_n_features=12, simulated=True) as opu:
        opu.fit2d(n_features=(3, 4))
        x = np.arange(5 * 12).reshape(5, 3, 4) * 4.0
        assert np.allclose(opu.transform(x), np.abs(x.reshape(5, 12) @ reference_matrix(12, 20)) ** 2, rtol=1e-4)
        opu.fit1d(bits(2, 3, 12))
        assert opu.transform(bits(2, 3, 12)).shape == (2, 3, 20)
        opu.fit1d(np.packbits(bits(4, 8), axis=1), packed=True)
        with pytest.warns(UserWarning, match="8 features and the random matrix 12"):
            packed = opu.transform(np.packbits(bits(4, 8), axis=1))
        assert np.allclose(packed, np.abs(bits(4, 8) @ reference_matrix(12, 20)[:8]) ** 2, rtol=1e-4)


def test_simulator_copies_and_pickles():
    with OPU(n_components=20, max_n_features=12, simulated=True) as opu:
        y = opu.fit_transform1d(bits(4, 12))
        for other in (pickle.loads(pickle.dumps(opu)), copy.deepcopy(opu)):
            assert np.array_equal(other.transform(bits(4, 12)), y)


def test_simulator_and_torch():
    torch = pytest.importorskip("torch")
    with OPU(n_components=20, max_n_features=12, simulated=True) as opu:
        y = opu.fit_transform1d(torch.from_numpy(bits(4, 12)))
        assert isinstance(y, torch.Tensor) and y.dtype == torch.float32


def test_simulator_errors():
    with pytest.raises(ValueError, match="simulated is True and opu_device is given"):
        OPU(10, opu_device=SimulatedOpuDevice(), simulated=True)
    opu = OPU(n_components=10, max_n_features=12, simulated=True)
    with pytest.raises(ValueError, match="set max_n_features"):
        opu.fit1d(n_features=13)
    with pytest.raises(AssertionError, match="one of them must be given"):
        opu.fit1d()
    opu.fit1d(n_features=12)
    with pytest.raises(ValueError, match="vectors of 12 features need the shape"):
        opu.transform(bits(3, 11))
    opu.close()
    with pytest.raises(AssertionError, match="isn't active"):
        opu.transform(bits(3, 12))


def test_a_device_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="opu_device"):
        OPU(10, opu_device=object())
    assert OPU(10, opu_device=OpuDevice(), open_at_init=False).device.name == "aurora"


# ---------------------------------------------------------------- numbers that are no bits


@pytest.mark.parametrize("kind", [float, np.float32, np.int32])
@pytest.mark.parametrize("is_2d", [False, True])
def test_a_fit_on_numbers_takes_their_shape_and_density(kind, is_2d):
    """What lightonml counts as ones is what is not 0: programs fit on numbers, then use an encoder."""
    numbers = (np.random.default_rng(1).uniform(-9, 9, (6, 12, 10)) * (bits(6, 12, 10) > 0)).astype(kind)
    numbers = numbers if is_2d else numbers.reshape(6, 120)
    with OPU(40) as opu, OPU(40) as other:
        for one, x in ((opu, numbers), (other, numbers != 0)):
            (one.fit2d if is_2d else one.fit1d)(x)
        assert opu.current_fit == other.current_fit and opu.current_fit.n_ones is not None
        with pytest.raises(ValueError, match="X should be binary"):
            opu.transform(numbers)
        with pytest.raises(ValueError, match="X should be binary"):
            (opu.fit_transform2d if is_2d else opu.fit_transform1d)(numbers)
        assert np.array_equal(opu.transform(bits(*numbers.shape)), other.transform(bits(*numbers.shape)))


def test_a_fit_on_numbers_then_an_encoder():
    from opusim.encoding import SeparatedBitPlanDecoder, SeparatedBitPlanEncoder

    numbers = np.random.default_rng(0).uniform(size=(6, 50)).astype(np.float32)
    with OPU(300) as opu:
        opu.fit1d(numbers)
        y = opu.linear_transform(numbers, SeparatedBitPlanEncoder, SeparatedBitPlanDecoder)
        assert y.shape == (6, 300)
    with OWN(300) as own, pytest.raises(ValueError, match="X should be binary"):
        own.fit1d(numbers)


@pytest.mark.parametrize("bad", [np.array(["a", "b"]), np.ones(4, complex), np.ma.masked_equal([0, 1, 1], 1)])
def test_a_fit_on_what_are_no_numbers_is_refused(bad):
    with OPU(40) as opu, pytest.raises(TypeError, match="^X "):
        opu.fit1d(bad)


def test_a_fit_on_nan_is_refused():
    with OPU(40) as opu, pytest.raises(ValueError, match=r"^X\[0, 1\] is nan, but every value must be a number"):
        opu.fit1d(np.array([[0.1, np.nan]]))


@pytest.mark.parametrize("name", ["exposure_us", "frametime_us"])
def test_a_time_of_0_is_none_that_is_asked_for_under_lightonmls_names_only(name):
    """lightonml: "If non-zero, override"."""
    x = bits(3, 50)
    with OPU(40) as opu:
        opu.fit1d(x)
        expected = opu.device.exposure_us, opu.device.frametime_us
        opu.fit1d(x, **{name: 0})
        assert (opu.device.exposure_us, opu.device.frametime_us) == expected
    with OWN(40) as own:
        for call in (own.fit1d, own.fit_transform1d):
            with pytest.raises(ValueError, match=f"{name} is 0, but it must be a number in"):
                call(x, **{name: 0})
        for call in (own.fit2d, own.fit_transform2d):
            with pytest.raises(ValueError, match=f"{name} is 0.0, but it must be a number in"):
                call(x.reshape(3, 10, 5), **{name: 0.0})


def test_the_simulator_casts_as_lightonml_does():
    """Its formatter copies into an array of uint8."""
    numbers = np.array([[0.5, 1.7, -1.0, 1.0, 300.0, 0.0]])
    for x in (numbers, numbers.astype(np.float32), np.trunc(numbers).astype(int)):
        with OPU(30, simulated=True, max_n_features=6) as opu:
            opu.fit1d(x)
            matrix = reference_matrix(6, 30)
            expected = np.array([[0, 1, 255, 1, 44, 0]], dtype=np.uint8)
            with pytest.warns(UserWarning, match="modulo 256"):
                y = opu.transform(x)
            assert np.allclose(y, np.abs(expected @ matrix) ** 2, rtol=1e-5)
            with pytest.warns(UserWarning, match="modulo 256"):
                z = opu.linear_transform(x)
            assert np.allclose(z, (expected @ matrix).real / np.sqrt(6), rtol=1e-4)
    with OPU(30, simulated=True, max_n_features=2) as opu:
        for bad in (np.nan, np.inf, 1e10, -(2.0**31)):
            with pytest.raises(ValueError, match=r"not finite, or as large as 2\^31"):
                opu.fit_transform1d(np.array([[1.0, bad]]))


def test_two_times_by_position_and_a_change_of_the_configuration():
    opu = OPU(700, 500, config_override={"output": {"stdev": 2.0}, "n_samples_by_pass": 10}, open_at_init=False)
    assert (opu.device.frametime_us, opu.device.exposure_us) == (700, 500)
    assert opu.config["output"]["stdev"] == 2.0 and opu.config["n_samples_by_pass"] == 10
