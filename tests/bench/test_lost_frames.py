"""Frames that a laboratory's camera loses: shown again, seen by guards, or told; and the time that instruments take."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from laboratory_bench import Numbers
from losing_bench import MANNERS, MIRRORS, SENSOR, Losing, Plain
from opusim.bench import FramesLost, OpticalBench
from opusim.bench.guarded import Guarded
from opusim.bench.laboratory import LabDevice
from opusim.bench.losses import N_GUARDS, guard_codes, moved
from opusim.bench.protocol import stepped_frametime_of
from opusim.calibration import find_exposure, measure_drift, measure_linear, measure_phases, measure_tm
from opusim.drivers import OpuDevice
from opusim.patterns.layout import MirrorLayout, MirrorPatterns
from opusim.testing import check_bench
from phase_benches import Phases

EXPOSURE_S = 400e-6
SILENT = [manner for manner in MANNERS if manner not in ("raises", "fewer")]
PATTERNS = np.random.default_rng(5).integers(0, 2, (150, *MIRRORS), dtype=np.uint8)


class LosesOnce(Losing):
    """Loses the frames of some triggers, counted from the start over all sequences."""

    def __init__(self, manner, *triggers):
        super().__init__(manner)
        self.triggers, self.at = set(triggers), 0
        self.losses = self

    def random(self, n):
        """Stand in for the generator of losses: 0 is below any share, 1 is not."""
        drawn = np.array([float(k not in self.triggers) for k in range(self.at, self.at + n)])
        self.at += n
        return drawn

    share = 0.5

    def __setattr__(self, name, value):
        if name != "share":
            super().__setattr__(name, value)


def expected(bench, mirrors, phase=None):
    """Mean counts of a frame of each pattern."""
    bench.phase = phase
    return (20 + 2 * bench.light(mirrors)).reshape(-1, *SENSOR)


def residual(bench, frames, mirrors, phase=None):
    """Mean square of each frame's error over the variance that its electrons have: 1 if it is of its pattern."""
    mean = expected(bench, mirrors, phase)
    variance = (2 * (mean - 20) + 9) / 4 + 1 / 12
    return (np.square(frames - mean) / variance).mean(axis=(1, 2))


@pytest.mark.parametrize("manner", MANNERS)
def test_a_frame_that_is_lost_is_shown_again(manner):
    """In the first part, in the middle of the second, and in the guards: whichever it is, what comes back is right."""
    for trigger in (0, 1, 5, 66, 67, 100, 135, 160):
        bench = LosesOnce(manner)
        bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
        bench.triggers = {bench.at + trigger}
        before = bench.clock.frames
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frames = bench.expose(PATTERNS, exposure_s=EXPOSURE_S)
        assert bench.n_lost == 1 and frames.shape == (150, *SENSOR)
        assert residual(bench, frames, PATTERNS).max() < 2
        again = len(bench.calls) - 3
        # The last guard of the part before is what the memory holds for that of this one: no other frame is touched.
        assert again == bench.n_restarts == int((manner, trigger) != ("moved, stale", 135))
        assert [str(w.message).split(" and what")[0] for w in caught] == again * [
            "Frames were lost, it seems: of 3 sequences 1 was shown again,"
        ]
        assert bench.clock.frames - before == sum(n for n, _ in bench.calls)


@pytest.mark.parametrize("manner", MANNERS)
def test_dark_frames_are_taken_again_where_they_are_not_dark(manner):
    bench = LosesOnce(manner)
    bench.expose(PATTERNS[:30], exposure_s=EXPOSURE_S)
    bench.triggers = {bench.at + 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dark = bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
    assert bench.n_lost == 1 and dark.shape == (8, *SENSOR)
    assert abs(dark.mean(axis=(1, 2)) - 20).max() < 0.5


@pytest.mark.parametrize("how", ["expose", "expose under phases", "expose none", "transform", "around another bench"])
def test_losses_are_told_at_the_line_that_asked_for_frames(how):
    inside = LosesOnce("raises")
    bench, inside.triggers = inside, {inside.at + 1}
    patterns = MirrorPatterns(PATTERNS[:4].reshape(4, -1), MirrorLayout.lined(MIRRORS, 192))
    with pytest.warns(UserWarning, match="of 1 sequences 1 was shown again") as told:
        if how == "expose none":
            bench.expose(None, exposure_s=EXPOSURE_S, n_frames=4)
        elif how == "transform":
            bench.transform(patterns, exposure_s=EXPOSURE_S, roi=(0, 0, *SENSOR), n_pixels=512)
        elif how == "around another bench":
            plain = Plain()
            plain.inside = inside
            Guarded(plain).expose(patterns, exposure_s=EXPOSURE_S)
        else:
            phases = [0.0, 1.0] if how == "expose under phases" else None
            bench.expose(PATTERNS[:4], exposure_s=EXPOSURE_S, reference_phase_rad=phases)
    assert [w.filename for w in told] == [__file__]


@pytest.mark.parametrize("manner", MANNERS)
def test_steps_of_the_phase_are_shown_again_as_whole_bursts(manner):
    phases = np.arange(4) * np.pi / 2
    bench = LosesOnce(manner)
    bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
    bench.triggers = {bench.at + 30}
    with pytest.warns(UserWarning, match="of 2 sequences 1 was shown again"):
        frames = bench.expose(PATTERNS[:20], exposure_s=EXPOSURE_S, reference_phase_rad=phases)
    for step, phase in enumerate(phases):
        assert residual(bench, frames[step::4], PATTERNS[:20], phase).max() < 2
    # 64 frames, four steps each, in the order of the patterns, and their guards with the arm blocked.
    part = [(2, None), *[(1, phase) for phase in phases] * 16, (2, None)]
    shown = bench.calls[-len(part) - 4 * 4 - 2 :]
    assert shown[: len(part)] == part and bench.phase == phases[-1]


@pytest.mark.parametrize("manner", MANNERS)
def test_a_camera_that_always_loses_frames_ends_in_a_sentence(manner):
    bench = Losing(manner, share=0.2)
    with pytest.raises(
        FramesLost, match=r"^Frames of patterns 0 to 63 were lost 3 times, .*: .*\. Look at the trigger"
    ):
        bench.expose(PATTERNS, exposure_s=EXPOSURE_S)
    bench.attempts = 1
    with pytest.raises(FramesLost, match="^Frames of patterns 0 to 63 were lost: .*"):
        bench.expose(PATTERNS, exposure_s=EXPOSURE_S)


def test_the_lost_frames_are_named_and_survive_a_pickle():
    bench = LosesOnce("raises", *range(1000))
    with pytest.raises(FramesLost) as error:
        bench.expose(PATTERNS[:4], exposure_s=EXPOSURE_S)
    assert error.value.frames == tuple(range(8)) == pickle.loads(pickle.dumps(error.value)).frames
    assert isinstance(error.value, RuntimeError) and FramesLost().frames is None


def test_other_errors_are_not_tried_again():
    class Broken(Losing):
        def show(self, mirrors, **how):
            self.calls.append(len(mirrors))
            raise OSError("The cable is out.")

    bench = Broken()
    with pytest.raises(OSError, match="The cable is out"):
        bench.expose(PATTERNS, exposure_s=EXPOSURE_S)
    assert len(bench.calls) == 1 and bench.n_restarts == 0


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("attempts", 0, "attempts is 0"),
        ("attempts", 2.5, "attempts"),
        ("sequence_frames", 0, "sequence_frames is 0"),
        ("guards", "yes", "guards is 'yes'"),
    ],
)
def test_settings_that_are_none_are_refused(name, value, sentence):
    bench = Losing()
    setattr(bench, name, value)
    with pytest.raises((TypeError, ValueError), match=sentence):
        bench.expose(PATTERNS[:2], exposure_s=EXPOSURE_S)
    with pytest.raises((TypeError, ValueError), match=sentence):
        Guarded(Plain(), **{name: value})
    with pytest.raises(TypeError, match="restart is 3, but it must be None, or a function"):
        Guarded(Plain(), restart=3)
    with pytest.raises(TypeError, match="it lacks expose"):
        Guarded(object())


# ---------------------------------------------------------------------------------------------- guards


def test_what_guards_cost():
    """Four frames a part of 64, none for a frame by itself, none where they are switched off."""
    bench = Losing()
    for n, frames in ((1, 1), (2, 2 + 4), (64, 64 + 4), (65, 64 + 4 + 1), (150, 150 + 12)):
        before = bench.clock.frames
        bench.expose(PATTERNS[:n], exposure_s=EXPOSURE_S)
        assert bench.clock.frames - before == frames
    bench.guards, bench.sequence_frames = False, 100
    bench.calls.clear()
    bench.expose(PATTERNS, exposure_s=EXPOSURE_S)
    assert [n for n, _ in bench.calls] == [100, 50]


def test_guards_are_as_bright_as_the_patterns_and_have_nothing_in_common():
    layout = MirrorLayout.lined(MIRRORS, 64)
    for share, on in ((0.0, 32), (0.1, 6), (0.5, 32), (1.0, 32), (1e-9, 1)):
        codes = guard_codes(layout, share, None)
        assert codes.sum(axis=1).tolist() == [on, on] and not (codes[0] & codes[1]).any()
    turns = np.arange(16) / 16
    levels = guard_codes(layout, 0.5, turns)
    assert levels.max() < 16 and np.mean(levels[0] == levels[1]) < 0.3


def speckle(rng, n):
    return 100 * rng.exponential(size=n)


@pytest.mark.parametrize("noise", [1.0, 30.0, 300.0])
def test_the_law_of_guards(noise):
    """Right ones pass, those that lie one, two or minus one further never do where they can be told apart.

    At a noise of three times the light, two guards of 2000 pixels are 7 standard errors apart.
    """
    rng = np.random.default_rng(0)
    wrong = {name: 0 for name in ("right", "one lost", "two lost", "one too many")}
    told = 0
    for _ in range(200):
        a, b, p, q, dark = *(speckle(rng, 2000) for _ in range(4)), np.zeros(2000)
        # The first and the last frame between the guards stand last.
        seen = {
            "right": (a, b, b, a, p, q),
            "one lost": (a, b, a, q, p, b),
            "two lost": (a, b, dark, dark, p, a),
            "one too many": (q, a, p, b, b, q),
        }
        for name, six in seen.items():
            frames = np.stack([x + rng.normal(0, noise, 2000) for x in six]).reshape(6, 40, 50)
            sentence, apart, _ = moved(frames[:4], frames[4:])
            wrong[name] += bool(sentence) if name == "right" else (not sentence and apart)
            told += apart
    assert wrong == dict.fromkeys(wrong, 0)
    assert told == 800 if noise < 100 else told > 0


def test_guards_that_cannot_be_told_apart_are_told_once():
    bench = Losing()
    with pytest.warns(UserWarning, match="In 3 of 3 sequences the guard frames cannot be told apart") as caught:
        bench.expose(PATTERNS, exposure_s=EXPOSURE_S * 1e-5)
    assert len(caught) == 1 and caught[0].filename == __file__
    with pytest.warns(UserWarning, match="In 3 of 3 sequences") as caught:
        patterns = MirrorPatterns(PATTERNS.reshape(150, -1), MirrorLayout.lined(MIRRORS, 192))
        bench.transform(patterns, exposure_s=EXPOSURE_S * 1e-5, roi=(0, 0, *SENSOR), n_pixels=10)
    assert len(caught) == 1


@pytest.mark.parametrize("light", [0.02, 0.1, 1.0, 8.0])
def test_a_bench_that_loses_nothing_repeats_nothing(light):
    """400 sequences at each light, from 1 electron a pixel on."""
    bench = Losing(seed=1)
    bench.sequence_frames = 2
    bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*cannot be told apart")
        for _ in range(6):
            bench.expose(PATTERNS[:140], exposure_s=EXPOSURE_S * light, roi=(2, 3, 8, 12))
    assert bench.n_restarts == 0 and sum(n == 2 + N_GUARDS for n, _ in bench.calls) == 420
    # Once a call guards alone, where they cannot be told apart.
    alone = [n for n, _ in bench.calls if n != 2 + N_GUARDS]
    assert len(alone) <= 6 and set(alone) <= {N_GUARDS}


def test_a_bench_without_noise_is_believed():
    class Silent(Losing):
        def counts(self, light):
            return np.rint(20 + 2 * light).astype(np.uint16).reshape(-1, *SENSOR)

    bench = Silent()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
        frames = [bench.expose(PATTERNS[:10], exposure_s=EXPOSURE_S) for _ in range(6)]
    assert all(np.array_equal(frames[0], other) for other in frames[1:])
    # Three times it showed again what had come before; then it is one without noise.
    assert len(bench.calls) == 6 + 3


def test_patterns_that_are_dark_are_believed():
    shown = PATTERNS[:20].copy()
    shown[7] = 0
    bench = Losing()
    bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = bench.expose(shown, exposure_s=EXPOSURE_S)
    assert len(bench.calls) == 1 and frames[7].mean() < 21


class LosingPhases(Phases):
    """Levels in place of mirrors; the third trigger of the next sequence is lost, and the rest moves up."""

    lost = False

    def show(self, mirrors, **how):
        frames = super().show(mirrors, **how)
        if self.lost:
            self.lost = False
            frames = np.concatenate([frames[:2], frames[3:], frames[-1:] + 1])
        return frames


def test_guards_of_phases_are_phases():
    bench = LosingPhases()
    levels = np.random.default_rng(0).integers(0, 64, (20, 8, 12), dtype=np.uint8)
    bench.lost = True
    with pytest.warns(UserWarning, match="of 1 sequences 1 was shown again"):
        frames = bench.expose(levels, exposure_s=4e-3)
    mean = bench.expose(np.repeat(levels[10:11], 50, axis=0), exposure_s=4e-3).mean(axis=0)
    assert [np.corrcoef(mean.ravel(), frame.ravel())[0, 1] > 0.7 for frame in frames[9:12]] == [False, True, False]


# ---------------------------------------------------------------------------------------------- light that changes


class Changing(Losing):
    """Loses nothing. From frame to frame the arm drifts, the medium turns into another, the laser fades."""

    def __init__(self, *, arm=12.0, arm_rad=0.0, medium_rad=0.0, fading=0.0):
        super().__init__()
        self.reference, self.at = arm, 0
        self.arm_rad, self.medium_rad, self.fading = arm_rad / 64, medium_rad / 64, fading
        other = np.random.default_rng(8).normal(size=(2, *self.matrix.shape)) / np.sqrt(2)
        self.start, self.other = self.matrix, (other[0] + 1j * other[1]).astype(np.complex64)

    def light(self, mirrors):
        result = np.empty((len(mirrors), SENSOR[0] * SENSOR[1]))
        for k, mirror in enumerate(mirrors):
            turn = self.at * self.medium_rad
            self.matrix = np.cos(turn) * self.start + np.sin(turn) * self.other
            phase, self.phase = self.phase, None if self.phase is None else self.phase + self.at * self.arm_rad
            result[k] = super().light(mirror[None])[0] * (1 - self.fading) ** (self.at / 64)
            self.phase = phase
            self.at += 1
        return result


@pytest.mark.parametrize(("arm", "arm_rad"), [(12.0, 3.0), (53.0, 1.6)])
def test_a_reference_that_drifts_is_no_loss(arm, arm_rad):
    """An open interferometer drifts by a radian in the seconds that 64 steps take.

    The arm is 1.5 or 30 times as bright as the object. Each guard alone, without the arm, is the same at both ends.
    """
    bench = Changing(arm=arm, arm_rad=arm_rad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench.expose(None, exposure_s=EXPOSURE_S / 4, n_frames=8)
        frames = bench.expose(
            PATTERNS[:32], exposure_s=EXPOSURE_S / 4, reference_phase_rad=np.arange(4) * np.pi / 2
        )  # fmt: skip
    assert frames.shape == (128, *SENSOR) and bench.clock.frames == 8 + 128 + 2 * N_GUARDS and bench.n_restarts == 0


def test_a_drift_under_an_arm_that_cannot_be_blocked_is_named_as_a_cause():
    bench = Changing(arm=53.0, arm_rad=1.6)
    with pytest.raises(
        FramesLost, match="or the light changed: .*the reference arm, the medium or the laser drifts within a sequence"
    ):
        # A phase for all: patterns and guards are one sequence, under the arm.
        bench.expose(PATTERNS[:64], exposure_s=EXPOSURE_S / 4, reference_phase_rad=0.0)
    with pytest.raises(FramesLost) as told:
        LosesOnce("moved, last again", *range(0, 100_000, 20)).expose(PATTERNS[:64], exposure_s=EXPOSURE_S)
    assert "drift" not in str(told.value)  # one frame up: a guard has become the other


@pytest.mark.parametrize(("medium_rad", "fading"), [(1.2, 0.0), (1.5, 0.0), (0.0, 0.7)])
def test_a_medium_or_a_laser_that_changes_is_not_called_weak_light(medium_rad, fading):
    bench = Changing(medium_rad=medium_rad, fading=fading)
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            bench.expose(PATTERNS[:64], exposure_s=EXPOSURE_S)
        except FramesLost as lost:
            said.append(str(lost))
    said += [str(w.message) for w in caught]
    assert len(said) == 1 and not bench.n_lost and "too weak" not in said[0]
    assert "the medium or the laser changed within the sequence" in said[0] or "the laser drifts within" in said[0]


def test_frames_under_a_bright_arm_do_not_pass_for_guards():
    """Light of an arm 100 times as bright, in place of the last guard, lies anywhere on the way between both."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        fields = rng.normal(size=(3, 2, 512)) / np.sqrt(2)
        a, b, q = fields[:, 0] + 1j * fields[:, 1]
        light = [np.abs(x) ** 2 for x in (a, b, b, 10 + q)]
        frames = np.stack([x + 0.05 * rng.normal(size=512) for x in light]).reshape(4, 16, 32)
        assert moved(frames, frames[[3, 3]]).sentence


# ---------------------------------------------------------------------------------------------- around any bench


@pytest.mark.parametrize("form", ["mirrors", "packed", "patterns"])
@pytest.mark.parametrize("manner", SILENT)
def test_around_a_bench_that_has_expose_alone(manner, form):
    plain = Plain()
    plain.inside = LosesOnce(manner)
    started = []
    bench = Guarded(plain, restart=lambda: started.append(1))
    dark = bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
    assert abs(dark.mean() - 20) < 0.2
    plain.inside.triggers = {plain.inside.at + 21}
    shown = {
        "mirrors": PATTERNS[:20],
        "packed": np.packbits(PATTERNS[:20].reshape(20, -1), axis=1, bitorder="little"),
        "patterns": MirrorPatterns(PATTERNS[:20].reshape(20, -1), MirrorLayout.lined(MIRRORS, 192)),
    }[form]
    phases = np.array([0.0, 2.0, 4.0])
    with pytest.warns(UserWarning, match="of 1 sequences 1 was shown again"):
        frames = bench.expose(shown, exposure_s=EXPOSURE_S, reference_phase_rad=phases)
    assert started == [1]
    for step, phase in enumerate(phases):
        assert residual(plain.inside, frames[step::3], PATTERNS[:20], phase).max() < 2


@pytest.mark.parametrize("manner", SILENT)
@pytest.mark.parametrize("steps", [4, 12, 40])
def test_bursts_that_are_moved_by_a_frame_are_seen_wherever_it_is_lost(manner, steps):
    """Of one burst with its guards each trigger in turn: then all behind it are frames of another phase, or pattern."""
    phases = 0.7 + 2 * np.pi * np.arange(steps) * 3 / 7
    for trigger in range(0, min(5 * steps, 80), 3):
        plain = Plain()
        plain.inside = LosesOnce(manner)
        bench = Guarded(plain)
        bench.expose(None, exposure_s=EXPOSURE_S, n_frames=8)
        plain.inside.triggers = {plain.inside.at + trigger}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Frames were lost, it seems: of")
            frames = bench.expose(PATTERNS[:1], exposure_s=EXPOSURE_S, reference_phase_rad=phases)
        assert plain.inside.n_lost == 1
        for step, phase in enumerate(phases):
            assert residual(plain.inside, frames[step : step + 1], PATTERNS[:1], phase)[0] < 2


def test_it_is_the_bench_but_for_the_ways_around_expose():
    bench = Guarded(OpticalBench("ideal"))
    assert bench.device.name == "ideal" and bench.seed == 0 and bench.sensor_shape == bench.bench.sensor_shape
    for name in ("together", "singles", "reserve", "with_limits"):
        with pytest.raises(AttributeError, match=f"no {name}, which would go without guards"):
            getattr(bench, name)
    roi = (500, 900, 20, 30)
    pattern = np.random.default_rng(0).integers(0, 2, (3, 100), dtype=np.uint8)
    shown = MirrorPatterns(pattern, MirrorLayout.lined(bench.mirror_shape, 100))
    assert bench.expose(shown, exposure_s=EXPOSURE_S, roi=roi).shape == (3, 20, 30)
    assert bench.clock.frames == 3 + N_GUARDS
    counts = bench.transform(shown, exposure_s=EXPOSURE_S, roi=roi, n_pixels=40)
    assert counts.shape == (3, 40) and bench.clock.frames == 2 * (3 + N_GUARDS)
    assert OpuDevice(bench=bench).bench is bench


def test_a_guarded_bench_conforms():
    report = check_bench(Guarded(Numbers()))
    assert {"lost frames", "clock", "transform", "reference arm"} <= set(report.passed)


# ---------------------------------------------------------------------------------------------- procedures


def matrix_error(bench, inside, folder):
    """Largest error of a column of a measured matrix, as a share."""
    found = measure_tm(bench, 16, exposure_s=EXPOSURE_S, out=folder.with_suffix(".h5"), full_scale_dn=4095.0)
    mirrors = MirrorLayout.lined(MIRRORS, 16).mirrors(np.eye(16, dtype=np.uint8))
    true, measured = (inside.matrix @ mirrors.reshape(16, -1).T)[found.valid], found.matrix()[found.valid]
    measured = measured * (np.vdot(measured, true) / np.vdot(measured, measured))
    return float(np.sqrt(np.sum(np.abs(measured - true) ** 2, axis=0) / np.sum(np.abs(true) ** 2, axis=0)).max())


def exposure_error(bench, inside, folder):
    shown = PATTERNS[:24]
    found = find_exposure(bench, shown, target_level_dn=500.0, full_scale_dn=4095.0)
    inside.set_reference(None)
    return abs(found.exposure_s * 2 * float(inside.light(shown).mean()) / EXPOSURE_S / 500.0 - 1)


def phase_error(bench, inside, folder):
    asked = np.arange(4) * np.pi / 2
    found = measure_phases(bench, asked, exposure_s=EXPOSURE_S, bursts=6, full_scale_dn=4095.0)
    return float(np.abs(found.phases_rad - asked).max())


def linear_error(bench, inside, folder):
    found = measure_linear(bench, PATTERNS[:16], exposure_s=EXPOSURE_S)
    return float(max(found.relative_error, np.abs(found.reference_dn / (2 * Losing.reference**2) - 1).max()))


def drift_error(bench, inside, folder):
    found = measure_drift(
        bench, mirrors=PATTERNS[:1], duration_s=1e-3, looks=10, exposure_s=EXPOSURE_S, full_scale_dn=4095.0
    )
    return float(max(np.abs(1 - found.intensity_correlation).max(), np.abs(found.phase_rad).max()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Frames were lost")
@pytest.mark.parametrize("error", [exposure_error, phase_error, linear_error, matrix_error, drift_error])
@pytest.mark.parametrize("manner", MANNERS)
def test_a_procedure_on_a_bench_that_loses_frames_ends_right_or_says_so(manner, error, tmp_path):
    """As near to the truth as without losses, within a factor of two; `benchmarks/lost_frames.py` has many runs."""
    usual = max(error(Losing(seed=seed), Losing(), tmp_path / str(seed)) for seed in (11, 12))
    ended = []
    for seed in range(2):
        bench = Losing(manner, 2e-3, seed)
        try:
            ended.append(error(bench, bench, tmp_path / f"losing {seed}"))
        except FramesLost as lost:
            assert str(lost).endswith(".")
    assert ended and max(ended) < 2 * usual


# ---------------------------------------------------------------------------------------------- time


class Piezo(Losing):
    """Its reference stands a millisecond after a step, its camera begins late; time is counted, not slept."""

    device = LabDevice(
        "piezo", MIRRORS, SENSOR, bits=12, black_level_dn=20.0, has_reference=True, settling_s=1e-3, latency_s=2e-4,
        frametime_s=5e-4,
    )  # fmt: skip

    def __init__(self):
        super().__init__()
        self.waited, self.times = [], []

    def skip_frames(self, n_frames, *, frametime_s=None):
        self.waited.append((self.phase, n_frames * frametime_s))

    def show(self, mirrors, *, frametime_s, **how):
        self.times.append(frametime_s)
        return super().show(mirrors, frametime_s=frametime_s, **how)


def test_a_piezo_is_waited_for_after_each_step_and_frame_times_say_so():
    bench = Piezo()
    bench.guards = False
    assert bench.stepped_frametime_s(16, EXPOSURE_S) == pytest.approx(EXPOSURE_S + 2e-4 + 1e-3)
    assert stepped_frametime_of(bench, 16, EXPOSURE_S) == bench.stepped_frametime_s(16, EXPOSURE_S)
    phases = np.array([0.0, 0.0, 3.0, 3.0])
    bench.expose(PATTERNS[:2], exposure_s=EXPOSURE_S, reference_phase_rad=phases)
    assert [phase for phase, _ in bench.waited] == [0.0, 3.0, 0.0, 3.0]
    assert all(time_s == pytest.approx(1e-3) for _, time_s in bench.waited)
    # What was waited for is a part of the frame time: a pattern stands for the rest, and for all of it without a step.
    assert bench.times == pytest.approx(2 * [6e-4, 1.6e-3, 6e-4, 1.6e-3])
    bench.times.clear()
    bench.waited.clear()
    bench.expose(PATTERNS[:2], exposure_s=EXPOSURE_S)
    bench.expose(PATTERNS[:2], exposure_s=EXPOSURE_S, reference_phase_rad=1.0)
    assert bench.times == [pytest.approx(6e-4)] * 2 and len(bench.waited) == 1
    with pytest.raises(ValueError, match="must be at least 0.0006, the exposure after a latency_s of 0.0002"):
        bench.expose(PATTERNS[:2], exposure_s=EXPOSURE_S, frametime_s=5e-4)
    with pytest.raises(ValueError, match="must be at least 0.0016, as the phase of the reference is another in each"):
        bench.expose(PATTERNS[:2], exposure_s=EXPOSURE_S, frametime_s=1e-3, reference_phase_rad=phases)


@pytest.mark.parametrize("asked_s", [None, 2e-3])
@pytest.mark.parametrize("guards", [False, True])
def test_settling_is_paid_once_in_each_step(guards, asked_s):
    """Waits and patterns together take the time between frames; guards, under no step, the shortest one."""
    bench = Piezo()
    bench.guards = guards
    bench.expose(PATTERNS[:3], exposure_s=EXPOSURE_S, reference_phase_rad=np.arange(4) * np.pi / 2, frametime_s=asked_s)
    total_s = sum(bench.times) + sum(time_s for _, time_s in bench.waited)
    own_s = 2 * (max(6e-4, (asked_s or 0) - 1e-3)) if guards else 0.0
    assert total_s == pytest.approx(12 * (asked_s or bench.stepped_frametime_s(16, EXPOSURE_S)) + own_s)
    assert min(bench.times) >= bench.minimum_frametime_s(16, EXPOSURE_S)


def test_a_linear_transform_takes_the_time_of_the_piezo():
    device = OpuDevice(bench=Piezo())
    settings = device.exposure()
    assert device.fastest(settings, EXPOSURE_S, stepped=True).frametime_us == 1600
    assert device.fastest(settings, EXPOSURE_S).frametime_us < 600


def test_times_that_are_none_are_refused_and_change_the_record_alone_where_they_are_given():
    plain = LabDevice("lab", (4, 4), (8, 8))
    for name in ("settling_s", "latency_s"):
        with pytest.raises((TypeError, ValueError), match=f"{name} is -1"):
            LabDevice("lab", (4, 4), (8, 8), **{name: -1.0})
        assert LabDevice("lab", (4, 4), (8, 8), **{name: 1e-3}).fingerprint() != plain.fingerprint()
        assert LabDevice("lab", (4, 4), (8, 8), **{name: 0.0}).fingerprint() == plain.fingerprint()
