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
# # Your device
#
# Say you have a cheap camera in the drawer and mirrors of another maker. Would they do? You will learn
#
# - how to describe a device in a TOML file, by what differs from a preset;
# - how to see, in numbers, where it is better and worse than the default;
# - what another pixel pitch changes, with the lenses held and without;
# - how to find what limits it: by the noise budget, and by switching things off on the bench;
# - how to check on a task that you have mended the right thing.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from opusim import OPU, Device, OpticalBench, plotting
from opusim.cli.line import drawing, lengths
from opusim.noise import dark_level_dn, error_budget, noise_terms
from opusim.noise.measured import measured_error_budget
from opusim.sweep import KernelRidge, Sweep

plt.rcParams.update({**plotting.STYLE, "figure.constrained_layout.use": True})

# %% [markdown]
# ## Describe it
#
# A file may start from a preset and change what differs. Units are SI, or stand in the name: electrons (`_e`), grey
# levels (`_dn`). Parts have presets too: `opusim presets` lists them.

# %%
text = """
preset = "aurora"
name = "drawer"
description = "a small fast camera, and mirrors that are not quite dark"

[dmd]
contrast_ratio = 150.0        # light of a mirror on, over one that is off

[camera]
bits = 8
quantum_efficiency = 0.45
full_well_e = 8000.0
gain_dn_per_e = 0.032         # 255 grey levels for the full well
read_noise_e = 30.0
dsnu_e = 10.0
prnu = 0.02
black_level_dn = 4.0

[medium]
decorrelation_time_s = 36000.0  # ten hours
"""
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "drawer.toml"
path.write_text(text, encoding="utf-8")
device, default = Device.load(path), Device.load("aurora")
print(f"{device.name}: {device.description}; fingerprint {device.fingerprint()[:12]}")

# %% [markdown]
# Mistakes are answered in words. A wrong name:

# %%
try:
    Device.from_dict({"preset": "aurora", "camera": {"read_noise": 30.0}})
except ValueError as error:
    print(error)

# %% [markdown]
# ## Compare it with the default
#
# First, what differs.

# %%
for name in default.paths():
    stage, _, field = name.partition(".")
    if field and stage != "name":
        theirs, ours = (getattr(getattr(one, stage), field, None) for one in (default, device))
        if theirs != ours:
            print(f"{name:32s} {theirs!s:>12} -> {ours}")

# %% [markdown]
# Then the same mirrors through both. The seed is the same, so it is the same medium: only the camera and the contrast
# differ.

# %%
roi = (512, 988, 40, 60)
pattern = np.random.default_rng(0).integers(0, 2, OpticalBench(default).mirror_shape, dtype=np.uint8)
benches = [OpticalBench(one, seed=0) for one in (default, device)]
frames = [bench.expose(pattern, exposure_s=400e-6, roi=roi)[0] for bench in benches]

fig, axes = plt.subplots(2, 2, figsize=(11, 7))
for (left, right), frame, one in zip(axes.T, frames, (default, device), strict=True):
    plotting.speckle(frame, left, darkest=one.camera.black_level_dn).set_title(f"One frame of “{one.name}”")
    plotting.histogram(frame, right, device=one, exposure_s=400e-6)
plt.show()

# %% [markdown]
# ## Another pitch: which lengths are held?
#
# The line of light, with the lengths that the device has. `opusim info drawer.toml` tells the same, and more.

# %%
print(drawing(device), end="\n\n")
for name, value in lengths(device, device.operation.exposure_s):
    print(f"{name:26s} {value}")

# %% [markdown]
# A camera with smaller pixels stands in the same light (`optics.held = "lengths"`, as on `aurora`), and each pixel gets
# less of it. Or it is re-magnified until a pixel has as much light as before (`"magnification"`, as `aurora@1`). The
# two rank these cameras differently: say which one you mean.


# %%
def with_camera(camera, held):
    """aurora with another camera; its own one has 8 bits."""
    own = "" if camera != "CMV2000" else "bits = 8\ngain_dn_per_e = 0.04\nblack_level_dn = 2.0\n"
    return Device.from_toml(f'preset = "aurora"\n[camera]\npreset = "{camera}"\n{own}[optics]\nheld = "{held}"\n')


def signal_to_noise(device):
    """Mean signal over what is new in every frame, with half the mirrors on."""
    exposure_s = device.operation.exposure_s
    noise = noise_terms(device, device.dmd.n_mirrors // 2, exposure_s)
    return (noise.level_dn - dark_level_dn(device, exposure_s)) / noise.rms_dn("temporal")


cameras = {"CMV2000": "5.5 µm", "IMX250": "3.45 µm"}
fig, ax = plt.subplots(figsize=(6.5, 3.2))
for place, held in enumerate(("lengths", "magnification")):
    for shift, (camera, pitch) in zip((-0.2, 0.2), cameras.items(), strict=True):
        snr = signal_to_noise(with_camera(camera, held))
        print(f"{held} held, {camera}: signal to noise {snr:.2f}")
        colours = {"color": plotting.SOFT, "hatch": "//"} if shift < 0 else {"color": plotting.ACCENT}
        ax.bar(
            place + shift, snr, 0.36, edgecolor=plotting.INK, label=None if place else f"{camera}, {pitch}", **colours
        )
        ax.text(place + shift, snr + 0.2, f"{snr:.2f}", ha="center")
ax.set(ylabel="signal to noise of an output", ylim=(0, 18), title="Half the mirrors on, 400 µs")
ax.set_xticks([0, 1], ["lengths held:\nthe same irradiance", "magnification held:\nthe same light on a pixel"])
ax.legend(loc="upper left", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# ## Find what limits it
#
# The noise budget, in closed form: the part of each source in the error of an output. What limits a task is what is new
# in every frame: sources in italics do the same every time, and a readout that is trained on the device's own outputs
# loses next to nothing by them.

# %%
budgets = [error_budget(one) for one in (default, device)]
fig, ax = plt.subplots(figsize=(8, 5))
plotting.noise_budget(budgets, ax)
plt.show()

new = budgets[1].new
worst = max(new, key=new.get)
print(f"“{device.name}” is limited by {worst}: {budgets[1].share(worst):.0%} of the mean square error")
print(f"all that is new in every frame: {budgets[1].new_share:.0%}")

# %% [markdown]
# Is the formula right? `measured_error_budget` switches each source off alone, on a bench of the real stages, and
# looks by how much the error falls.

# %%
measured = measured_error_budget(device, n_vectors=200, seed=1)
fig, ax = plt.subplots(figsize=(8, 5))
plotting.noise_budget([budgets[1], measured], ax)
plt.show()

# %% [markdown]
# ## Mend it, and check on a task
#
# Four devices: the default, the one from the drawer, the same with the worst source made smaller, and the same with
# three times the light. The last one costs nothing but a longer exposure.


# %%
def make_opu(device, n_components, seed):
    """Return the driver of a device."""
    return OPU(n_components, device=device, seed=seed, disable_pbar=True)


def accuracy(device):
    """Accuracy on digits with 500 outputs, for two seeds."""
    vary = {"exposure_s": [device.operation.exposure_s]}
    sweep = Sweep(KernelRidge("digits"), make_opu, vary, device=device, n_components=500, seeds=2)
    return sweep.run().values("accuracy").ravel()


# What makes each source smaller, in a device: two more bits at the same full scale, all else halved.
camera = device.camera
mended = {
    "shot noise": {
        "operation.exposure_s": 2 * device.operation.exposure_s,
        "operation.frametime_s": 2.5 * device.operation.exposure_s,
    },
    "read noise": {"camera.read_noise_e": camera.read_noise_e / 2},
    "quantisation": {
        "camera.bits": camera.bits + 2,
        "camera.gain_dn_per_e": 4 * camera.gain_dn_per_e,
        "camera.black_level_dn": 4 * camera.black_level_dn,
    },
    "saturation": {"operation.exposure_s": device.operation.exposure_s / 2},
    "dark current": {
        "camera.dark_current_e_per_s": camera.dark_current_e_per_s / 2,
        "camera.hot_pixel_dark_e_per_s": camera.hot_pixel_dark_e_per_s / 2,
    },
    "laser power": {"laser.power_noise": device.laser.power_noise / 2},
    "decorrelation": {"medium.decorrelation_time_s": 2 * device.medium.decorrelation_time_s},
}

devices = {
    "default": default,
    "drawer": device,
    f"less\n{worst}": device.evolve(**mended[worst]),
    "exposure\nthree times": device.evolve(
        **{
            "operation.exposure_s": 3 * device.operation.exposure_s,
            "operation.frametime_s": 3.5 * device.operation.exposure_s,
        }
    ),
}
found = {name: accuracy(one) for name, one in devices.items()}
errors = {name: error_budget(one).total for name, one in devices.items()}

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
left.bar(
    list(errors), [100 * np.sqrt(e) for e in errors.values()], color=plotting.SOFT, edgecolor=plotting.INK, hatch="//"
)
left.set(ylabel="error of an output, rms (% of the speckle)", title="Noise")
for place, values in enumerate(found.values()):
    right.plot([place, place], 100 * values, "o", mfc="white", color=plotting.INK)
    right.plot([place - 0.2, place + 0.2], [100 * values.mean()] * 2, color=plotting.ACCENT, lw=2)
right.set_xticks(range(len(found)), list(found))
right.set(ylabel="accuracy (%); line: mean of two seeds", title="Digits")
plt.show()
folder.cleanup()

# %% [markdown]
# ## What to change next
#
# - Put your own numbers into the text above. Which data sheet value are you least sure of? Vary that one with a sweep.
# - In the text above, put `preset = "IMX174"` in place of all lines from `bits` to `black_level_dn`: a real camera with
#   a deep well and little noise. Lines that stay would override the preset. What limits the device then?
# - Give it lenses of your own: a table `[optics]` with `focal_m`, `stop_diameter_m` and `pixel_integration = true`.
#   What does half the stop do to the grain, and to the light? `docs/plan_a_bench.md` has a whole bench.
# - `error_budget(device, "linear")` for Rx itself: the reference arm brings its own sources.
# - `error_budget(device, elapsed_s=3600.0)`: an hour after the fit. From when on does the medium matter most?
# - Write the text to a file, `Path("drawer.toml").write_text(text, encoding="utf-8")`, and use it everywhere:
#   `OPU(500, device="drawer.toml")`, `opusim info drawer.toml`, `opusim transform in.npy out.npy --device drawer.toml`.
