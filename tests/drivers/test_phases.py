"""A device with a phase modulator behind the driver: phases and levels go in where bits go in with mirrors."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

from opusim import OPU, cli
from opusim.applications.sketching import sketch_by
from opusim.dfa import OpticalFeedback
from opusim.drivers.compat.opu import OPU as LightonOPU
from opusim.drivers.lowlevel.device import OpuDevice
from opusim.drivers.methods.intensity import Intensity
from opusim.drivers.projections.sklearn import OPUMap
from opusim.drivers.values import BITS, Levels, values_of
from opusim.encoding import BinaryThresholdEncoder
from opusim.patterns.phases import PhasePatterns
from opusim.sweep import Sweep
from opusim.tasks.images import KernelRidge
from opusim.tasks.projected_errors import DfaAccuracy
from opusim.tasks.sketch import SketchError
from phase_benches import Phases
from slm_device import calibrated, slm_device

N, OUT = 97, 300
PHASES = np.random.default_rng(0).random((9, N))
LEVELS = slm_device().modulator.levels_of(PHASES)


@pytest.fixture(scope="module")
def noisy():
    """Return a device with noise."""
    return slm_device("aurora")


def opened(device, **options):
    return OPU(OUT, device=device, disable_pbar=True, **options)


@pytest.fixture
def opu():
    with opened(slm_device()) as opu:
        opu.fit1d(PHASES)
        yield opu


# ---------------------------------------------------------------- what is shown


@pytest.mark.parametrize("way", ["matrix", "waves"])
def test_counts_are_those_of_the_bench_for_the_nearest_levels(noisy, way):
    with opened(noisy, execution=way) as opu, opened(noisy, execution=way) as other:
        counts = opu.fit_transform1d(PHASES)
        fit, settings = opu.current_fit, opu.device.exposure()
        other.fit1d(PHASES)
        expected = other.bench.transform(
            PhasePatterns(LEVELS, fit.layout), exposure_s=settings.exposure_s, roi=settings.bench_roi, n_pixels=OUT,
            frametime_s=settings.frametime_s,
        )  # fmt: skip
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.uint8 and counts.std() > 3


@pytest.mark.parametrize("way", ["matrix", "waves"])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_bits_for_any_batch_pass_and_number_of_threads(noisy, way, threads):
    with opened(noisy, execution=way) as opu:
        whole = np.asarray(opu.fit_transform1d(PHASES))
    with opened(noisy, execution=way, threads=threads, config_override={"n_samples_by_pass": 2}) as opu:
        opu.fit1d(PHASES)
        parts = [
            opu.transform(PHASES[:1]),
            opu.transform(PHASES[1:6]),
            opu.transform(PHASES[6]),
            opu.transform(PHASES[7:]),
        ]
    np.testing.assert_array_equal(np.concatenate([np.atleast_2d(part) for part in parts]), whole)
    assert len(np.unique(whole)) > 20


def test_levels_phases_and_types_are_the_same_vectors(noisy):
    exact = LEVELS / 256  # in every floating type
    torch = pytest.importorskip("torch")
    kinds = [
        exact, exact.astype(np.float32), exact.astype(np.float16), exact.astype(np.longdouble), LEVELS,
        LEVELS.astype(np.int64), exact.tolist(), np.asfortranarray(exact), np.repeat(exact, 2, axis=1)[:, ::2],
        torch.from_numpy(exact), torch.from_numpy(exact).float().requires_grad_(), torch.from_numpy(LEVELS),
    ]  # fmt: skip
    results = []
    for given in kinds:
        with opened(noisy) as opu:
            results.append(opu.fit_transform1d(given))
    assert all(isinstance(each, torch.Tensor) and not each.requires_grad for each in results[-3:])
    for each in results[1:]:
        np.testing.assert_array_equal(np.asarray(each), np.asarray(results[0]))


def test_pictures_and_batches_of_batches(noisy):
    pictures = np.random.default_rng(1).random((2, 3, 5, 4))
    with opened(noisy) as opu, opened(noisy) as other:
        counts = opu.fit_transform2d(pictures)
        fit = opu.current_fit
        other.fit2d(n_features=(5, 4))
        again = np.stack([other.transform(one) for one in pictures.reshape(6, 5, 4)])
    assert counts.shape == (2, 3, OUT) and fit.layout.n_features == (5, 4)
    np.testing.assert_array_equal(counts.reshape(6, OUT), again)


def test_a_fit_lights_all_pixels_and_leaves_the_exposure(noisy):
    device = noisy.evolve(**{"operation.ones_range": (1, 2000)})  # twice as many pixels are lit
    for strategy in ("full", "auto"):
        with opened(device, input_roi_strategy=strategy) as opu:
            opu.fit1d(np.zeros((2, N)))
            fit = opu.current_fit
            counts = opu.transform(np.zeros(N))
        assert fit.n_ones == 60 * 76 and counts.context.n_ones == 60 * 76
        assert fit.exposure_us == round(noisy.operation.exposure_s * 1e6)
        assert fit.layout.roi_size == (60, 76)


def test_frames_are_as_far_apart_as_the_modulator_is_slow(opu):
    opu.transform(PHASES)
    assert opu.bench.clock.elapsed_s == pytest.approx(len(PHASES) / 60, rel=1e-4)


# ---------------------------------------------------------------- ways to hand it over


def test_online_copies_pickles_and_threads(noisy):
    with opened(noisy) as opu:
        whole = np.asarray(opu.fit_transform1d(PHASES))
    with opened(noisy) as opu:
        opu.fit1d(n_features=N, online=True)
        first = opu.transform(PHASES[0])
        opu.fit1d(PHASES)
        second = pickle.loads(pickle.dumps(opu)).transform(PHASES[1])
        third = copy.deepcopy(opu).transform(PHASES[1])
        found = {}
        threads = [threading.Thread(target=lambda k=k: found.update({k: opu.transform(PHASES)})) for k in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        fit = opu.current_fit
    np.testing.assert_array_equal(first, whole[0])
    np.testing.assert_array_equal(second, whole[1])
    np.testing.assert_array_equal(third, whole[1])
    assert isinstance(fit.traits.values, Levels) and len(found) == 2
    # The same light, other noise.
    assert np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1] > 0.98


def test_dask_arrays_and_batches_in_parts(noisy):
    dask = pytest.importorskip("dask.array")
    with opened(noisy) as opu:
        whole = np.asarray(opu.fit_transform1d(PHASES))
    with opened(noisy) as opu:
        opu.fit1d(dask.from_array(PHASES, chunks=(4, N)))
        lazy = opu.transform(dask.from_array(PHASES, chunks=(4, N)))
        wrong = opu.transform(dask.from_array(PHASES + (np.arange(9)[:, None] == 5), chunks=(4, N)))
    np.testing.assert_array_equal(lazy.compute(), whole)
    with pytest.raises(ValueError, match=r"X\[5, 0\] is 1\.\d+, but phases are in turns"):
        wrong.compute()
    with opened(noisy) as opu:
        opu.fit1d(PHASES)
        batch = opu.batch(9)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(batch)).transform(PHASES[4:7], 4), whole[4:7])


def test_maps_take_phases(noisy):
    torch = pytest.importorskip("torch")
    from opusim.drivers.projections.torch import OPUMap as TorchMap

    with opened(noisy) as opu:
        whole = np.asarray(opu.fit_transform1d(PHASES))
    np.testing.assert_array_equal(OPUMap(OUT, device=noisy).fit_transform(PHASES), whole)
    given = torch.from_numpy(PHASES)
    first = TorchMap(OUT, device=noisy).fit(given)
    state = first.state_dict()
    loaded = TorchMap(OUT)
    loaded.load_state_dict(state)
    for each in (first, loaded):
        result = each(given.clone().requires_grad_())
        assert not result.requires_grad
        np.testing.assert_array_equal(result.numpy(), whole)
    assert isinstance(loaded.opu_.current_fit.traits.values, Levels)


def test_torch_computes_the_same_light():
    torch = pytest.importorskip("torch")
    with opened(slm_device()) as opu, opened(slm_device(), backend="torch:cpu") as other:
        counts = opu.fit_transform1d(PHASES)
        tensors = other.fit_transform1d(torch.from_numpy(PHASES))
        arrays = other.transform(PHASES)
    assert isinstance(tensors, torch.Tensor) and isinstance(arrays, np.ndarray)
    for each in (tensors.numpy(), arrays):
        assert np.abs(each - counts).max() < 2e-5 * np.sqrt(np.mean(np.square(counts, dtype=np.float64)))


# ---------------------------------------------------------------- the linear transform


def fields_of_the_bench(opu, levels):
    """Return the true fields of levels, complex128 (n, pixels), from the light itself."""
    layout, roi = opu.current_fit.layout, opu.device.exposure().bench_roi
    planes = (opu.bench.inspect(PhasePatterns(one[None], layout), roi=roi) for one in levels)
    return np.stack([each.medium_field.reshape(-1) for each in planes]).astype(np.complex128)[:, :OUT]


# Of two levels, of a number that has no half, of less than a turn and of more: what no level turns is taken off.
@pytest.mark.parametrize(
    ("levels", "turns", "way"),
    [
        (256, 1.0, "matrix"),
        (256, 1.0, "waves"),
        (2, 1.0, "matrix"),
        (5, 1.0, "matrix"),
        (256, 0.4, "matrix"),
        (64, 2.5, "matrix"),
    ],
)
def test_field_transform_is_linear_in_the_phasors_without_the_light_that_no_level_turns(levels, turns, way):
    device = slm_device(unmodulated=0.07, levels=levels, range_turns=turns)
    shown = np.random.default_rng(2).integers(0, levels, (12, N), dtype=np.uint8)
    with opened(device, execution=way, rescale="none") as opu:
        opu.fit1d(n_features=N)
        calibrated(opu)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of two levels, which may look like bits
            fields = np.asarray(opu.field_transform(shown), np.complex128)
            real = np.asarray(opu.linear_transform(shown))
        true = fields_of_the_bench(opu, shown)
        # M 1 by two levels of all features: what is left of one is the light of neither.
        step = max(1, min(levels - 1, round(levels / (2 * turns))))
        pair = fields_of_the_bench(opu, np.array([[0] * N, [step] * N], np.uint8))
    turn = np.exp(2j * np.pi * turns * step / levels)
    background = (pair[1] - turn * pair[0]) / (1 - turn)
    true -= background
    # The phase of the reference at each pixel, and one scale for all.
    phase = np.angle((true.conj() * fields).sum(axis=0))
    true *= np.exp(1j * phase)
    scale = (true.conj() * fields).sum().real / np.square(np.abs(true)).sum()
    # Single precision, whatever the levels: the background is as much as the light, and frames have 24 bits.
    error = np.sqrt(np.mean(np.abs(fields - scale * true) ** 2) / np.mean(np.abs(fields) ** 2))
    assert error < 2e-5
    assert np.mean(np.abs(background) ** 2) > 0.02 * np.mean(np.abs(pair) ** 2)
    # Entries have the mean square 1: of 300 pixels that mean is right within 4 of its standard deviations,
    # 1 / sqrt(300), and so is the scale, which was measured on one pattern.
    assert np.mean(np.abs(fields) ** 2) / N == pytest.approx(1, abs=4 / np.sqrt(OUT))
    # The real part, of a later call: the device is without noise.
    np.testing.assert_allclose(real, np.sqrt(2) * fields.real, atol=1e-4 * np.abs(fields).max())


def test_linear_transforms_of_a_noisy_device_repeat_and_scale(noisy):
    with opened(noisy) as opu:
        opu.fit1d(PHASES)
        record = calibrated(opu)
        first, second = (np.asarray(opu.field_transform(PHASES)) for _ in range(2))
        opu.rescale = "norm"
        third = np.asarray(opu.field_transform(PHASES))
    use = record.valid[:OUT]
    first, second, third = (each[:, use] for each in (first, second, third))
    like = abs(np.vdot(first, second)) / np.linalg.norm(first) / np.linalg.norm(second)
    assert like > 1 - 3 * record.relative_error**2
    assert np.linalg.norm(third) / np.linalg.norm(first) == pytest.approx(np.sqrt(N / OUT), rel=0.02)


def test_a_linear_transform_by_torch_is_that_of_numpy():
    torch = pytest.importorskip("torch")
    found = []
    for backend, given in (("numpy", PHASES), ("torch:cpu", torch.from_numpy(PHASES))):
        with opened(slm_device(), backend=backend) as opu:
            opu.fit1d(given)
            calibrated(opu)
            found.append(opu.linear_transform(given))
    assert isinstance(found[1], torch.Tensor)
    np.testing.assert_allclose(found[1].numpy(), found[0], atol=1e-3 * float(np.abs(found[0]).max()))


def test_a_camera_that_lags_reads_the_vector_before(noisy):
    device = slm_device("aurora", tables={"camera": {"lag": 0.1}})
    with opened(device) as opu:
        whole = np.asarray(opu.fit_transform1d(PHASES))
    with opened(device, config_override={"n_samples_by_pass": 2}) as opu, opened(noisy) as other:
        np.testing.assert_array_equal(opu.fit_transform1d(PHASES), whole)
        assert not np.array_equal(other.fit_transform1d(PHASES)[1:], whole[1:])
    with opened(device) as opu:
        opu.fit1d(PHASES)
        batch = opu.batch(9)
    np.testing.assert_array_equal(batch.transform(PHASES[4:7], 4, PHASES[3:4]), whole[4:7])


def test_probes_of_levels_leave_what_no_level_turns():
    for levels, turns in ((256, 1.0), (255, 1.0), (2, 1.0), (256, 0.3), (16, 2.0), (100, 3.7)):
        slm = slm_device(levels=levels, range_turns=turns).modulator
        probes = Levels(tuple(slm.level_turns)).probes(50)
        phasors = np.exp(2j * np.pi * turns / levels * probes.patterns.astype(np.float64))
        weights = np.array(probes.weights)
        assert probes.patterns.shape == (3, 50) and probes.patterns.max() < levels
        assert weights.sum() == pytest.approx(1, abs=1e-12)
        np.testing.assert_allclose(weights @ phasors, 0, atol=1e-12)
    # Bits as ever: nothing, a random half, and the other one.
    bits = BITS.probes(50)
    np.testing.assert_array_equal(bits.patterns[1] + bits.patterns[2], np.ones(50))
    assert bits.weights == (1, 0, 0) and not bits.patterns[0].any()


# ---------------------------------------------------------------- what is refused, and what is told


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            1.0,
            r"X\[3, 5\] is 1\.0, but phases are in turns of 2 pi, from 0 to below 1: a whole turn is 0, and X % 1",
        ),
        (6.2, r"X\[3, 5\] is 6\.2, but phases are in turns of 2 pi.*radians"),
        (-0.25, r"X\[3, 5\] is -0\.25, but phases are in turns"),
        (np.nan, r"X\[3, 5\] is nan, but phases are in turns of 2 pi, from 0 to below 1\."),
        (np.inf, r"X\[3, 5\] is inf, but phases are in turns"),
    ],
)
def test_phases_out_of_range_are_named(opu, wrong, sentence):
    given = PHASES.copy()
    given[3, 5] = wrong
    for call in (opu.transform, opu.fit1d, opu.fit_transform1d):
        with pytest.raises(ValueError, match=sentence):
            call(given)
    with pytest.raises(ValueError, match=sentence.replace("3, 5", "5")):
        opu.transform(given[3])
    assert opu.transform(PHASES).shape == (9, OUT)


def test_bits_as_phases_are_told_how_they_are_shown(opu):
    """Only where all are 0 or 1: half of other phases would be other ones."""
    with pytest.raises(ValueError, match=r"a whole turn is 0, and bits may be shown as phases by 0\.5 \* X"):
        opu.transform((PHASES > 0.5).astype(np.float32))


def test_levels_out_of_range_are_named(opu):
    given = LEVELS.astype(np.int16)
    for wrong in (256, -1):
        given[2, 7] = wrong
        with pytest.raises(
            ValueError, match=rf"X\[2, 7\] is {wrong}, but levels of this phase modulator go from 0 to 255"
        ):
            opu.transform(given)


def test_bools_packed_bits_and_others_are_refused(opu):
    for call in (opu.fit1d, opu.transform):
        with pytest.raises(TypeError, match="X has dtype bool, but a phase modulator is neither on nor off"):
            call(PHASES > 0.5)
    with pytest.raises(TypeError, match="complex128, but it must be floats, phases in turns, or whole numbers"):
        opu.transform(PHASES.astype(complex))
    with pytest.raises(TypeError, match="packed is True, but this device has a phase modulator"):
        opu.fit1d(np.packbits(PHASES > 0.5, axis=1), packed=True)
    with pytest.raises(TypeError, match="packed is True"):
        opu.fit1d(n_features=N, packed=True)
    with pytest.raises(TypeError, match="phases in turns, or of levels"):
        opu.transform(None)
    packed = np.zeros(-(-60 * 76 // 8), np.uint8)
    with pytest.raises(TypeError, match="v holds packed mirrors, but this device has a phase modulator"):
        opu.device.transform_single(packed)
    with pytest.raises(TypeError, match="ins holds packed mirrors"):
        opu.device.transform1(packed[None])


def test_what_looks_like_bits_is_told_once():
    bits = (PHASES > 0.5).astype(np.uint8)
    with opened(slm_device()) as opu:
        opu.fit1d(n_features=N)
        with pytest.warns(UserWarning, match=r"levels 0 and 1 of 256: .* 0\.5 \* X shows a 1 as half a turn"):
            opu.transform(bits[0])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            opu.transform(bits)
            opu.fit1d(bits.astype(np.int64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with opened(slm_device()) as opu:  # nothing, floats, more levels
            for given in (0 * bits, 0.5 * bits, 2 * bits):
                opu.fit_transform1d(given)
        with opened(slm_device(levels=2)) as opu:
            opu.fit_transform1d(bits)


def test_encoders_of_bits_are_refused_and_those_of_phases_taken(opu):
    class Bools:
        def transform(self, X):
            return X > 0.5

    class Halves:
        by_vector = True

        def transform(self, X):
            return 0.5 * (X > 0.5)

    for encoder in (Bools, Bools(), BinaryThresholdEncoder(0.5)):
        with pytest.raises(TypeError, match="makes bits, but this device has a phase modulator"):
            opu.transform(PHASES, encoder_cls=encoder)
    with pytest.raises(TypeError, match="makes bits"):
        OPUMap(OUT, device=slm_device(), encoder=BinaryThresholdEncoder(0.5)).fit(PHASES)
    np.testing.assert_array_equal(opu.transform(PHASES, encoder_cls=Halves), opu.transform(0.5 * (PHASES > 0.5)))


def test_phases_for_mirrors_say_what_they_need():
    with OPU(OUT) as opu:
        with pytest.raises(
            ValueError, match=r"X should be binary, but X\[0, 0\] is 0\.6.*need a device with a phase modulator"
        ):
            opu.fit1d(PHASES)
        with pytest.raises(
            ValueError, match=r"is 3: it may contain only 0 and 1 \(an encoder makes bits of other data\)\.$"
        ):
            opu.fit1d(np.array([1, 0, 3]))


def test_what_combines_bits_is_refused():
    without = slm_device(tables={"reference": {"relative_amplitude": 0.0}})
    with opened(slm_device(), linear_mode="intensity") as opu:
        opu.fit1d(PHASES)
        with pytest.raises(
            ValueError, match="linear_mode is 'intensity', which combines vectors as bits.*'holographic'"
        ):
            opu.linear_transform(PHASES)
        with pytest.raises(
            RuntimeError, match="Intensity combines vectors as bits, but this device has a phase modulator"
        ):
            opu.acquire(Intensity(N, 0.0), PHASES)
        with pytest.raises(ValueError, match="Feedback by light shows bits, but the device 'small phases' has a phase"):
            OpticalFeedback(opu, OUT, n_classes=10)
    with opened(without) as opu:
        opu.fit1d(PHASES)
        with pytest.raises(ValueError, match="combines vectors as bits, but this device has a phase modulator"):
            opu.linear_transform(PHASES)
        with pytest.raises(ValueError, match=r"no reference arm: use a device whose reference"):
            opu.field_transform(PHASES)


def test_lightonml_names_take_phases(noisy, table, monkeypatch):
    monkeypatch.setenv("OPUSIM_DEVICE", str(table))
    with opened(noisy) as own, LightonOPU(OUT, disable_pbar=True) as opu:
        opu.fit1d(PHASES)
        np.testing.assert_array_equal(opu.transform(PHASES), own.fit_transform1d(PHASES))
        with pytest.raises(TypeError, match="neither on nor off"):
            opu.fit1d(PHASES > 0.5)
        with pytest.raises(ValueError, match="combines vectors as bits"):
            opu.linear_transform(PHASES)


class Uneven(Phases):
    """As a table that was measured says."""

    level_turns = (np.arange(64) / 64) ** 1.2


@pytest.mark.parametrize("kind", [Phases, Uneven])
def test_a_laboratorys_modulator_is_driven_by_the_table_of_its_bench(kind):
    """Phases are shown as the levels that its own table has nearest, after a pickle too."""
    turns = np.random.default_rng(2).random((5, 24))
    table = np.asarray(kind().level_turns)
    apart = np.abs((table - turns[..., None] + 0.5) % 1 - 0.5)
    levels = apart.argmin(axis=-1).astype(np.uint8)
    frames = []
    for given in (turns, levels):
        opu = OPU(50, opu_device=OpuDevice(bench=kind()), disable_pbar=True)
        opu.device.exposure_us = 400
        opu.fit1d(given)
        frames.append(opu.transform(given))
    np.testing.assert_array_equal(*frames)
    values = values_of(kind().device, kind())
    assert pickle.loads(pickle.dumps(values)) == values
    probes = values.probes(1000)
    left = np.array(probes.weights) @ np.exp(2j * np.pi * table[probes.patterns])
    # Thirds of a turn, but for half of the largest step of the table.
    assert np.abs(left).max() < 2 * np.pi * np.diff(table).max()
    assert sum(probes.weights) == pytest.approx(1, abs=1e-12)


# ---------------------------------------------------------------- commands, tasks and sweeps


@pytest.fixture
def table(tmp_path):
    """Return the path of a file of a noisy device."""
    path = tmp_path / "phases.toml"
    path.write_text(
        'preset = "aurora"\nname = "small phases"\n[modulator]\nkind = "slm"\nname = "small"\nshape = [60, 76]\n'
        "pitch_m = 8e-6\n[operation]\nones_range = [1, 4560]\n"
    )
    return path


def test_commands_take_phases_or_say_that_they_show_bits(noisy, table, tmp_path):
    source, target = tmp_path / "phases.npy", tmp_path / "counts.npy"
    np.save(source, PHASES)
    with opened(noisy) as opu:
        whole = np.asarray(opu.fit_transform1d(PHASES))
    run = CliRunner().invoke(cli.app, ["transform", str(source), str(target), "--device", str(table), "-n", str(OUT)])
    assert run.exit_code == 0, run.output
    np.testing.assert_array_equal(np.load(target), whole)
    plan = ["plan", "--features", "784", "-n", "1000", "--device", str(table), "--no-measure"]
    for more in ([], ["--linear"]):
        run = CliRunner().invoke(cli.app, [*plan, *more])
        assert run.exit_code == 0 and "784 -> 1,000, on small phases" in run.output, run.output
    run = CliRunner().invoke(cli.app, ["demo", "--device", str(table), "-o", str(tmp_path / "demo.png")])
    assert run.exit_code == 2 and "demonstration shows bits" in run.output


def test_tasks_of_bits_are_refused_and_a_task_of_phases_is_swept(noisy):
    with opened(noisy) as opu:
        for call in (lambda: sketch_by(opu, 4), lambda: KernelRidge("digits")(opu, 0)):
            with pytest.raises(ValueError, match="shows bits, but the device 'small phases' has a phase modulator"):
                call()
    for task in (KernelRidge("digits"), DfaAccuracy("digits"), SketchError("trace", block=10)):
        with pytest.raises(ValueError, match="shows bits, but the device 'small phases'"):
            task.check(noisy, 100)

    def level(opu, seed):
        counts = opu.fit_transform1d(np.random.default_rng(seed).random((50, N)))
        return {"mean": float(counts.mean())}

    def make(device, n_components, seed):
        return OPU(n_components, device=device, seed=seed, disable_pbar=True)

    levels = [0.05, 0.1]
    result = Sweep(level, make, {"exposure.mean_level": levels}, device=noisy, n_components=OUT).run()
    span = noisy.camera.full_scale_dn - noisy.camera.black_level_dn
    # The exposure is that of random phases of the sweep's own. Means over 300 pixels of 50 vectors, which have little
    # in common, are right within a few per cent.
    np.testing.assert_allclose((result.values("mean").ravel() - noisy.camera.black_level_dn) / span, levels, rtol=0.1)
