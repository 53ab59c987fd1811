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
# # Noise against accuracy
#
# What would this device do to my accuracy? You will learn
#
# - which sources of noise an output has, and which of them matters at which exposure;
# - how accuracy depends on bits, exposure, contrast of the mirrors, and decorrelation of the medium;
# - how to ask this of a parameter of your own, in one line.
#
# The task is small: handwritten digits of 8 x 8 pixels, 500 random features made by light, and a ridge classifier on
# the camera's counts.

# %%
import matplotlib.pyplot as plt
import numpy as np

from opusim import OPU, Device, datasets, plotting
from opusim.noise import error_budget
from opusim.sweep import KernelRidge, Sweep

plt.rcParams.update({**plotting.STYLE, "figure.constrained_layout.use": True})

OUTPUTS = 500
HOUR_S = 3600.0
device = Device.load("aurora")

# %% [markdown]
# ## What is wrong with an output
#
# The noise budget says, for each source, its part in the error of an output. The error is counted against the same
# device with every source off, relative to the variance of outputs over the inputs. With less light the camera's own
# noise takes over. Sources in italics do the same in every frame: they make another matrix rather than a noisy one, so
# that a classifier which is trained on the device's own outputs loses next to nothing by them, however long their bars.

# %%
fig, ax = plt.subplots(figsize=(8, 4.4))
plotting.noise_budget([error_budget(device), error_budget(device, exposure_s=40e-6)], ax)
ax.set_title("The same device at two exposures")
plt.show()

# %% [markdown]
# ## A function of four knobs
#
# A sweep runs a task at each combination of some parameters. With one value each it is a single experiment:
#
# - `adc.bits`: bits of the camera, its full scale kept;
# - `exposure_s`: exposure of a frame;
# - `dmd.contrast_ratio`: light of a mirror that is on over that of one that is off;
# - `medium.decorrelation_time_s`: in which time the speckle forgets. An hour passes between training and test.
#
# `adc.bits` and `exposure_s` are shorthands of sweeps, the others are fields of the device. Any numeric field will do.


# %%
def make_opu(device, n_components, seed):
    """Return the driver of a device; sweeps call this at each point."""
    return OPU(n_components, device=device, seed=seed, disable_pbar=True)


task = KernelRidge("digits", pause_s=HOUR_S)


def run(vary, seeds=1):
    """Run the task for every combination of some values."""
    return Sweep(task, make_opu, vary, device=device, n_components=OUTPUTS, seeds=seeds).run()


default = run({"adc.bits": [device.camera.bits]}, seeds=2)
print(f"accuracy of the default device: {default.values('accuracy').mean():.1%}")

# %% [markdown]
# For comparison: the same classifier on the binary pixels themselves, without any device.

# %%
from sklearn.linear_model import RidgeClassifierCV

digits = datasets.load("digits")
x_train, x_test = ((x > 7).reshape(len(x), -1).astype(float) for x in (digits.x_train, digits.x_test))
pixels = RidgeClassifierCV(10.0 ** np.arange(8)).fit(x_train, digits.y_train).score(x_test, digits.y_test)
print(f"accuracy on the pixels: {pixels:.1%}")

# %% [markdown]
# ## Four curves
#
# Each panel varies one knob and leaves the others at the default. Dots are single seeds: another medium, another
# noise. The dotted line is the accuracy on the bare pixels: below it the device does harm.

# %%
panels = {
    "Bits": {"adc.bits": [2, 3, 4, 5, 6, 8]},
    "Exposure": {"exposure_s": [4e-6, 20e-6, 100e-6, 400e-6, 4e-3, 20e-3, 100e-3]},
    "Contrast of the mirrors": {"dmd.contrast_ratio": [2, 5, 20, 100, 1000]},
    "Decorrelation": {"medium.decorrelation_time_s": [HOUR_S * hours for hours in (0.5, 1, 2, 4, 24)]},
}
found = {title: run(vary, seeds=2) for title, vary in panels.items()}

# Ticks in microseconds and hours instead of seconds.
units = {"Exposure": (1e6, "exposure (µs)"), "Decorrelation": (1 / HOUR_S, "decorrelation time (h)")}

fig, axes = plt.subplots(2, 2, figsize=(11, 8), sharey=True)
for ax, (title, result) in zip(axes.flat, found.items(), strict=True):
    plotting.sweep_curves(result, "accuracy", ax)
    ax.axhline(100 * pixels, color=plotting.INK, lw=0.9, ls=":")
    ax.set_title(title)
    if title in units:
        factor, name = units[title]
        values = next(iter(panels[title].values()))
        ax.set_xticks(values, [f"{factor * value:g}" for value in values])
        ax.set_xlabel(name)
axes[0, 0].set_ylim(0, 105)
plt.show()

# %% [markdown]
# What to see:
#
# - Few bits are enough as long as the speckle still spans some grey levels. The default uses a small part of its scale.
# - Too short an exposure drowns the speckle in read noise; too long a one saturates the bright pixels. The best one is
#   ten times the default's.
# - Light from off mirrors reaches the camera for every input; only a very poor contrast matters.
# - If the medium has changed between training and test, the weights belong to another matrix, and all is lost. More
#   outputs do not help against that.
#
# ## Your own working point
#
# A poor device at one working point: few bits, little light, mirrors that are not dark, a medium that forgets. The
# budget counts what an hour does to an output, and the bars what it does to the digits.
#
# The error in the legend is root mean square, over the spread of outputs. It may well be above 100 %: then there is
# more noise in an output than signal. Five hundred such outputs together can still tell digits apart, as noise averages
# and the signal does not.


# %%
def show(bits=4, exposure_us=100, contrast=100, decorrelation_h=4.0):
    """Run the digits at one working point; draw the budget, and the accuracy beside the default's."""
    result = run(
        {
            "adc.bits": [bits],
            "exposure_s": [exposure_us * 1e-6],
            "dmd.contrast_ratio": [contrast],
            "medium.decorrelation_time_s": [decorrelation_h * HOUR_S],
        }
    )
    scale = (2**bits - 1) / device.camera.full_scale_dn
    here = device.evolve(
        **{
            "camera.bits": bits,
            "camera.gain_dn_per_e": device.camera.gain_dn_per_e * scale,
            "camera.black_level_dn": device.camera.black_level_dn * scale,
            "dmd.contrast_ratio": contrast,
            "medium.decorrelation_time_s": decorrelation_h * HOUR_S,
        }
    )
    fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=(2, 1))
    plotting.noise_budget(error_budget(here, exposure_s=exposure_us * 1e-6, elapsed_s=HOUR_S), left)
    left.set_title("An hour after the training")
    values = [pixels, float(default.values("accuracy").mean()), float(result.values("accuracy")[0, 0])]
    bars = right.bar(["pixels", "default", "here"], [100 * v for v in values], edgecolor=plotting.INK)
    for bar, colour, hatch in zip(bars, ("white", plotting.SOFT, plotting.INK), ("", "///", ""), strict=True):
        bar.set(facecolor=colour, hatch=hatch)
    right.bar_label(bars, fmt="%.1f")
    right.set(ylim=(0, 110), ylabel="accuracy (%)", title="Digits")
    plt.show()


show()

# %% [markdown]
# With ipywidgets and a live notebook, four sliders choose the working point. Where they are missing, change the
# arguments of `show` above.

# %%
try:
    import ipywidgets
except ImportError:
    print('No sliders here: pip install "opusim[notebooks]" brings them.')
else:
    slow = {"continuous_update": False, "style": {"description_width": "110px"}, "layout": {"width": "420px"}}
    ipywidgets.interact(
        show,
        bits=ipywidgets.IntSlider(4, 2, 12, description="bits", **slow),
        exposure_us=ipywidgets.SelectionSlider(
            options=[2, 5, 10, 20, 50, 100, 200, 400, 1000, 2000, 5000], value=100, description="exposure (µs)", **slow
        ),
        contrast=ipywidgets.SelectionSlider(
            options=[2, 5, 10, 30, 100, 300, 1000, 3000], value=100, description="contrast", **slow
        ),
        decorrelation_h=ipywidgets.SelectionSlider(
            options=[0.5, 1.0, 2.0, 4.0, 8.0, 24.0, 100.0], value=4.0, description="decorrelation (h)", **slow
        ),
    )

# %% [markdown]
# ## What to change next
#
# - `OUTPUTS = 3000`: more outputs average noise. By how much do the curves move?
# - Vary something else: `run({"camera.read_noise_e": [0, 50, 200]})`, or
#   `run({"camera.pixel_pitch_m": [1e-6, 3e-6, 9e-6]})`: the light of a pixel goes by its area.
#   A name that does not exist gets an answer with the ones near to it.
# - Two knobs at once: `plotting.sweep_map(run({"adc.bits": [2, 4, 8], "exposure_s": [2e-5, 1e-4, 4e-4]}))`.
# - `KernelRidge("mnist", n_train=10_000)` is the real thing; give `run` of the sweep a file name, and a killed sweep
#   goes on where it was. From a shell: `opusim sweep --task mnist --vary adc.bits=2,4,8 --seeds 5 --out sweep.h5`.
