"""The OPU as a module of PyTorch."""

from __future__ import annotations

import functools
import itertools
import sys
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from opusim.base.errors import no_torch, warn_outside
from opusim.base.module_state import CarriesState
from opusim.base.tensors import as_tensor
from opusim.drivers.opu import OPU

try:
    import torch
    from torch import nn
except ImportError as error:
    raise no_torch("opusim.drivers.projections.torch", error) from error

from .base import INSIDE, NO_FIT, LightonNames, OpuUser
from .state import state_of, take

_numbers = itertools.count()
_living: WeakValueDictionary[int, OPUMap] = WeakValueDictionary()  # an operator takes numbers, not objects


class OPUMap(OpuUser, CarriesState, nn.Module):
    """Random features of 0/1 data, made by an OPU: the counts of its camera, without a gradient.

    Positional parameters are those of `lightonml.projections.torch.OPUMap` 1.4.3. Those of our own are keyword-only.

    Parameters
    ----------
    n_components : int
        Components of an output vector. May be set at any time; it needs no new fit.
    opu : OPU, optional
        The OPU to use. Several maps may share one; each keeps its own width and fit. If none is given, the map makes
        one when it is first needed.
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
        What is simulated if `opu` is None. It is no torch device: results go to where the input was.
    seed : int
        Seed of the medium, the sensor and the noise, if `opu` is None.

    Attributes
    ----------
    opu : OPU
        The OPU in use, also before a fit.
    opu_ : OPU
        The map's settings and fit, on the same device.
    fitted : bool
        Whether there is a fit.
    online : bool
        Whether the fit was for vectors one by one; batches are then sent one by one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not what it may be; some are found at the fit.

    Notes
    -----
    **The gradient stops here.** The output never needs a gradient and has no `grad_fn`, whatever the input needs; an
    input that needs one is taken as it is, and gets none through this module. Layers after it are trained as usual,
    layers before it must be trained in another way, as by direct feedback alignment.

    There are no parameters and no buffers: `to`, `train` and `eval` change nothing. A `state_dict` carries, as bytes in
    a tensor, the device and its seed, the fit with its exposure, what the encoder has learnt, the calibration of a
    linear map, and how many frames were taken; `torch.load` reads it with ``weights_only=True``. A map that takes it
    makes that device, and the same batch gives the counts that it would have given where it was saved, bit for bit
    (of one version, on one kind of processor, with the same backend). A map of another form (`n_components`,
    `ndims`, `linear`, encoder) refuses it, and so does one with a given `opu` of another device or seed. Frames are
    never taken twice: a device that has come further than the state goes on from where it is, and its noise is new.
    The empty state of opusim 0.1 is loaded with a warning: the map is fitted on its first batch, as it was then.

    In a network that `torch.compile` makes a graph of, a map is one operator, with no graph break; with an encoder or a
    decoder the graph breaks there.

    A deep copy uses the same device; `close` closes it for all. In a worker of a ``DataLoader`` the map is the
    same device, and every worker counts frames from where the map was copied: workers share the matrix, and the noise
    too, unless each calls ``opu.bench.skip_frames(n)`` with another `n` (in `worker_init_fn`).

    Examples
    --------
    >>> import torch
    >>> from opusim.drivers.projections.torch import OPUMap
    >>> x = torch.rand(5, 100, generator=torch.Generator().manual_seed(0)) > 0.5
    >>> y = OPUMap(n_components=300).fit(x)(x)
    >>> y.shape, y.dtype
    (torch.Size([5, 300]), torch.uint8)
    """

    def __init__(
        self,
        n_components: int,
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
        super().__init__()
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
        self.online = False
        self._check_ndims()
        self._vector_dims = 1 if packed else ndims
        self._register()

    def _register(self) -> None:
        """Take a number by which compiled graphs find this map; what was compiled before is compiled again."""
        self._number = next(_numbers)
        _living[self._number] = self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the number: in a copy, or another process, it stands for another map."""
        return {name: value for name, value in self.__dict__.items() if name != "_number"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore settings and fit; compiled graphs find it under a number of its own."""
        super().__setstate__(state)
        self.__dict__.setdefault("_vector_dims", 1 if self.packed else self.ndims)
        self._register()

    def fit(
        self, X: Any = None, y: Any = None, n_features: Any = None, packed: bool = False, online: bool = False
    ) -> OPUMap:
        """Choose layout and exposure.

        Parameters
        ----------
        X : torch.Tensor or array_like, optional
            0/1 data, or what the encoder takes. For ndims=1: (n_features,), (n, n_features) or
            (batch1, batch2, n_features); for ndims=2, (..., a, b).
        y : object
            Given to the encoder's `fit`, without effect otherwise.
        n_features : int or tuple of int, optional
            Features of a vector as the device gets it, if `X` is not given or is packed in two dimensions.
        packed : bool
            Whether `X` is packed; also if the map's own `packed` is set.
        online : bool
            Whether vectors come one by one. A batch is then sent vector by vector.

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
        bits = self._fit_encoder(None if X is None else as_tensor("X", X), y)
        self._fit_opu(bits, n_features, packed, online)
        self.online = bool(online)
        self._vector_dims = 1 if packed or self.packed else self.ndims
        return self

    def forward(self, input: Any) -> torch.Tensor:
        """Show vectors and return counts, or the linear transform.

        Parameters
        ----------
        input : torch.Tensor or array_like
            Shaped as in the fit; bool, integers or floats, holding 0 and 1. Without a fit before, the map is fitted
            on it, with a warning.

        Returns
        -------
        torch.Tensor
            ``(*batch dimensions, n_components)``, of the camera's type (uint8), or float32 if `linear`; on the input's
            torch device, without a gradient.

        Raises
        ------
        NotReadyError
            If the device is closed. A RuntimeError and an AssertionError.
        TypeError, ValueError
            If the input is not what it may be.
        """
        if torch.compiler.is_compiling():
            if self.encoder is None and self.decoder is None and isinstance(input, torch.Tensor):
                return _show_operator(
                    input.detach(), self._number, self.n_components, self._vector_dims, bool(self.linear)
                )
            # Never seen but with fullgraph=True: else the graph breaks here, and this runs again without a compiler.
            raise NotImplementedError(_NOT_COMPILED)
        return _uncompiled()(self, input)

    def _shown(self, input: Any) -> torch.Tensor:
        x = as_tensor("input", input)
        if not self.fitted:
            warn_outside(NO_FIT, inside=INSIDE)
            self.fit(x)
        n_dims = self._vector_dims
        if not self.online or x.ndim <= n_dims:
            return torch.as_tensor(self._run(x)).detach().to(x.device)
        batch = x.shape[: x.ndim - n_dims]
        rows = x.reshape(-1, *x.shape[x.ndim - n_dims :])
        if not len(rows):
            raise ValueError(f"input has shape {tuple(x.shape)}, but it must hold at least one vector.")
        result = torch.stack([torch.as_tensor(self._run(row)).detach() for row in rows])
        return result.reshape(*batch, result.shape[-1]).to(x.device)

    def _state(self) -> dict[str, Any]:
        return state_of(self)

    def _take_state(self, content: dict[str, Any]) -> None:
        traits = take(self, content)
        self.online = bool(content.get("online", False))
        packed = self.packed if traits is None else traits.packed
        self._vector_dims = 1 if packed else self.ndims
        self._register()

    @property
    def _without_state(self) -> str:
        return (
            "its fit stays in force." if self.fitted else "it will be fitted on the first batch, unless fit is called."
        )

    def extra_repr(self) -> str:
        """Return what `repr` shows of the map.

        Returns
        -------
        str
            The arguments.
        """
        shown = [f"n_components={self.n_components}", f"ndims={self.ndims}"]
        for name in ("packed", "linear", "simulated", "online"):
            if getattr(self, name):
                shown.append(f"{name}=True")
        return ", ".join(shown if self.fitted else [*shown, "not fitted"])


_NOT_COMPILED = (
    "An OPUMap with an encoder or a decoder, or of what is no tensor, has a result whose shape is not known before, so "
    "that no graph can hold it: leave out fullgraph=True, or encode and decode outside of the map."
)


@functools.cache
def _disabled() -> Any:
    return torch.compiler.disable(OPUMap._shown)


def _uncompiled() -> Any:
    """Return what shows an input, in which nothing is compiled. Where nothing is, torch's compiler is not loaded."""
    return _disabled() if "torch._dynamo" in sys.modules else OPUMap._shown


# Two calls of the same input differ by noise: they must not be merged or repeated. A device is in no CUDA graph.
_TAGS: dict[str, Any] = {
    "tags": tuple(
        getattr(torch.Tag, name) for name in ("nondeterministic_seeded", "cudagraph_unsafe") if hasattr(torch.Tag, name)
    )
}


@torch.library.custom_op(
    "opusim_map::show",
    mutates_args=(),
    schema="(Tensor input, int number, SymInt width, int vector_dims, bool linear) -> Tensor",
    **_TAGS,
)
def _show_operator(input: torch.Tensor, number: int, width: int, vector_dims: int, linear: bool) -> torch.Tensor:
    """Return what the map of a number makes of an input, without a gradient."""
    return _map_of(number)._shown(input)


@_show_operator.register_fake
def _(input: torch.Tensor, number: int, width: int, vector_dims: int, linear: bool) -> torch.Tensor:
    counts = np.dtype(_map_of(number).opu.device.output_dtype).name
    dtype = torch.float32 if linear else getattr(torch, counts)
    return input.new_empty((*input.shape[: input.dim() - vector_dims], width), dtype=dtype)


def _map_of(number: int) -> OPUMap:
    found = _living.get(number)
    if found is None:
        raise RuntimeError("The OPUMap of this compiled graph is gone, but it must live as long as the graph is used.")
    return found


class LightonOPUMap(LightonNames, OPUMap):
    """`OPUMap` under lightonml's name; parameters and errors as for `LightonNames`."""

    def reset_parameters(
        self, input: Any, y: Any = None, n_features: Any = None, packed: bool = False, online: bool = False
    ) -> None:
        """Do what `fit` does."""
        self.fit(input, y, n_features, packed, online)
