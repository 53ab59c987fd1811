"""Optimisers: stochastic gradient descent with momentum, and Adam; in place, with their state in plain arrays.

The updates are PyTorch's (``torch.optim.SGD`` without dampening, ``torch.optim.Adam``), in the dtype of the parameters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from opusim.base import validation

__all__ = ["SGD", "Adam", "Optimiser"]


class Optimiser(ABC):
    """What the optimisers share: moments, one set for each parameter array, and a count of steps.

    Parameters
    ----------
    learning_rate : float
        Above 0.
    weight_decay : float, optional
        This times the parameter is added to its gradient (L2, biases included, as in PyTorch).

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.

    Notes
    -----
    An optimiser belongs to one training run: `prepare` forgets what was before.
    """

    _moment_names: tuple[str, ...] = ()

    def __init__(self, learning_rate: float, weight_decay: float) -> None:
        self.learning_rate = validation.number("learning_rate", learning_rate, low=0, low_open=True, high=1e6)
        self.weight_decay = validation.number("weight_decay", weight_decay, low=0, high=1e6)
        self.steps = 0
        self._moments: list[list[np.ndarray]] = []

    def prepare(self, parameters: Sequence[np.ndarray]) -> None:
        """Start anew for these parameters: no steps done, moments 0.

        Parameters
        ----------
        parameters : sequence of ndarray
            Of float32 or float64, all of one dtype, each in C order.

        Raises
        ------
        ValueError
            If they are not.
        """
        dtype = parameters[0].dtype
        if dtype not in (np.float32, np.float64) or any(
            array.dtype != dtype or not array.flags.c_contiguous for array in parameters
        ):
            raise ValueError("parameters must be arrays of float32 or float64, all of one dtype, each in C order.")
        self.steps = 0
        self._moments = [[np.zeros_like(array) for array in parameters] for _ in self._moment_names]

    def step(self, parameters: Sequence[np.ndarray], gradients: Sequence[np.ndarray], *, rate: float = 1.0) -> None:
        """Change the parameters in place by one step.

        Parameters
        ----------
        parameters : sequence of ndarray
            Those that were given to `prepare`.
        gradients : sequence of ndarray, of the same shapes and dtype
            They are left alone.
        rate : float, optional
            Factor on the learning rate for this step.

        Raises
        ------
        ValueError
            If the arrays do not fit those that were given to `prepare`.
        """
        self.steps += 1
        for group in zip(parameters, gradients, *self._moments, strict=True):
            fits = all((array.shape, array.dtype) == (group[-1].shape, group[-1].dtype) for array in group)
            if not fits or not group[0].flags.c_contiguous:
                raise ValueError(
                    "parameters and gradients must have the shapes and the dtype that were prepared for, in C order."
                )
            self._update([np.ascontiguousarray(array).reshape(-1) for array in group], self.learning_rate * rate)

    @abstractmethod
    def _update(self, arrays: list[np.ndarray], learning_rate: float) -> None:
        """Change a parameter and its moments in place; `arrays` is parameter, gradient and moments, flat."""

    def state(self) -> dict[str, np.ndarray]:
        """Return what moves on from step to step.

        Returns
        -------
        dict of ndarray
            The number of steps and the moments by name, not copies.
        """
        result = {"steps": np.array(self.steps, np.int64)}
        for name, arrays in zip(self._moment_names, self._moments, strict=True):
            result |= {f"{name}_{i}": array for i, array in enumerate(arrays)}
        return result

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state, after `prepare`.

        Parameters
        ----------
        state : mapping of ndarray
            From `state`.

        Raises
        ------
        ValueError
            If it does not fit.
        """
        own = self.state()
        if {k: (v.shape, v.dtype) for k, v in own.items()} != {k: (v.shape, v.dtype) for k, v in state.items()}:
            raise ValueError(f"The state of the optimiser does not fit these parameters and {type(self).__name__}.")
        for name, array in own.items():
            array[...] = state[name]
        self.steps = int(state["steps"])

    @abstractmethod
    def describe(self) -> dict[str, str | float]:
        """Return the optimiser's kind and settings.

        Returns
        -------
        dict
            Values by name.
        """


class SGD(Optimiser):
    """Stochastic gradient descent with momentum: v = momentum v + g, p = p - learning_rate v.

    Parameters
    ----------
    learning_rate : float, optional
        Above 0. The default, with the momentum's, is that of the published MNIST example of DFA (TinyDFA, the code of
        arXiv 2006.12878: SGD 0.01, momentum 0.9).
    momentum : float, optional
        From 0 to below 1.
    weight_decay : float, optional
        This times the parameter is added to its gradient.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """

    _moment_names = ("velocity",)

    def __init__(self, learning_rate: float = 0.01, *, momentum: float = 0.9, weight_decay: float = 0.0) -> None:
        super().__init__(learning_rate, weight_decay)
        self.momentum = _below_one("momentum", momentum)

    def _update(self, arrays: list[np.ndarray], learning_rate: float) -> None:
        from .optimiser_kernels import sgd_update

        number = arrays[0].dtype.type
        sgd_update(*arrays, number(learning_rate), number(self.momentum), number(self.weight_decay))

    def describe(self) -> dict[str, str | float]:
        """Return the optimiser's kind and settings.

        Returns
        -------
        dict
            Values by name.
        """
        return {
            "kind": "sgd",
            "learning_rate": self.learning_rate,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }


class Adam(Optimiser):
    """Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1): steps by the mean gradient over its root mean square.

    Parameters
    ----------
    learning_rate, beta1, beta2, epsilon : float, optional
        As in the paper, whose values are the defaults: 0.001, 0.9, 0.999, 1e-8.
    weight_decay : float, optional
        This times the parameter is added to its gradient, as ``torch.optim.Adam`` does (not decoupled).

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """

    _moment_names = ("mean", "mean_square")

    def __init__(
        self,
        learning_rate: float = 0.001,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate, weight_decay)
        self.beta1 = _below_one("beta1", beta1)
        self.beta2 = _below_one("beta2", beta2)
        self.epsilon = validation.number("epsilon", epsilon, low=1e-30, high=1.0)

    def _update(self, arrays: list[np.ndarray], learning_rate: float) -> None:
        from .optimiser_kernels import adam_update

        numbers = (
            learning_rate / (1 - self.beta1**self.steps),
            1 / math.sqrt(1 - self.beta2**self.steps),
            self.beta1,
            1 - self.beta1,
            self.beta2,
            1 - self.beta2,
            self.epsilon,
            self.weight_decay,
        )
        adam_update(*arrays, *(arrays[0].dtype.type(number) for number in numbers))

    def describe(self) -> dict[str, str | float]:
        """Return the optimiser's kind and settings.

        Returns
        -------
        dict
            Values by name.
        """
        return {
            "kind": "adam",
            "learning_rate": self.learning_rate,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "epsilon": self.epsilon,
            "weight_decay": self.weight_decay,
        }


def _below_one(name: str, value: float) -> float:
    """Return a number from 0 to below 1."""
    checked = validation.number(name, value, low=0, high=1)
    if checked == 1:
        raise ValueError(f"{name} is {value!r}, but it must be a number in [0, 1).")
    return checked
