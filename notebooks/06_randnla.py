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
# # Randomised linear algebra
#
# A random matrix S makes a large matrix small: A S has few columns, and keeps most of what matters. The device makes
# S x without storing S, for up to two million outputs. You will learn
#
# - how to send numbers that are not bits through mirrors that are: bit planes;
# - randomised singular values: the main directions of a set of images, from one sketch;
# - the trace of a matrix, and the triangles of a graph, from a small matrix in place of a large one;
# - how much the device's noise adds to the error that any random matrix has.

# %%
import matplotlib.pyplot as plt
import numpy as np

from opusim import OPU, datasets, plotting
from opusim.encoding import SeparatedBitPlanDecoder, SeparatedBitPlanEncoder

plt.rcParams.update({**plotting.STYLE, "figure.constrained_layout.use": True})

rng = np.random.default_rng(0)
OUTPUTS = 400
opu = OPU(n_components=OUTPUTS, device="aurora", seed=0, rescale="none", disable_pbar=True)
opu.open()

# %% [markdown]
# ## A sketch by light
#
# Mirrors are on or off, so a number is shown as its bit planes, one frame after the other, positive and negative parts
# apart. The decoder adds the results with their weights. The transform is linear, so the sum is S x. A sketch by
# normal numbers from a generator stands beside it.


# %%
def fit(n_features):
    """Lay out vectors of a length, and calibrate the reference arm."""
    opu.fit1d(n_features=n_features)
    opu.calibrate(store=False)


def by_light(rows, precision=6):
    """Return S x for each row x, by the device: (rows, OUTPUTS)."""
    encoder = SeparatedBitPlanEncoder(precision=precision)
    return np.asarray(opu.linear_transform(rows, encoder, SeparatedBitPlanDecoder), dtype=np.float64)


def by_numbers(n_features, seed=0):
    """Return such a function for a matrix of normal numbers."""
    matrix = np.random.default_rng(seed).normal(size=(n_features, OUTPUTS))
    return lambda rows: rows @ matrix


digits = datasets.load("digits")
images = digits.x_train.reshape(-1, 64)[:1000].astype(np.uint8)  # 17 levels: five bits are exact

fit(64)
sketch = by_light(images, precision=5)
print(f"{images.shape} -> {sketch.shape}; {opu.bench.clock.frames} frames so far")
matrix = by_light(np.eye(64, dtype=np.uint8), precision=1).T
print(f"entries of S: mean {matrix.mean():.3f}, variance {matrix.var():.3f}")

# %% [markdown]
# S can be looked at: it is what the unit vectors give. Its singular values follow the law of random matrices.

# %%
fig, axes = plt.subplots(1, 2, figsize=(12, 4))
plotting.transmission_matrix(matrix[:100], axes[0], part="real")
axes[0].set_title("S: the first 100 outputs")
plotting.singular_values(matrix, axes[1])
plt.show()

# %% [markdown]
# ## Randomised singular values
#
# The columns of A S lie in the range of A, and mostly along its main directions. An orthonormal basis Q of them gives
# the approximation Q QᵀA (Halko, Martinsson and Tropp 2011). One power iteration, A Aᵀ A S, sharpens it; that step
# needs no light.

# %%
A = images.astype(float)
ranks = np.array([1, 2, 4, 8, 12, 16, 24, 32, 48])


def error(sketched, power):
    """Relative error of the approximation of A from some columns of a sketch."""
    for _ in range(power):
        sketched = A @ (A.T @ np.linalg.qr(sketched)[0])
    q = np.linalg.qr(sketched)[0]
    return np.linalg.norm(A - q @ (q.T @ A)) / np.linalg.norm(A)


values = np.linalg.svd(A, compute_uv=False)
best = [np.sqrt(np.sum(values[k:] ** 2) / np.sum(values**2)) for k in ranks]
numbers = by_numbers(64)(A)

fig, ax = plt.subplots(figsize=(7, 4.2))
for name, source, marker, dashes in (("light", sketch, "o", "-"), ("normal numbers", numbers, "s", "--")):
    for power, colour in ((0, plotting.INK), (1, plotting.ACCENT)):
        label = f"{name}, {'one power iteration' if power else 'plain'}"
        fill = "white" if power else colour
        errors = [100 * error(source[:, :k], power) for k in ranks]
        ax.plot(ranks, errors, marker=marker, ls=dashes, color=colour, mfc=fill, ms=5, label=label)
ax.plot(ranks, 100 * np.array(best), color=plotting.SOFT, lw=4, zorder=0, label="best possible")
ax.set(xlabel="rank (columns of the sketch)", ylabel="relative error (%)", yscale="log")
ax.legend()
plt.show()

# %% [markdown]
# The noise of the device hardly matters here: a basis only has to point in the right directions. It shows at the right
# end, where what is left of A is no larger than the noise, and the power iteration takes it off. The six main
# directions, in exact arithmetic and from 20 outputs of the device:

# %%
q = np.linalg.qr(A @ (A.T @ sketch[:, :20]))[0]
exact = np.linalg.svd(A, full_matrices=False)[2][:6]
found = np.linalg.svd(q.T @ A, full_matrices=False)[2][:6]
found *= np.sign(np.sum(found * exact, axis=1))[:, None]

fig, axes = plt.subplots(2, 6, figsize=(10, 3.6))
for row, vectors, name in zip(axes, (exact, found), ("exact", "by light"), strict=True):
    for k, (ax, vector) in enumerate(zip(row, vectors, strict=True)):
        ax.imshow(vector.reshape(8, 8), cmap="gray")
        ax.set(xticks=[], yticks=[], title=f"{name}, {k + 1}")
plt.show()

# %% [markdown]
# ## The trace of a matrix
#
# Sᵀ A S is small, and its trace divided by the number m of columns is that of A on average (Hutchinson 1990). Here A
# tells how alike digits are, in pairs. The sketch is made twice: of A, and of the transpose of the result. Blocks of
# Sᵀ A S along its diagonal are smaller sketches, so one run shows what every m gives.

# %%
N = 300
chosen = rng.permutation(len(digits.x_train))[:N]
points = digits.x_train[chosen].reshape(N, -1).astype(float)
points -= points.mean(axis=0)
alike = points @ points.T / 64


def small(transform, A):
    """Return Sᵀ A S, (OUTPUTS, OUTPUTS)."""
    return transform(transform(A).T)


fit(N)
both = {"light": by_light, "normal numbers": by_numbers(N)}
sizes = np.array([10, 20, 40, 80, 160, 400])


def blocks(matrix, m):
    """Return the blocks of m columns along the diagonal, each divided by m."""
    return [matrix[k : k + m, k : k + m] / m for k in range(0, OUTPUTS - m + 1, m)]


def estimates(transform, A, quantity):
    """Return, for each size, the estimates of all blocks over the true value."""
    whole, true = small(transform, A), quantity(A)
    return [np.array([quantity(block) for block in blocks(whole, m)]) / true for m in sizes]


traces = {name: estimates(transform, alike, np.trace) for name, transform in both.items()}


# %%
def draw(ax, found, title):
    """Draw estimates over the truth against the number of outputs."""
    looks = {"light": (0.96, "o", plotting.INK), "normal numbers": (1.04, "s", plotting.ACCENT)}
    for name, (shift, marker, colour) in looks.items():
        for m, values in zip(sizes, found[name], strict=True):
            label = name if m == sizes[-1] else None
            ax.plot(np.full(len(values), m * shift), values, marker, ms=4, mfc="none", color=colour, label=label)
    ax.axhline(1, color=plotting.INK, lw=0.8, ls=":")
    ax.set(xscale="log", xlabel="outputs m", ylabel="estimate / truth", title=title)
    ax.set_xticks(sizes, sizes)
    ax.set_xticks([], minor=True)
    ax.legend()


fig, ax = plt.subplots(figsize=(7, 4))
draw(ax, traces, f"Trace of a {N} x {N} matrix")
# Two standard deviations of Hutchinson's estimate: sqrt(2 / m) |A| / tr A.
spread = 2 * np.sqrt(2 / sizes) * np.linalg.norm(alike) / np.trace(alike)
ax.fill_between(sizes, 1 - spread, 1 + spread, color=plotting.SOFT, alpha=0.3, lw=0)
plt.show()

# %% [markdown]
# Points are blocks; the band is two standard deviations of an ideal sketch. The device's points lie in it too.
#
# ## Triangles of a graph
#
# Join each digit to the ten most like it. Triangles of a graph are tr(A³) / 6 for its 0/1 matrix A: friends of friends
# who are friends. The same small matrix estimates it. A third power spreads more, and for any random matrix the
# estimate is too large, by a factor of 1 + 3/m + 4/m² on average: the thick line.

# %%
length = np.linalg.norm(points, axis=1)
near = np.argsort(-(points @ points.T) / (length[:, None] * length), axis=1)[:, 1:11]
graph = np.zeros((N, N))
graph[np.arange(N)[:, None], near] = 1
graph = np.maximum(graph, graph.T)


def triangles(A):
    """Triangles of a graph, or their estimate from a sketch."""
    return np.trace(A @ A @ A) / 6


print(f"{int(graph.sum()) // 2} edges, {triangles(graph):.0f} triangles")
joined = {name: estimates(transform, graph, triangles) for name, transform in both.items()}

fig, ax = plt.subplots(figsize=(7, 4))
draw(ax, joined, f"Triangles of a graph of {N} digits")
ax.plot(sizes, 1 + 3 / sizes + 4 / sizes**2, color=plotting.SOFT, lw=3, zorder=0)
plt.show()

for name, found in joined.items():
    print(f"{name:15s}", "  ".join(f"m = {m}: {values.mean():.2f}" for m, values in zip(sizes, found, strict=True)))
print(f"{opu.bench.clock.frames} frames; the device would have needed {opu.bench.clock.elapsed_s:.0f} s")
opu.close()

# %% [markdown]
# ## What to change next
#
# - `linear_mode="intensity"` in `OPU(...)` (and no `calibrate`): the way of the last product, without a reference arm.
#   What becomes of the three errors?
# - `precision=2`: how many bit planes does each task need?
# - `OUTPUTS = 2000`: the device does not mind; the sketch of the second step grows.
# - A sweep of the noise: `opusim sweep --task randsvd --vary camera.read_noise_e=0,13,50,200 --components 200`.
