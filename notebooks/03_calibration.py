# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Calibration: from intensity to linear
#
# The camera sees |Rx|². Many algorithms want Rx itself. You will learn
#
# - how a reference arm and a few phase steps turn intensities into fields;
# - how to measure what that needs: an exposure, the camera, the phases that the shifter really makes;
# - how to measure the transmission matrix, and how near it comes to the true one, which only a simulation knows;
# - that it is right: light can be focused with it, and the transform is linear.
#
# The procedures see a bench through a few calls (show mirrors, return frames), never through the simulation. They run
# on a laboratory's bench too.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from opusim import OPU, Device, OpticalBench, plotting
from opusim.calibration import characterise_camera, find_exposure, measure_focus, measure_phases, measure_tm
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

plt.rcParams.update({**plotting.STYLE, "figure.constrained_layout.use": True})

bench = OpticalBench(Device.load("aurora"), seed=0)
roi = (512, 988, 32, 64)  # row, column, number of rows and of columns on the sensor
layout = MirrorLayout.macro_2d(bench.mirror_shape, (8, 8))
rng = np.random.default_rng(0)


def patterns(bits):
    """Lay vectors of 64 bits on the mirrors."""
    return MirrorPatterns(np.asarray(bits, np.uint8).reshape(-1, layout.n_features_total), layout)


# %% [markdown]
# ## Intensities do not add
#
# Two patterns without a common mirror, and both at once. Fields add up, intensities do not: they interfere.

# %%
both = rng.integers(0, 2, 64)
first = both * rng.integers(0, 2, 64)
second = both - first
frames = bench.expose(patterns([first, second, both]), exposure_s=400e-6, roi=roi).reshape(3, -1).astype(float) - 2

fig, ax = plt.subplots(figsize=(4.6, 4.2))
ax.plot(frames[0] + frames[1], frames[2], ".", ms=3, color=plotting.INK)
ax.axline((0, 0), slope=1, color=plotting.ACCENT, ls="--", label="equal")
ax.set(xlabel="sum of two frames (grey levels)", ylabel="frame of the sum (grey levels)", xlim=(0, 60), ylim=(0, 60))
ax.legend()
plt.show()

# %% [markdown]
# ## Fringes
#
# The reference arm adds a known, strong field R to the signal S. When its phase turns, each pixel follows a cosine,
# |R|² + |S|² + 2|R||S| cos(phase - argument). Its amplitude and its phase are the field of the signal in this pixel.

# %%
turn = np.linspace(0, 2 * np.pi, 24)
fringes = bench.expose(patterns(both), exposure_s=400e-6, reference_phase_rad=turn, roi=roi).reshape(24, -1)

fig, ax = plt.subplots(figsize=(6.4, 3.6))
for pixel, marker in zip((100, 700, 1500), "os^", strict=True):
    ax.plot(turn, fringes[:, pixel], marker=marker, ms=4, mfc="white", label=f"pixel {pixel}")
ax.set(xlabel="phase of the reference (rad)", ylabel="counts (grey levels)")
ax.legend()
plt.show()

# %% [markdown]
# ## Step 1: an exposure
#
# As long as possible, but pixels must not saturate while the fringes turn.

# %%
half_on = patterns(rng.integers(0, 2, (16, 64)))
steps = 2 * np.pi * np.arange(4) / 4
exposure = find_exposure(bench, half_on, reference_phase_rad=steps, roi=roi, clipped_share=0.01)
print(f"exposure {exposure.exposure_s * 1e6:.0f} µs after {exposure.trials} trials")
print(f"mean level {exposure.level_dn:.0f} grey levels above the dark, {exposure.clipped_share:.1%} clipped")

# %% [markdown]
# ## Step 2: the camera
#
# Flat fields of rising brightness. Shot noise has the variance of the number of electrons, so the variance in grey
# levels grows with the level, and the slope is the gain: the photon-transfer method of EMVA 1288.

# %%
camera = characterise_camera(bench, roi=(512, 956, 64, 128))
true = bench.device.camera

fig, ax = plt.subplots(figsize=(6, 4))
plotting.photon_transfer(camera, ax)
plt.show()

for name, value, interval, own in (
    ("gain (DN/e)", camera.gain_dn_per_e, camera.gain_interval, true.gain_dn_per_e),
    ("read noise (e)", camera.read_noise_e, camera.read_noise_interval, true.read_noise_e),
    ("quantum efficiency", camera.quantum_efficiency, camera.quantum_efficiency_interval, true.quantum_efficiency),
):
    print(f"{name:20s} {value:8.4g}  ({interval[0]:.4g} to {interval[1]:.4g}), true {own:g}")

# %% [markdown]
# ## Step 3: the phases
#
# A shifter that is asked for a quarter of a turn makes a little more or less. The fringes themselves tell how much.

# %%
phases = measure_phases(bench, steps, mirrors=half_on[:1], exposure_s=exposure.exposure_s, roi=roi)
arm = bench.device.reference

print("asked for (rad):", np.round(phases.asked_rad, 3))
print("made (rad):     ", np.round(phases.phases_rad, 3), f"± {phases.uncertainty_rad:.1g}")
for name, value, interval, own in (
    ("scale error", phases.scale_error, phases.scale_interval, arm.scale_error),
    ("bend", phases.nonlinearity, phases.nonlinearity_interval, arm.nonlinearity),
):
    print(f"{name:12s} {value:.2%}  ({interval[0]:.2%} to {interval[1]:.2%}), true {own:.2%}")
print(f"repeats to {phases.repeatability_rad:.3f} rad")

# %% [markdown]
# The phases are what counts, and they are known to a few thousandths of a radian. How the error is shared out is known
# less well: over one turn a larger bend makes up for a smaller scale error, so the two are wrong together, and their
# intervals are wide.

# %% [markdown]
# ## Step 4: the transmission matrix
#
# One column for each block of mirrors, one row for each pixel, measured in the Hadamard basis: each vector shown as two
# complementary patterns, each pattern under four phases. The result goes into a file, block by block, so that a
# measurement that was interrupted can go on.

# %%
folder = tempfile.TemporaryDirectory()
record = measure_tm(
    bench,
    layout,
    exposure_s=exposure.exposure_s,
    out=Path(folder.name) / "matrix.h5",
    steps=steps,
    actual_rad=phases.phases_rad,
    repeats=2,
    roi=roi,
)
matrix = record.matrix()
print(f"{record.n_outputs} outputs x {record.n_inputs} inputs, {record.frames} frames")
print(f"random error of an entry: {record.relative_error:.1%} of the rms entry")

fig, axes = plt.subplots(1, 2, figsize=(12, 4.2))
plotting.transmission_matrix(matrix[:100], axes[0], unit="√ grey levels")
axes[0].set_title("The first 100 outputs")
plotting.singular_values(record, axes[1])
axes[1].set_title("Singular values of all")
plt.show()

# %% [markdown]
# Black rows are pixels that saturated too often; they are left out. The singular values follow the law of random
# matrices: no direction is lost. A matrix of pure noise would follow it too, so this alone proves little.
#
# ## True against recovered
#
# The simulation knows the true entries: the change of the field at the camera when one block of mirrors goes on. Each
# row is known but for one phase, that of the reference in this pixel; it is taken off before the two are compared.

# %%
columns = np.arange(0, 64, 4)
scale = np.sqrt(bench.photons_per_intensity(record.exposure_s) * true.quantum_efficiency * true.gain_dn_per_e)
dark_field = bench.inspect(patterns(np.zeros(64)), roi=roi).medium_field.ravel()
truth = np.stack(
    [bench.inspect(patterns(np.eye(64)[j]), roi=roi).medium_field.ravel() - dark_field for j in columns], axis=1
)
truth = scale * truth
truth, recovered = truth[record.valid], matrix[record.valid][:, columns]
turn = np.sum(truth * recovered.conj(), axis=1, keepdims=True)
recovered = recovered * (turn / np.abs(turn))

error = np.linalg.norm(recovered - truth) / np.linalg.norm(truth)
fig, ax = plt.subplots(figsize=(4.8, 4.4))
ax.plot(truth.real.ravel(), recovered.real.ravel(), ".", ms=1, color=plotting.INK)
ax.axline((0, 0), slope=1, color=plotting.ACCENT, ls="--", label="equal")
ax.set(xlabel="true entry, real part (√ grey levels)", ylabel="recovered entry, real part (√ grey levels)")
ax.set_title(f"Error: {error:.1%} of the rms entry")
ax.legend()
plt.show()

# %% [markdown]
# ## A proof that needs no truth: a focus
#
# Turn on the blocks whose light arrives in phase at one pixel, and it becomes bright, by a factor that theory knows.
# This works on a real bench as well.

# %%
focus = measure_focus(bench, record, targets=64)
print(f"brighter by a factor of {focus.enhancement:.1f}, theory for a perfect matrix {focus.theory:.1f}")

target = int(focus.targets[np.argmax(focus.focus_dn)])
bits = (matrix[target].real > 0).astype(np.uint8)
frame = bench.expose(patterns(bits), exposure_s=5 * focus.focus_exposure_s, roi=roi)[0]
fig, ax = plt.subplots(figsize=(7.4, 3.4))
plotting.speckle(frame, ax, darkest=2)
ax.images[0].set_clim(2, frame.max())
row, column = divmod(target, roi[3])
ax.plot(column + 0.5, row + 0.5, "o", ms=16, mfc="none", mec="white", mew=1.5)
ax.set_title("Light on one pixel (in the circle)")
plt.show()

# %% [markdown]
# ## In one call
#
# The driver does all this behind `linear_transform`. Now sums are sums.

# %%
with OPU(n_components=2000, device="aurora", seed=0, disable_pbar=True) as opu:
    opu.fit1d(n_features=64)
    opu.calibrate(store=False)
    y = np.asarray(opu.linear_transform(np.stack([first, second, both]).astype(np.uint8)))
    print(f"the calibration states an error of {opu.calibration.relative_error:.1%} for half-on vectors")

left, right = y[0] + y[1], y[2]
print(f"here: {np.linalg.norm(left - right) / np.linalg.norm(right):.1%}, of three transforms together")
fig, ax = plt.subplots(figsize=(4.6, 4.2))
ax.plot(left, right, ".", ms=3, color=plotting.INK)
ax.axline((0, 0), slope=1, color=plotting.ACCENT, ls="--", label="equal")
ax.set(xlabel="R x₁ + R x₂ (R: entries of variance 1/64)", ylabel="R (x₁ + x₂)")
ax.legend()
plt.show()
folder.cleanup()

# %% [markdown]
# ## What to change next
#
# - `repeats=8`, or three phase steps, `steps = 2 * np.pi * np.arange(3) / 3`: how does the error of the matrix change?
# - Leave out `actual_rad`: what do wrong phases cost?
# - `OpticalBench(Device.load("aurora").evolve(**{"reference.jitter_rad": 0.1}), seed=0)`: a shifter that does not
#   repeat.
# - `basis="canonical"` shows one block at a time. Why is it so much worse?
# - All procedures from a shell: `opusim calibrate all --out cal.h5`, then `opusim report cal.h5 --figure cal.png`.
