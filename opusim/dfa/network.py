"""A fully connected network in numpy: parameters, forward pass, and nothing about how it is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from opusim.base import rng, validation
from opusim.base.short_repr import short_repr
from opusim.base.user_arrays import checked_array, refuse_odd_parts

__all__ = ["MLP", "Activations"]

_SIZES = "at least two whole numbers: inputs, hidden layers, classes"
_BLOCK_ROWS = 1024  # rows that go through the network at once in `predict`: a few MB, whatever the number of samples


@short_repr
@dataclass(frozen=True)
class Activations:
    """What a batch becomes on its way through a network.

    Parameters
    ----------
    inputs : ndarray, shape (batch, n_inputs)
        What was put in.
    pre : tuple of ndarray, each of shape (batch, size of the layer)
        Pre-activations a_l of the hidden layers.
    hidden : tuple of ndarray, each of shape (batch, size of the layer)
        Outputs of the hidden layers, h_l = f(a_l).
    logits : ndarray, shape (batch, n_classes)
        Output of the last layer, which is linear.
    """

    inputs: np.ndarray
    pre: tuple[np.ndarray, ...]
    hidden: tuple[np.ndarray, ...]
    logits: np.ndarray

    def into_layer(self, layer: int) -> np.ndarray:
        """Return what goes into a layer: the inputs for layer 0, else the output of the hidden layer before."""
        return self.hidden[layer - 1] if layer else self.inputs

    def rows(self, n: int) -> Activations:
        """Return the same arrays, as views of their first `n` rows."""
        return Activations(
            self.inputs[:n], tuple(a[:n] for a in self.pre), tuple(h[:n] for h in self.hidden), self.logits[:n]
        )


class MLP(validation.Fixed):
    """A multilayer perceptron: hidden layers h_l = f(W_l h_(l-1) + b_l) and a linear last layer.

    Parameters
    ----------
    sizes : sequence or array of int
        Numbers of units: inputs, hidden layers, classes. At least two numbers.
    activation : {"tanh", "relu"}, optional
        The function f.
    seed : int, optional
        Seed of the initial parameters.
    dtype : {"float32", "float64"}, optional
        Type of all arrays.

    Attributes
    ----------
    weights : list of ndarray, each of shape (outputs, inputs)
        W_l. Change them in place, or put in another array of the same shape and dtype.
    biases : list of ndarray, each of shape (outputs,)
        b_l.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.

    Notes
    -----
    All parameters start uniform between -1/sqrt(n) and 1/sqrt(n), where n is the number of the layer's inputs: what
    PyTorch's ``nn.Linear`` does by default (``Linear.reset_parameters``). They depend on the seed, the layer and the
    place only.

    Examples
    --------
    >>> from opusim.dfa.network import MLP
    >>> network = MLP([784, 1024, 1024, 10])
    >>> network.n_parameters
    1863690
    """

    _fixed = dict.fromkeys(("sizes", "activation", "seed", "dtype"), "Make another MLP.")

    def __init__(
        self,
        sizes: Sequence[int] | np.ndarray,
        *,
        activation: str = "tanh",
        seed: int = 0,
        dtype: DTypeLike = np.float32,
    ) -> None:
        if not isinstance(sizes, (Sequence, int, float)):
            sizes = checked_array("sizes", sizes, _SIZES, kinds="iufO").tolist()
        if isinstance(sizes, (list, tuple)):
            refuse_odd_parts(sizes, "sizes")
        if isinstance(sizes, str) or not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ValueError(f"sizes is {sizes!r}, but it must be {_SIZES}.")
        self.sizes = tuple(validation.integer(f"sizes[{i}]", size, low=1) for i, size in enumerate(sizes))
        self.activation = validation.choice("activation", activation, ("tanh", "relu"))
        self.seed = validation.integer("seed", seed, low=0)
        try:
            self.dtype = np.dtype(dtype)
        except TypeError:
            raise ValueError(f"dtype is {dtype!r}, but it must be float32 or float64.") from None
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype is {self.dtype}, but it must be float32 or float64.")
        self.weights: list[np.ndarray] = []
        self.biases: list[np.ndarray] = []
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            self.weights.append(self._initial("weights", layer, n_in, (n_out, n_in)))
            self.biases.append(self._initial("biases", layer, n_in, (n_out,)))

    def _initial(self, what: str, layer: int, n_in: int, shape: tuple[int, ...]) -> np.ndarray:
        values = rng.uniforms(rng.stream_key(self.seed, f"initial {what} of a network", layer), int(np.prod(shape)))
        return ((2 * values - 1) / np.sqrt(n_in)).astype(self.dtype).reshape(shape)

    @property
    def n_layers(self) -> int:
        """Number of layers that have weights: the hidden ones and the last."""
        return len(self.sizes) - 1

    @property
    def hidden_sizes(self) -> tuple[int, ...]:
        """Numbers of units of the hidden layers."""
        return self.sizes[1:-1]

    @property
    def n_classes(self) -> int:
        """Number of outputs."""
        return self.sizes[-1]

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(array.size for array in self.parameters())

    def parameters(self, first_layer: int = 0) -> list[np.ndarray]:
        """Return weights and biases: W_0, b_0, W_1, b_1 and so on.

        Parameters
        ----------
        first_layer : int
            The layer to begin with.

        Returns
        -------
        list of ndarray
            The arrays themselves, not copies.
        """
        pairs = zip(self.weights[first_layer:], self.biases[first_layer:], strict=True)
        return [array for pair in pairs for array in pair]

    def describe(self) -> dict[str, str | int]:
        """Return what tells one network from another before training.

        Returns
        -------
        dict
            Values by name.
        """
        return {
            "sizes": "-".join(map(str, self.sizes)),
            "activation": self.activation,
            "seed": self.seed,
            "dtype": str(self.dtype),
        }

    # ------------------------------------------------------------------------------------------------ passes

    def workspace(self, rows: int) -> Activations:
        """Return empty arrays for `forward` to fill.

        Parameters
        ----------
        rows : int
            For how many samples.

        Returns
        -------
        Activations
            The arrays.
        """

        def empty(size: int) -> np.ndarray:
            return np.empty((rows, size), self.dtype)

        hidden = self.hidden_sizes
        return Activations(
            empty(self.sizes[0]), tuple(map(empty, hidden)), tuple(map(empty, hidden)), empty(self.n_classes)
        )

    def forward(self, X: ArrayLike, *, out: Activations | None = None) -> Activations:
        """Return what a batch becomes in each layer.

        Parameters
        ----------
        X : array_like, shape (batch, n_inputs)
            Real numbers; they are taken as they are, converted to the network's dtype.
        out : Activations, optional
            Arrays to write into, from `workspace`, of as many rows as `X`. Its `inputs` are left alone.

        Returns
        -------
        Activations
            Inputs, outputs of all layers, and logits.

        Raises
        ------
        TypeError
            If `X` holds no real numbers.
        ValueError
            If its shape does not fit.
        """
        inputs = self._inputs(X)
        out = self.workspace(len(inputs)) if out is None else out
        if len(out.logits) != len(inputs):
            raise ValueError(f"out has {len(out.logits)} rows, but it must have as many as X: {len(inputs)}.")
        values = inputs
        for layer, (pre, hidden) in enumerate(zip(out.pre, out.hidden, strict=True)):
            np.matmul(values, self.weights[layer].T, out=pre)
            pre += self.biases[layer]
            if self.activation == "tanh":
                np.tanh(pre, out=hidden)
            else:
                np.maximum(pre, 0, out=hidden)
            values = hidden
        np.matmul(values, self.weights[-1].T, out=out.logits)
        out.logits.__iadd__(self.biases[-1])
        return Activations(inputs, out.pre, out.hidden, out.logits)

    def _inputs(self, X: ArrayLike) -> np.ndarray:
        array = checked_array("X", X, kinds="biuf")
        if array.ndim != 2 or array.shape[1] != self.sizes[0]:
            raise ValueError(f"X has the shape {array.shape}, but it must be (samples, {self.sizes[0]}).")
        return array.astype(self.dtype, copy=False)

    def times_derivative(self, activations: Activations, layer: int, values: np.ndarray, out: np.ndarray) -> None:
        """Write ``values * f'(a)`` of a hidden layer.

        The derivative comes from the layer's output: 1 - h^2 for tanh, 1 where h > 0 for relu (0 at a = 0).

        Parameters
        ----------
        activations : Activations
            From `forward`.
        layer : int
            Which hidden layer, from 0.
        values : ndarray, shape (batch, size of the layer)
            What to multiply.
        out : ndarray, shape of `values`
            Where to write; not `values` itself.
        """
        hidden = activations.hidden[layer]
        if self.activation == "tanh":
            np.multiply(hidden, hidden, out=out)
            np.subtract(1, out, out=out)
            out *= values
        else:
            np.multiply(values, hidden > 0, out=out)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the class of each sample.

        Parameters
        ----------
        X : array_like, shape (samples, n_inputs)
            Samples.

        Returns
        -------
        ndarray of int64, shape (samples,)
            The first of the largest logits.

        Raises
        ------
        TypeError, ValueError
            As for `forward`, or if a sample is not finite in the network's type.
        """
        array = checked_array("X", X, kinds="biuf")
        if array.ndim != 2:
            raise ValueError(f"X has the shape {array.shape}, but it must be (samples, {self.sizes[0]}).")
        labels = np.empty(len(array), np.int64)
        space = self.workspace(min(len(array), _BLOCK_ROWS))
        for rows in self._blocks(len(array)):
            passed = self.forward(array[rows], out=space.rows(rows.stop - rows.start))
            if array.dtype.kind == "f":  # the largest of logits that are NaN is the first of them
                _check_finite("X", passed.inputs, array, rows.start)
            np.argmax(passed.logits, axis=1, out=labels[rows])
        return labels

    @staticmethod
    def _blocks(n: int) -> Iterator[slice]:
        return (slice(start, min(n, start + _BLOCK_ROWS)) for start in range(0, n, _BLOCK_ROWS))

    def accuracy(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return the share of samples whose class is predicted right.

        Parameters
        ----------
        X : array_like, shape (samples, n_inputs)
            Samples.
        y : array_like of int, shape (samples,)
            Labels from 0.

        Returns
        -------
        float
            Between 0 and 1.

        Raises
        ------
        TypeError, ValueError
            As for `forward`, or if there are not as many labels as samples, or none, or one is no class of the network.
        """
        labels = checked_array("y", y, "labels, which are whole numbers", kinds="iu")
        predicted = self.predict(X)
        if labels.shape != predicted.shape or not labels.size:
            raise ValueError(f"y has the shape {labels.shape}, but X has {len(predicted)} samples; there must be some.")
        foreign = (labels < 0) | (labels >= self.n_classes)
        if foreign.any():
            first = int(np.argmax(foreign))
            raise ValueError(
                f"y[{first}] is {labels[first]}, but labels are whole numbers from 0 to {self.n_classes - 1}: the "
                f"network has {self.n_classes} classes."
            )
        return float(np.mean(predicted == labels))

    def load_parameters(self, arrays: Sequence[np.ndarray]) -> None:
        """Copy parameters into the network.

        Parameters
        ----------
        arrays : sequence of ndarray
            Weights and biases in the order of `parameters`.

        Raises
        ------
        TypeError, ValueError
            If they do not fit, or are not finite.
        """
        own = self.parameters()
        arrays = [checked_array(f"arrays[{i}]", array, finite=True) for i, array in enumerate(arrays)]
        if [a.shape for a in arrays] != [a.shape for a in own] or any(a.dtype != self.dtype for a in arrays):
            given_text = ", ".join(f"{a.dtype}{a.shape}" for a in arrays) or "none"
            raise ValueError(
                f"The parameters given ({given_text}) do not fit a network of the sizes {self.sizes} in {self.dtype}, "
                f"whose shapes are {', '.join(str(a.shape) for a in own)}."
            )
        for mine, given in zip(own, arrays, strict=True):
            mine[...] = given

    def check(self) -> None:
        """Raise a ValueError if weights or biases have been replaced by arrays that do not fit."""
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:], strict=False)):
            for name, arrays, shape in (("weights", self.weights, (n_out, n_in)), ("biases", self.biases, (n_out,))):
                array: Any = arrays[layer] if len(arrays) == self.n_layers else None
                fits = isinstance(array, np.ndarray) and array.shape == shape and array.dtype == self.dtype
                if not fits or not (array.flags.c_contiguous and array.flags.writeable):
                    raise ValueError(
                        f"{name}[{layer}] of the network must be a writeable array of {self.dtype}{shape} in C order."
                    )


def _check_finite(name: str, inputs: np.ndarray, given: np.ndarray, first: int) -> None:
    """Raise a ValueError that names the first value of some samples, from number `first` on, that is not finite."""
    good = np.isfinite(inputs)
    if not good.all():
        row, column = np.argwhere(~good)[0]
        raise ValueError(
            f"{name}[{first + row}, {column}] is {given[first + row, column]}, but every value must be finite in "
            f"{inputs.dtype}."
        )
