"""One OPU through several fits, threads, open and closed, online, copied. Over a bench without optics."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from opusim.drivers import OPU, AcqState, InputRoiStrategy, NotReadyError, OpuDevice


def bits(*shape):
    return (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8)


# ---------------------------------------------------------------- n_components, several OPUs, threads


def test_n_components_can_be_set_after_a_fit(opu):
    x = bits(3, 100)
    opu.fit1d(x)
    for n in (50, 5000, np.int64(7), 100):
        opu.n_components = n
        assert opu.n_components == n and type(opu.n_components) is int
        assert opu.transform(x).shape == (3, n)
    assert opu.max_n_components == 2040 * 1088


def test_two_opus_share_a_device(bench):
    device = OpuDevice(bench=bench)
    narrow, wide = OPU(100, opu_device=device), OPU(5000, opu_device=device)
    x = bits(3, 100)
    narrow.fit1d(x, exposure_us=100)
    a = narrow.transform(x)
    wide.fit1d(x, exposure_us=200)
    b = wide.transform(x)
    again = narrow.transform(x)
    assert np.array_equal(again, a) and again.context.exposure_us == 100
    assert np.array_equal(wide.transform(x), b) and b.shape == (3, 5000)
    assert np.array_equal(narrow.transform(x), a)
    third = OPU(9000, opu_device=device)  # choosing a region is enough to disturb the others
    assert np.array_equal(narrow.transform(x), a)
    third.n_components = 20_000
    assert np.array_equal(narrow.transform(x), a)


def test_a_fit_that_another_thread_replaced_shows_its_own_settings(opu):
    x = bits(3, 100)
    opu.fit1d(x, exposure_us=100)
    first = opu.current_fit
    opu.fit1d(x, exposure_us=200)
    assert opu._claim(first)[0].exposure_us == 100
    assert opu.transform(x).context.exposure_us == 200


def test_threads(opu):
    x = bits(40, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    failures = []

    def work():
        for _ in range(20):
            if not np.array_equal(opu.transform(x), expected):
                failures.append("differs")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures and opu.device.acq_state is AcqState.stopped


def test_passes_leave_nothing_out(make_opu, bench):
    opu = make_opu(config_override={"n_samples_by_pass": 4})
    x = bits(10, 100)
    y = opu.fit_transform1d(x)
    assert [call["n"] for call in bench.calls] == [4, 4, 2]
    opu.config["n_samples_by_pass"] = 3000
    assert np.array_equal(opu.transform(x), y) and bench.calls[-1]["n"] == 10


def test_progress_bar_only_on_request(make_opu, capsys):
    x = bits(10, 100)
    make_opu().fit_transform1d(x)
    make_opu(verbose_level=1, disable_pbar=True).fit_transform1d(x)
    make_opu(verbose_level=1).fit_transform1d(x[0])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err == ""
    make_opu(verbose_level=1, config_override={"n_samples_by_pass": 3}).fit_transform1d(x)
    assert "10/10" in capsys.readouterr().err


# ---------------------------------------------------------------- open, closed, online


def test_open_close_and_with(make_opu):
    opu = make_opu(open_at_init=False)
    assert not opu.device.active
    with opu:
        assert opu.device.active
        with opu:
            pass
        assert opu.device.active
    assert not opu.device.active
    opu.open()
    opu.open()
    opu.fit1d(bits(3, 100))
    with opu:
        pass
    assert opu.device.active  # it was open before
    opu.close()
    opu.close()
    with pytest.raises(NotReadyError, match="open"):
        opu.transform(bits(3, 100))
    opu.open()
    assert opu.transform(bits(3, 100)).shape == (3, 100)  # the fit is kept


def test_online(opu):
    x = bits(4, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    opu.fit1d(x, online=True)
    assert opu.device.acq_state is AcqState.online
    assert np.array_equal(opu.transform(x[0]), expected[0]) and opu.transform(x[:1]).shape == (1, 100)
    for error in (RuntimeError, AssertionError):
        with pytest.raises(error, match="single vectors"):
            opu.transform(x)
    opu.fit1d(x)
    assert opu.device.acq_state is AcqState.stopped and np.array_equal(opu.transform(x), expected)
    opu.fit1d(x, online=True)
    opu.close()
    assert opu.device.acq_state is None


def test_online_can_be_missing(make_opu):
    opu = make_opu(config_override={"no_single_transform": True})
    with pytest.raises(RuntimeError, match="no online mode"):
        opu.fit1d(bits(3, 100), online=True)


def test_interrupt_leaves_it_usable(make_opu, bench):
    opu = make_opu(config_override={"n_samples_by_pass": 3})
    x = bits(10, 100)
    expected = opu.fit_transform1d(x)
    bench.interrupt_at = len(bench.calls) + 2
    with pytest.raises(KeyboardInterrupt):
        opu.transform(x)
    assert opu.device.acq_state is AcqState.stopped
    assert np.array_equal(opu.transform(x), expected)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("online", [False, True])
@pytest.mark.parametrize("active", [False, True])
def test_pickle(active, online):
    opu = OPU(100, seed=5, config_override={"ones_range": [10, 600_000]}, input_roi_strategy="small")
    opu.fit1d(bits(3, 100), online=online)
    if not active:
        opu.close()
    data = pickle.dumps(opu)
    assert len(data) < 20_000  # settings, no matrix
    other = pickle.loads(data)
    assert opu.device.active is active and other.device.active is active
    assert other.device is not opu.device and other.device.seed == 5
    assert other.config == opu.config and other.input_roi_strategy is InputRoiStrategy.small
    assert other.n_components == 100 and other.current_fit == opu.current_fit
    if active:
        assert other.device.acq_state is (AcqState.online if online else AcqState.stopped)


def test_deepcopy_shares_the_device_and_nothing_else(opu):
    x = bits(3, 100)
    opu.fit1d(x)
    expected = opu.transform(x)
    other = copy.deepcopy(opu)
    assert other.device is opu.device and other.config is not opu.config
    other.n_components = 3000
    other.fit1d(bits(3, 64))
    assert other.transform(bits(3, 64)).shape == (3, 3000)
    assert opu.n_components == 100 and np.array_equal(opu.transform(x), expected)


def test_context_survives_pickle_and_copy(opu):
    y = opu.fit_transform1d(bits(3, 100))
    for other in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y), y.copy()):
        assert np.array_equal(other, y) and other.context == y.context
