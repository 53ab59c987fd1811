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
# # First light
#
# An optical processing unit multiplies by a large random matrix with light. This notebook looks at it plane by plane.
# You will learn
#
# - how a vector of bits becomes a pattern of mirrors, a field, a speckle pattern, and camera counts;
# - why the counts of a frame follow an exponential law, and where the camera bends it;
# - which part of a count is new in every frame, and which is not;
# - what the counts are good for: each pair of frames tells how much two inputs have in common.

# %%
import matplotlib.pyplot as plt
import numpy as np

from opusim import OPU, Device, OpticalBench, datasets, plotting, theory
from opusim.noise import dark_level_dn, noise_at_level
from opusim.patterns.layout import MirrorLayout, MirrorPatterns

plt.rcParams.update({**plotting.STYLE, "figure.constrained_layout.use": True})

# %% [markdown]
# ## The device
#
# A device is a record of its stages: laser, mirrors, medium, camera, and a reference arm, which stays blocked here.
# `aurora` is the default. Its preset says where each number comes from.

# %%
device = Device.load("aurora")
print(f"laser    {device.laser.wavelength_m * 1e9:.0f} nm, {device.laser.power_w * 1e3:.0f} mW")
print(f"mirrors  {device.dmd.shape[0]} x {device.dmd.shape[1]}, {device.dmd.pitch_m * 1e6:.1f} µm apart")
print(f"medium   {device.medium.n_screens} screens, {device.medium.thickness_m * 1e3:.0f} mm thick")
print(f"camera   {device.camera.shape[0]} x {device.camera.shape[1]} pixels, {device.camera.bits} bits")
print(f"exposure {device.operation.exposure_s * 1e6:.0f} µs")

# %% [markdown]
# ## From bits to mirrors
#
# The input is a vector of bits: here a handwritten digit of 8 x 8 pixels. Each bit drives a block of mirrors.

# %%
digits = datasets.load("digits")
images = (digits.x_train > 7).astype(np.uint8)
image = images[0]

bench = OpticalBench(device, seed=0)
layout = MirrorLayout.macro_2d(bench.mirror_shape, image.shape)
pattern = MirrorPatterns(image.reshape(1, -1), layout).to_mirrors()[0]
print(f"{int(image.sum())} of {image.size} bits are on, and {pattern.mean():.0%} of the mirrors")

# %% [markdown]
# `inspect` returns every plane of one exposure, for a part of the sensor. The mirrors come first, and the field that
# leaves them: bright in the middle of the beam, its phase bent a little by mirrors that are not flat. Off mirrors are
# not quite dark.

# %%
roi = (512, 984, 48, 64)  # row, column, number of rows and of columns on the sensor
planes = bench.inspect(pattern, roi=roi)

fig, axes = plt.subplots(1, 3, figsize=(13, 3.6))
plotting.mirrors(planes, axes[0], pitch_m=device.dmd.spacing_m)
axes[0].set_title(f"Mirrors: a {digits.y_train[0]}")
amplitude, phase = plotting.field(planes, axes[1:], plane="mirrors", pitch_m=device.dmd.spacing_m)
amplitude.set_title("Field at the mirrors: amplitude")
phase.set_title("Phase")
plt.show()

# %% [markdown]
# ## Through the medium
#
# The medium scatters light many times. At the camera each pixel gets a sum of contributions of all mirrors, with
# random phases. That is the random matrix: one row for each pixel. Amplitude and phase look like noise, but the same
# mirrors give the same field again.

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 3.9))
amplitude, phase = plotting.field(planes, axes)
amplitude.set_title("Field at the camera: amplitude")
phase.set_title("Phase")
plt.show()

# %% [markdown]
# ## Photons, electrons, counts
#
# The camera sees intensities, |field|². It turns a part of the photons into electrons, one by one: this is shot noise.
# Then it adds read noise, multiplies by its gain, rounds, and clips.

# %%
fig, axes = plt.subplots(1, 3, figsize=(14, 3.4))
for ax, plane in zip(axes, ("photons", "electrons", "counts"), strict=True):
    plotting.speckle(planes, ax, plane=plane)
    ax.set_title(plane.capitalize())
plt.show()

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6))
axes[0].plot(planes.photons.ravel(), planes.electrons.ravel(), ".", ms=2, color=plotting.INK)
axes[0].set(title="Shot noise", xlabel="light on a pixel (photons)", ylabel="charge (electrons)")
axes[1].plot(planes.electrons.ravel(), planes.counts.ravel(), ".", ms=2, color=plotting.INK)
axes[1].set(title="Read noise, gain, rounding", xlabel="charge (electrons)", ylabel="counts (grey levels)")
plt.show()

# %% [markdown]
# ## The law of speckle
#
# A field that is a sum of many random contributions has normal real and imaginary parts. Its intensity then follows an
# exponential law: dark pixels are the most frequent, and the standard deviation equals the mean. Photons follow it. In
# the counts the camera's noise rounds the corner at the black level.

# %%
contrast = planes.photons.std() / planes.photons.mean()
print(f"contrast of the speckle (standard deviation / mean): {contrast:.3f}, law: {theory.speckle_contrast():.0f}")

fig, axes = plt.subplots(1, 2, figsize=(11, 3.8))
plotting.histogram(planes, axes[0])
axes[0].set_title("Photons")
plotting.histogram(planes, axes[1], plane="counts", device=device)
axes[1].set_title("Counts")
plt.show()

# %% [markdown]
# ## What is new in every frame
#
# The same mirrors, 400 times. The mean of a pixel is its speckle; the variance around it is noise. It grows with the
# level, as shot noise does, and at zero light read noise and rounding remain. The line is the closed form.

# %%
frames = bench.expose(
    MirrorPatterns(np.repeat(image.reshape(1, -1), 400, axis=0), layout), exposure_s=400e-6, roi=roi
).reshape(400, -1)
level, variance = frames.mean(axis=0), frames.var(axis=0, ddof=1)
dark_dn = dark_level_dn(device, 400e-6)
x = np.linspace(dark_dn, level.max(), 100)
law = [noise_at_level(device, value, 400e-6).variance_dn2("temporal") for value in x]

fig, ax = plt.subplots(figsize=(6, 3.8))
ax.plot(level, variance, ".", ms=3, color=plotting.SOFT, label="a pixel")
ax.plot(x, law, color=plotting.ACCENT, label="closed form")
ax.set(xlabel="mean level (grey levels)", ylabel="variance from frame to frame (grey levels²)")
ax.legend()
plt.show()

# %% [markdown]
# ## What the counts are good for
#
# Programs use the driver: `OPU`. It lays the features on the mirrors, chooses a region of the sensor, and returns
# counts. For random features y = |Rx|², the mean product of two outputs is known: |x|²|x'|² + (x·x')². So counts hold
# a kernel of the inputs, and a linear classifier on counts is a kernel machine on the inputs.

# %%
some = images[:60].reshape(60, -1)
with OPU(n_components=20_000, device=device, seed=0) as opu:
    opu.fit1d(some)
    counts = opu.transform(some)
    print(f"{counts.shape[0]} vectors, {counts.shape[1]} outputs, {counts.dtype}; mean {counts.mean():.1f}")
    print(f"the real device would have needed {opu.bench.clock.elapsed_s * 1e3:.0f} ms")

signal = counts.astype(float) - dark_dn
measured = signal @ signal.T / signal.shape[1]
kernel = theory.optical_kernel(some.astype(float), some.astype(float))
pairs = np.triu_indices(len(some), 1)
scale = measured[pairs] @ kernel[pairs] / (kernel[pairs] @ kernel[pairs])

fig, ax = plt.subplots(figsize=(5, 4.2))
ax.plot(kernel[pairs], measured[pairs] / scale, ".", ms=3, color=plotting.INK, label="a pair of digits")
ends = [kernel[pairs].min(), kernel[pairs].max()]
ax.plot(ends, ends, color=plotting.ACCENT, ls="--", label="equal")
ax.set(xlabel="kernel of the inputs (bits⁴)", ylabel="mean product of counts, scaled (bits⁴)")
ax.legend()
plt.show()

# %% [markdown]
# The points scatter around the line because outputs are finite in number and noisy, and because the beam lights some
# features more than others.
#
# ## What to change next
#
# - Take another digit, or your own 0/1 array, in place of `image`. Which planes change, and which only look as if?
# - `device = Device.load("aurora").evolve(**{"camera.bits": 4})`: where do the counts end now?
# - `Device.load("aurora").ideal()`: every imperfection off. What is left of the variance from frame to frame?
# - `{"optics.pixel_integration": True, "optics.exit_diameter_m": 9.7e-3}`: a pixel is as wide as a grain and adds up
#   what falls on it, and the contrast falls below 1.
# - Go on with `02_noise_vs_accuracy`: what does the noise cost a classifier?
