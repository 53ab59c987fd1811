"""What all encoders and decoders share: arrays or tensors in, the same out; life inside scikit-learn."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from opusim.base.user_arrays import like

from .inputs import as_array


def preserve_type(transform: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method that takes and returns an array, so that it also takes and returns a tensor.

    Parameters
    ----------
    transform : callable
        ``transform(self, X, *args, **kwargs)``; it gets `X` as a numpy array.

    Returns
    -------
    callable
        The same, for arrays, sequences, torch tensors and arrays of CuPy. The result of a tensor is a tensor on the
        same device; it has no gradient. What lies on a GPU goes by the machine's own memory.
    """

    @functools.wraps(transform)
    def wrapper(instance: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        array, place = as_array(X)
        result = transform(instance, array, *args, **kwargs)
        # A tensor takes no negative strides.
        return result if place is None else like(np.ascontiguousarray(result), place)

    return wrapper


class BaseTransformer:
    """Base of the encoders and decoders; a subclass has a method `transform`, and `fit` if it learns something.

    Works as a step of a scikit-learn ``Pipeline``, under `clone` and in a grid search. There is no `get_params`
    here on purpose: an `OPU` hands what an encoder's `get_params` returns to the decoder.

    Attributes
    ----------
    by_vector : bool
        Whether `transform` takes each vector by itself, so that a part of the data gives a part of the result. It
        holds for the class that says it, and below it until another `transform` is written.
    """

    by_vector: bool = False

    def fit(self, X: Any, y: Any = None) -> Any:
        """Do nothing and return the encoder: there is nothing to learn.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Data.
        y : array_like, optional
            Ignored.

        Returns
        -------
        object
            The encoder itself.
        """
        return self

    def transform(self, X: Any) -> Any:
        """Encode or decode.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Data, most often (n_samples, n_features).

        Returns
        -------
        numpy.ndarray or torch.Tensor
            What the subclass says.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method transform of its own.")

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Fit to data, then transform them.

        Parameters
        ----------
        X : array_like or torch.Tensor
            Data, most often (n_samples, n_features).
        y : array_like, optional
            Ignored.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            As for `transform`.
        """
        return self.fit(X, y).transform(X)

    def set_params(self, **params: Any) -> Any:
        """Set arguments of the constructor by name; what was learnt is forgotten.

        Parameters
        ----------
        **params
            New values, by name.

        Returns
        -------
        object
            The encoder itself.

        Raises
        ------
        ValueError
            If the constructor has no argument of that name, or refuses a value.
        """
        known = self._arguments()
        for name in params:
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}; it has {', '.join(known)}.")
        fresh = type(self)(**{**known, **params})
        self.__dict__.clear()
        self.__dict__.update(fresh.__dict__)
        return self

    def _arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments as they are now, without what was learnt."""
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        parameters = inspect.signature(type(self)).parameters.values()
        return {p.name: getattr(self, p.name) for p in parameters if p.kind in named}

    def __repr__(self) -> str:
        """Show the class and its arguments."""
        try:
            arguments = self._arguments()
        except AttributeError:  # a subclass that stores its arguments under other names
            return object.__repr__(self)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"

    def __sklearn_clone__(self) -> Any:
        """Return an encoder with the same arguments, nothing learnt."""
        try:
            arguments = self._arguments()
        except AttributeError:
            return copy.deepcopy(self)
        return type(self)(**copy.deepcopy(arguments))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `transform` may be called."""
        return True

    def __sklearn_tags__(self) -> Any:
        """Return what scikit-learn asks of every step."""
        from sklearn.base import BaseEstimator, TransformerMixin

        class Plain(TransformerMixin, BaseEstimator):
            pass

        tags = Plain().__sklearn_tags__()
        tags.requires_fit = type(self).fit is not BaseTransformer.fit
        return tags


class NoEncoding(BaseTransformer):
    """Leave the data as they are."""

    by_vector = True

    def transform(self, X: Any) -> Any:
        """Return the data themselves.

        Parameters
        ----------
        X : object
            Anything.

        Returns
        -------
        object
            The same.
        """
        return X


class NoDecoding(BaseTransformer):
    """Leave the results as they are.

    Parameters
    ----------
    **encoder_params
        What an encoder's `get_params` returns; ignored, because nothing is decoded.
    """

    by_vector = True

    def __init__(self, **encoder_params: Any) -> None:
        pass

    def transform(self, X: Any) -> Any:
        """Return the data themselves.

        Parameters
        ----------
        X : object
            Anything.

        Returns
        -------
        object
            The same.
        """
        return X
