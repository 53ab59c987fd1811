"""The OPU as a module of PyTorch."""

from __future__ import annotations

from typing import Any

from opusim.base.errors import no_torch, warn_outside
from opusim.drivers.opu import OPU

try:
    import torch
    from torch import nn
except ImportError as error:
    raise no_torch("opusim.drivers.projections.torch", error) from error

from .base import INSIDE, NO_FIT, LightonNames, OpuUser


class OPUMap(OpuUser, nn.Module):
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
        Its `transform` makes bits of the input; without one, the input must be 0 and 1 already. A copy of it is
        kept, and fitted with `X` if it can be.
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

    There are no parameters and no buffers: `state_dict` is empty, `to`, `train` and `eval` change nothing. What a
    trained network needs besides its weights, the device and the seed, is in the arguments, and in a pickle of the
    whole module (`torch.save` of it, `torch.load` with ``weights_only=False``).

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
        bits = self._fit_encoder(None if X is None else _as_tensor(X), y)
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
            # A device is nothing to compile: the graph breaks here, and goes on after it.
            return torch.compiler.disable(self.forward)(input)
        x = _as_tensor(input)
        if not self.fitted:
            warn_outside(NO_FIT, inside=INSIDE)
            self.fit(x)
        n_dims = self._vector_dims
        if not self.online or x.ndim <= n_dims:
            return _as_tensor(self._run(x)).to(x.device)
        batch = x.shape[: x.ndim - n_dims]
        rows = x.reshape(-1, *x.shape[x.ndim - n_dims :])
        if not len(rows):
            raise ValueError(f"input has shape {tuple(x.shape)}, but it must hold at least one vector.")
        result = torch.stack([_as_tensor(self._run(row)) for row in rows])
        return result.reshape(*batch, result.shape[-1]).to(x.device)

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


def _as_tensor(X: Any) -> torch.Tensor:
    """Return `X` as a tensor that no gradient goes through."""
    return torch.as_tensor(X).detach()


class LightonOPUMap(LightonNames, OPUMap):
    """`OPUMap` under lightonml's name; parameters and errors as for `LightonNames`."""

    def reset_parameters(
        self, input: Any, y: Any = None, n_features: Any = None, packed: bool = False, online: bool = False
    ) -> None:
        """Do what `fit` does."""
        self.fit(input, y, n_features, packed, online)
