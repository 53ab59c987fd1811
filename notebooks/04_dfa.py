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
# # Light in the loop: direct feedback alignment
#
# Backpropagation sends the error of a network back through the transposed weights, layer by layer. Direct feedback
# alignment (DFA) sends it to every layer at once, through one fixed random matrix. The device has such a matrix. You
# will learn
#
# - how errors become bits, and what that costs;
# - how to train a network whose hidden layers learn from projections by light;
# - that the layers come to agree with backpropagation, though nobody tells them its weights;
# - how much noise the projection may have.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from opusim import OPU, plotting
from opusim.dfa import (
    MLP,
    Adam,
    BackpropTrainer,
    DFATrainer,
    GaussianFeedback,
    NearestTernaryEncoding,
    NoisyFeedback,
    OpticalFeedback,
    ShallowTrainer,
    parse_encoding,
)
from opusim.dfa.checkpoint import read_run
from opusim.plotting.training import training_figure
from opusim.tasks.image_sets import load_task

plt.rcParams.update({**plotting.STYLE, "figure.constrained_layout.use": True})

HIDDEN = (128, 128)
EPOCHS = 8
task = load_task("digits", centred=True)
validation = task.x_test, task.y_test
print(f"{len(task.x_train)} training images, {len(task.x_test)} held out, {task.n_classes} classes")

# %% [markdown]
# ## Errors on mirrors
#
# The error of a sample is what the network said less what is right: ten numbers. Mirrors show bits. The ternary
# encoding keeps the sign of the large ones: one pattern for the classes that were said too loudly, one for those said
# too softly. The device projects both, and the difference of the results is the projection of the ternary error.

# %%
network = MLP([64, *HIDDEN, 10], seed=0)
BackpropTrainer(network, epochs=6, alignment_samples=0).fit(task.x_train, task.y_train)  # else all errors look alike
logits = network.forward(task.x_test).logits
said = np.exp(logits - logits.max(axis=1, keepdims=True))
errors = said / said.sum(axis=1, keepdims=True) - np.eye(10)[task.y_test]
errors = errors[np.argsort(-errors.max(axis=1))[:30:4]]  # some samples that the network gets wrong, or nearly so
encoded = NearestTernaryEncoding().encode(errors)
print(f"{len(errors)} errors are shown as {len(encoded.bits)} patterns of {encoded.bits.shape[1]} bits")

fig, axes = plt.subplots(1, 2, figsize=(11, 3))
for ax, values, title in zip(axes, (errors, encoded.decoded()), ("Errors", "As the device sees them"), strict=True):
    shown = ax.imshow(values, cmap="cividis", vmin=-1, vmax=1, aspect="auto")
    ax.set(title=title, xlabel="class", ylabel="sample", xticks=range(10))
fig.colorbar(shown, ax=axes, label="error (share of probability)")
plt.show()

# %% [markdown]
# ## Train
#
# Four ways, the same network and the same order of samples each time: backpropagation; DFA with a matrix of normal
# numbers; DFA with the device; and only the last layer, which DFA must beat to be worth anything. One projection serves
# both hidden layers: its width is the sum of theirs.


# %%
folder = tempfile.TemporaryDirectory()
width = sum(HIDDEN)


def train(trainer, *feedback, **options):
    """Train a fresh network; return its history."""
    network = MLP([64, *HIDDEN, 10], activation="tanh", seed=0)
    options = {"optimiser": Adam(4e-3), "batch_size": 64, "epochs": EPOCHS, "alignment_samples": 256, **options}
    return trainer(network, *feedback, **options).fit(task.x_train, task.y_train, validation=validation)


histories = {
    "backpropagation": train(BackpropTrainer),
    "DFA, normal numbers": train(DFATrainer, GaussianFeedback(10, width, seed=0)),
}
with OPU(n_components=width, device="aurora", seed=0, disable_pbar=True) as opu:
    feedback = OpticalFeedback(opu, width, n_classes=10, encoding=parse_encoding("ternary"))
    run = Path(folder.name) / "light.h5"
    histories["DFA, light"] = train(DFATrainer, feedback, checkpoint=run)
histories["last layer only"] = train(ShallowTrainer)

for name, history in histories.items():
    print(f"{name:20s} {history.validation_accuracy[-1]:.1%} of the held-out digits")
print(f"noise of a projection: {feedback.relative_noise:.0%} of the signal, for a single class")
costs = feedback.costs
print(f"the device showed {costs.frames} frames: {costs.device_s:.0f} s, {costs.device_j / 1000:.1f} kJ")

# %%
looks = dict(zip(histories, ("o-", "s--", "^-", "D:"), strict=True))
colours = dict(zip(histories, (plotting.SOFT, "#4f7f8f", plotting.ACCENT, plotting.INK), strict=True))

fig, (left, right) = plt.subplots(1, 2, figsize=(12, 4.2))
for name, history in histories.items():
    left.plot(
        history.epoch, 100 * history.validation_accuracy, looks[name], color=colours[name], mfc="white", label=name
    )
left.set(xlabel="epoch", ylabel="right among held-out digits (%)", title="Accuracy")
left.legend()
for name in ("DFA, normal numbers", "DFA, light"):
    for layer, angles in enumerate(histories[name].alignment_deg.T):
        fill = "white" if layer else colours[name]
        right.plot(
            histories[name].epoch,
            angles,
            looks[name],
            color=colours[name],
            mfc=fill,
            label=f"{name}, layer {layer + 1}",
        )
right.axhline(90, color=plotting.INK, lw=0.9, ls=":")
right.annotate(
    "unrelated", (1, 90), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points", ha="right"
)
right.set(xlabel="epoch", ylabel="angle to backpropagation (degrees)", ylim=(0, 100), title="Alignment")
right.legend(loc="lower left")
plt.show()

# %% [markdown]
# Two random directions in so many dimensions would be at 90 degrees. The updates are well below: the weights turn until
# the random matrix is as good as their own transpose. Nobody asked them to.
#
# A run leaves a file behind, one page for each: accuracy, loss, angles, and where the time went. A killed run goes on
# from it, bit for bit.

# %%
training_figure(read_run(run))

# %% [markdown]
# ## How much noise may there be?
#
# A digital stand-in for the device: a random matrix, and noise of a given size on every output. A noise of 1 is as
# large as the signal.

# %%
noises = [0.0, 1.0, 3.0, 6.0]
found = []
for noise in noises:
    feedback = NoisyFeedback(10, width, noise=noise, seed=0, encoding=NearestTernaryEncoding())
    found.append(train(DFATrainer, feedback, alignment_samples=0).validation_accuracy[-1])

fig, ax = plt.subplots(figsize=(6.4, 3.8))
ax.plot(noises, 100 * np.array(found), "o-", mfc="white", color=plotting.INK, label="DFA, ternary errors")
ax.axhline(
    100 * histories["last layer only"].validation_accuracy[-1], color=plotting.ACCENT, ls="--", label="last layer only"
)
ax.set(xlabel="noise of a projection / signal", ylabel="right among held-out digits (%)")
ax.legend()
plt.show()
folder.cleanup()

# %% [markdown]
# Noise in the feedback is like noise in a gradient: many steps average it. The device's own, printed above, is far
# below what hurts.
#
# ## What to change next
#
# - `device="ideal"`, or a device of your own (`05_your_device`): does training notice?
# - `parse_encoding("sign")` or `parse_encoding("bits:4")` for the feedback: one bit of error, or four and a sign.
# - `HIDDEN = (128,) * 5`: what do the angles of deeper networks do?
# - PyTorch models: `opusim.dfa.torch` puts the same feedback into a network of yours.
# - From a shell: `opusim train --task mnist --feedback optical --out run.h5`, then `opusim report run.h5`.
