"""The OPU as a transformer of scikit-learn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, validate_data

from opusim.base.errors import warn_outside
from opusim.base.user_arrays import as_numpy
from opusim.device.record import Device
from opusim.drivers.lowlevel.device import OpuDevice
from opusim.drivers.opu import OPU

from .base import INSIDE, NO_FIT, LightonNames, OpuUser, SharedOpu


class OPUMap(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OpuUser, BaseEstimator):
    """Random features of 0/1 data, made by an OPU: the counts of its camera.

    Positional parameters are those of `lightonml.projections.sklearn.OPUMap` 1.4.3. Those of our own are keyword-only.

    Parameters
    ----------
    n_components : int
        Components of an output vector. May be set at any time; it needs no new fit. lightonml has no default; 1000
        can be computed at once for any data, where the OPU's own 200 000 would take 1.6 MB of matrix per feature.
    opu : OPU, optional
        The OPU to use. Several maps may share one; each keeps its own width and fit. If none is given, the map makes
        one, which its clones share.
    ndims : {1, 2}
        Dimensions of a vector's features.
    n_2d_features : tuple of int, optional
        (a, b) of features in two dimensions that come packed.
    packed : bool
        Whether the input of `fit` is packed, eight features in a byte.
    simulated : bool
        Accepted: every device here is simulated.
    max_n_features : int, optional
        Accepted: there are as many features as mirrors.
    verbose_level : int
        From 1 on, batches show a progress bar. For the map's own OPU.
    linear : bool
        Whether to return the linear transform, float32, in place of counts.
    encoder : class or object, optional
        Its `transform` makes bits of the input; without one, the input must be 0 and 1 already, or, of a device with
        a phase modulator, phases in turns as floats. A copy of it is kept, and fitted with `X` if it can be.
    decoder : class or object, optional
        Its `transform` is applied to the result. A class is made with the encoder's `get_params()`, if it has any.
        Needed if the encoder makes more vectors than it is given.
    device : str, Path or Device
        What is simulated if `opu` is None.
    seed : int
        Seed of the medium, the sensor and the noise, if `opu` is None.

    Attributes
    ----------
    opu : OPU
        The OPU in use, also before a fit. (`get_params` gives what was passed.)
    opu_ : OPU
        The map's settings and fit, on the same device.
    encoder_ : object
        The encoder in use, or None.
    n_features_in_ : int
        Features of a vector in the data of the fit, or its bytes if packed.
    feature_names_in_ : numpy.ndarray
        Names of the columns, if the data of the fit had any.
    fitted : bool
        Whether there is a fit.

    Notes
    -----
    Output is a plain array, uint8 for the default camera. Two transforms of the same data differ by the noise of the
    camera, as on the real device; with ``device="ideal"`` they are equal.

    A clone and a deep copy use the same device: the same matrix, computed once, and fresh noise. `close` closes it for
    all of them. A pickle holds settings and fits, no matrix; in another process (``n_jobs=2``) it is the same
    device again, and goes on counting frames from where it was copied.

    With an encoder, the map passes scikit-learn's `check_estimator` but for three checks: `check_fit1d` and
    `check_fit2d_predict1d` want a single vector refused, which an OPU takes; `check_fit_idempotent` wants two
    transforms to be equal, which they are on an ideal device only. Without an encoder, the checks that feed floats
    fail, as mirrors show only 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from opusim.drivers.projections.sklearn import OPUMap
    >>> x = np.random.default_rng(0).integers(0, 2, (5, 100), dtype=np.uint8)
    >>> OPUMap(n_components=300).fit_transform(x).shape
    (5, 300)
    """

    def __init__(
        self,
        n_components: int = 1000,
        opu: OPU | None = None,
        ndims: int = 1,
        n_2d_features: Any = None,
        packed: bool = False,
        simulated: bool = False,
        max_n_features: int | None = None,
        verbose_level: int = -1,
        linear: bool = False,
        *,
        encoder: Any = None,
        decoder: Any = None,
        device: Any = "aurora",
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.opu = opu
        self.ndims = ndims
        self.n_2d_features = n_2d_features
        self.packed = packed
        self.simulated = simulated
        self.max_n_features = max_n_features
        self.verbose_level = verbose_level
        self.linear = linear
        self.encoder = encoder
        self.decoder = decoder
        self.device = device
        self.seed = seed

    # ------------------------------------------------------------------ fit and transform

    def fit(
        self, X: Any = None, y: Any = None, n_features: Any = None, packed: bool = False, online: bool = False
    ) -> OPUMap:
        """Choose layout and exposure.

        Parameters
        ----------
        X : array_like, optional
            0/1 data, or what the encoder takes. For ndims=1: (n_features,), (n_samples, n_features) or
            (batch1, batch2, n_features); for ndims=2, (..., a, b).
        y : object
            Given to the encoder's `fit`, without effect otherwise.
        n_features : int or tuple of int, optional
            Features of a vector as the device gets it, if `X` is not given or is packed in two dimensions.
        packed : bool
            Whether `X` is packed; also if the map's own `packed` is set.
        online : bool
            Whether vectors come one by one; batches are then refused.

        Returns
        -------
        OPUMap
            Itself.

        Raises
        ------
        NotReadyError
            If the device is closed. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If an argument is not what it may be.
        """
        self._check_ndims()
        packed = packed or self.packed
        array = None if X is None else self._validate(X, reset=True)
        bits = self._fit_encoder(array, y)
        self._fit_opu(bits, n_features, packed, online)
        if array is not None:
            columns = array.shape[-1:] if packed else array.shape[-self.ndims :]
            self.n_features_in_ = math.prod(columns)
        elif self.encoder is None:
            n = math.prod(np.atleast_1d(n_features if n_features is not None else self.n_2d_features))
            self.n_features_in_ = -(-int(n) // 8) if packed else int(n)
        return self

    def transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Show vectors and return counts, or the linear transform.

        Parameters
        ----------
        X : array_like
            Shaped as in the fit. A single vector gives what it gives in a batch. Without a fit before, the map is
            fitted on it, with a warning.
        y : object
            Without effect.

        Returns
        -------
        numpy.ndarray
            ``(*batch dimensions, n_components)``; of the camera's type, or float32 if `linear`.

        Raises
        ------
        NotReadyError
            If the device is closed, or a batch comes in online mode. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If `X` is not what it may be: sparse, not 0/1 (without encoder), or with other features than in the fit.
        """
        if not self.fitted:
            warn_outside(NO_FIT, inside=INSIDE)
            self.fit(X)
        return np.asarray(self._run(self._validate(X, reset=False)))

    def _validate(self, X: Any, *, reset: bool) -> np.ndarray:
        """Return `X` as an array of finite numbers. Whether they are 0 and 1 is for the OPU to say."""
        validate_data(self, X, reset=reset, skip_check_array=True, ensure_2d=False)  # names of the columns
        array = check_array(as_numpy(X)[0], ensure_2d=False, allow_nd=True, estimator=self, input_name="X")
        if not reset and self.ndims == 1 and array.shape[-1] != getattr(self, "n_features_in_", array.shape[-1]):
            raise ValueError(
                f"X has {array.shape[-1]} features, but {type(self).__name__} is expecting {self.n_features_in_} "
                "features as input."
            )
        return array

    # ------------------------------------------------------------------ what scikit-learn asks for

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a fit."""
        return self.fitted

    def __sklearn_tags__(self) -> Any:
        """Say what the map takes, and that it is noisy unless its device is ideal."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.non_deterministic = self._is_noisy()
        tags.transformer_tags.preserves_dtype = []
        tags.input_tags.one_d_array = False  # in scikit-learn: one number per sample
        tags.input_tags.two_d_array = self.ndims == 1 or bool(self.packed)
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = self.encoder is None
        return tags

    def _is_noisy(self) -> bool:
        """Say whether the device is noisy; it is not made for that."""
        given = self.__dict__["opu"]
        try:
            model = Device.load(self.device) if given is None else given.model
        except (AttributeError, TypeError, ValueError):
            return True  # wrong parameters, of which fit will tell
        return _has_noise(model)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters as they were given; `opu` is None if the map makes its own.

        Parameters
        ----------
        deep : bool
            Whether to add the parameters of the encoder and the decoder, as ``encoder__threshold``.

        Returns
        -------
        dict
            Parameters by name.
        """
        params: dict[str, Any] = {}
        for name in self._get_param_names():
            # The attribute opu would make one.
            value = self.__dict__["opu"] if name == "opu" else getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params.update({f"{name}__{key}": item for key, item in value.get_params().items()})
            params[name] = value
        return params

    def __sklearn_clone__(self) -> OPUMap:
        """Return a map without a fit, on the same device."""
        other = super().__sklearn_clone__()
        other.__dict__["_shared"] = self.__dict__.setdefault("_shared", SharedOpu())
        other.__dict__.pop("_made", None)
        return other


class LightonOPUMap(LightonNames, OPUMap):
    """`OPUMap` under lightonml's name; parameters and errors as for `LightonNames`."""

    def _is_noisy(self) -> bool:
        device = self.opu.device
        return isinstance(device, OpuDevice) and _has_noise(device.device_model)


def _has_noise(model: Any) -> bool:
    """Whether two transforms of the same vectors may differ; a laboratory's device is never without noise."""
    return not isinstance(model, Device) or model != model.ideal()
