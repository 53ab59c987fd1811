"""Dask arrays in, lazy Dask arrays out: transforms that are computed in parts, by whoever and whenever.

What a part is, and why its numbers are those of one call in one process, is told in `opusim.drivers.acquire`.
"""

from __future__ import annotations

import inspect
import math
import sys
import uuid
import warnings
from typing import Any, NamedTuple, Protocol

import numpy as np

from opusim.base.carried import Carried
from opusim.base.errors import CallError, CoderError

from .traits import HostInput, InputTraits, UserInput, as_numpy

# Bytes of input, frames and result of one task; larger chunks are split.
_TASK_BYTES = 32 << 20


class Bits(NamedTuple):
    """A Dask array of bits: as the user gave it, or as an encoder will make it.

    Attributes
    ----------
    array : dask.array.Array
        The bits.
    group : int
        Vectors of bits that belong to one vector of the user's.
    """

    array: Any
    group: int = 1


class PartTask(Protocol):
    """What workers do with a Dask array of vectors."""

    def __call__(self, x: np.ndarray, first: int, shared: Any) -> np.ndarray:
        """Return the results of some vectors (n, features or bytes), of which the first one is number `first`."""
        ...

    def share(self) -> Any:
        """Return what all parts need, and one worker makes before."""
        ...


def is_lazy(X: Any) -> bool:
    """Whether `X` is a Dask array, or what `encode` made of one; Dask is not imported for it."""
    array = sys.modules.get("dask.array")  # a Dask array can exist only if this was imported
    return isinstance(X, Bits) or (array is not None and isinstance(X, array.Array))


class LazyInput(UserInput):
    """A batch of vectors in a Dask array. Shape and type are checked at once, values when they are computed.

    Parameters
    ----------
    bits : Bits or dask.array.Array
        The vectors.
    traits : InputTraits
        Features of a vector, packed or not.

    Raises
    ------
    TypeError, ValueError
        As from `UserInput`; a ValueError if chunks have no known size.
    """

    def __init__(self, bits: Any, traits: InputTraits) -> None:
        self.array, self.group = as_bits(bits)
        super().__init__(self.array.shape, self.array.dtype, traits)

    def count_ones(self) -> float | None:
        """Return the mean number of ones of a vector; this computes the array, and checks it. None of levels."""
        if not self.traits.values.binary:
            return None
        import dask.array as da

        x = self._matrix()
        counts = da.map_blocks(
            Carried(_ones), x, traits=Carried(self.traits.flat), shape=self.shape, dtype=np.int64,
            meta=np.empty((0, 0), np.int64), chunks=((1,) * x.numblocks[0], (1,)), name=_name("ones"),
        )  # fmt: skip
        return int(_computed(counts.sum())) / self.n_samples

    def like_input(self, Y: Any) -> Any:
        """Return the result as it is: lazy."""
        return Y

    def later(
        self,
        task: PartTask,
        dtype: Any,
        n_out: int,
        bytes_per_vector: int,
        align: int = 1,
    ) -> Any:
        """Return the lazy result of a task.

        Parameters
        ----------
        task : PartTask
            What workers do with the vectors; it is pickled.
        dtype : dtype
            Of the result.
        n_out : int
            Outputs of a vector.
        bytes_per_vector : int
            Frames and result of a vector.
        align : int
            Vectors that must be shown together, counted from the first one.

        Returns
        -------
        dask.array.Array
            (*batch_shape, n_out), its last axis in one chunk.
        """
        import dask
        import dask.array as da

        align = math.lcm(align, self.group)
        most = task_vectors(bytes_per_vector + self.traits.n_features_total, align)
        x = self._matrix()
        x = x.rechunk({0: _chunks(x.chunks[0], most, align)})
        # A key of its own: sent to each worker once, not with each task.
        sent = dask.delayed(Carried(task), name=_name("task"), traverse=False)
        shared = dask.delayed(Carried(_share), name=_name("share"), pure=False)(sent, dask_key_name=_name("shared"))
        result = da.map_blocks(
            Carried(_show), x, task=sent, shared=shared, dtype=dtype, meta=np.empty((0, 0), dtype),
            chunks=(x.chunks[0], (n_out,)), name=_name("transform"),
        )  # fmt: skip
        return self.shape_output(result)

    def _matrix(self) -> Any:
        """Vectors one after the other, (n_samples, features or bytes), those of a chunk complete."""
        x, n_batch = _as_declared(self.array), len(self.batch_shape)
        x = x.rechunk({axis: -1 for axis in range(min(1, n_batch), x.ndim)})
        x = x.reshape(self.n_samples, math.prod(self.traits.vector_shape))
        return x.rechunk({0: tuple(c for c in x.chunks[0] if c)})


def task_vectors(bytes_per_vector: int, align: int = 1) -> int:
    """Return how many vectors a task takes at most: a multiple of `align`, of 32 MiB if that is one.

    Parameters
    ----------
    bytes_per_vector : int
        Input, frames and result of a vector.
    align : int
        Vectors that must be shown together.
    """
    return max(1, _TASK_BYTES // bytes_per_vector // align) * align


def encode(X: Any, encoder: Any, decoder_cls: Any) -> Bits:
    """Return what an encoder will make of a Dask array, part by part.

    Raises
    ------
    CoderError
        If encoder or decoder may look at all vectors together, or the encoder changes the number of dimensions. A
        TypeError.
    ValueError
        If chunks have no known size, or `X` has no dimension for the vectors.
    """
    _check_by_vector("encoder_cls", encoder)
    _check_by_vector("decoder_cls", decoder_cls)
    if encoder is None:
        return Bits(X)
    import dask.array as da

    check_chunks(X)
    if X.ndim < 2 or 0 in X.shape:
        raise CallError(
            f"X has shape {X.shape}, but a Dask array for an encoder must hold vectors along its first axis."
        )
    one = _probe(encoder, np.zeros((1, *X.shape[1:]), dtype=X.dtype))
    if one.ndim != X.ndim or not len(one):
        raise CoderError(
            f"encoder_cls is {encoder!r}, which makes the shape {one.shape} of one vector, but on a Dask array it must "
            "keep the number of dimensions."
        )
    x = _as_declared(X)
    x = x.rechunk({0: tuple(c for c in X.chunks[0] if c), **{axis: -1 for axis in range(1, X.ndim)}})
    chunks = (tuple(len(one) * c for c in x.chunks[0]), *((n,) for n in one.shape[1:]))
    encoded = da.map_blocks(
        Carried(_coded), x, coder=Carried(encoder), chunks=chunks, dtype=one.dtype, meta=one[:0], name=_name("encode")
    )  # fmt: skip
    return Bits(encoded, len(one))


def decode(values: Any, decoder: Any, group: int) -> Any:
    """Return what a decoder will make of a lazy result, part by part.

    Parameters
    ----------
    values : dask.array.Array
        (n, n_out), chunks of multiples of `group`.
    decoder : object
        Its `transform` is called.
    group : int
        Rows that belong to one vector of the user's.
    """
    import dask.array as da

    if values.ndim != 2:
        raise CallError(
            f"The result has {values.ndim} dimensions, but a decoder of a Dask array takes (rows, outputs)."
        )
    one = _probe(decoder, np.zeros((group, values.shape[1]), dtype=values.dtype))
    chunks = (tuple(c // group * len(one) for c in values.chunks[0]), *((n,) for n in one.shape[1:]))
    return da.map_blocks(
        Carried(_coded), values, coder=Carried(decoder), chunks=chunks, dtype=one.dtype, meta=one[:0],
        name=_name("decode"),
    )  # fmt: skip


def _check_by_vector(name: str, coder: Any) -> None:
    """Raise a CoderError unless `coder`, an object or a class, encodes or decodes each vector by itself."""
    if coder is not None and not _is_by_vector(coder):
        raise CoderError(
            f"{name} is {coder!r}, which may look at all vectors together, but of a Dask array it would see one part "
            "at a time: use one that takes each vector by itself. An own one that does so says it by an attribute "
            "by_vector = True."
        )


def _is_by_vector(coder: Any) -> bool:
    """Whether a coder says that it goes by vector; what a class says does not hold for another `transform` below it."""
    if not inspect.isclass(coder) and "by_vector" in getattr(coder, "__dict__", {}):
        return coder.by_vector is True
    for kind in (coder if inspect.isclass(coder) else type(coder)).__mro__:
        if "by_vector" in vars(kind):
            return coder.by_vector is True
        if "transform" in vars(kind):
            return False
    return getattr(coder, "by_vector", False) is True  # such as one that passes on what it wraps


def _probe(coder: Any, one: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zeros that nobody asked for
        return np.asarray(coder.transform(one))


def as_bits(X: Any) -> Bits:
    """Return a Dask array of bits, or what `encode` made, as `Bits`, after a look at what can be told of it now."""
    bits = X if isinstance(X, Bits) else Bits(X)
    check_chunks(bits.array)
    return bits


def check_chunks(X: Any) -> None:
    """Raise a sentence if the parts of a Dask array are no ordinary arrays, or their sizes are not known."""
    as_numpy(X._meta)
    if any(math.isnan(n) for n in X.shape):
        raise ValueError(
            f"X is a Dask array of shape {X.shape}, but the sizes of its chunks must be known: call "
            "X.compute_chunk_sizes() before."
        )


def _as_declared(X: Any) -> Any:
    """Return a Dask array whose blocks are looked at, before they are cut: others would shift the vectors behind."""
    import dask.array as da

    return da.map_blocks(Carried(_checked_shape), X, dtype=X.dtype, meta=X._meta, name=_name("shape"))


def _chunks(given: tuple[int, ...], most: int, align: int) -> tuple[int, ...]:
    """Return sizes of chunks: those given, edges put on multiples of `align`, none above `most`.

    Parameters
    ----------
    given : tuple of int
        Sizes.
    most : int
        A multiple of `align`.
    align : int
        What every edge but the last is a multiple of.
    """
    n = sum(given)
    edges = sorted({0, n, *(min(n, -(-int(e) // align) * align) for e in np.cumsum(given))})
    sizes: list[int] = []
    for a, b in zip(edges, edges[1:], strict=False):
        pieces = -(-(b - a) // most)
        size = -(-(b - a) // (pieces * align)) * align
        sizes += [min(size, b - start) for start in range(a, b, size)]
    return tuple(sizes)


def _computed(array: Any) -> Any:
    """Compute with the client that holds parts of an array, if one does: it need not be the default one."""
    distributed = sys.modules.get("distributed")  # parts can be held only if this was imported
    futures = distributed.futures_of(array) if distributed is not None else []
    return array.compute(scheduler=futures[0].client) if futures else array.compute()


def _name(what: str) -> str:
    """Return a name that no other array has: one shown again has other frames."""
    return f"opu-{what}-{uuid.uuid4().hex}"


# ---------------------------------------------------------------- what workers call, carried there with its arguments


def _first(block_info: Any) -> int:
    return int(block_info[0]["array-location"][0][0])


def _show(x: np.ndarray, task: Any, shared: Any, block_info: Any = None) -> np.ndarray:
    return task(x, _first(block_info), None if shared is None else shared.load())


def _share(task: Any) -> Any:
    shared = task.load().share()
    return None if shared is None else Carried(shared)


def _checked_shape(x: Any, block_info: Any = None) -> Any:
    place = block_info[0]["array-location"]
    declared, shape = tuple(int(b - a) for a, b in place), np.shape(x)
    if shape != declared:
        at = ", ".join(f"{a}:{b}" for a, b in place)
        raise ValueError(
            f"X is a Dask array whose block [{at}] has shape {shape}, but it was declared with {declared}: what makes "
            "the blocks must give those that X.chunks tells (of da.map_blocks: chunks=...)."
        )
    return x


def _coded(x: np.ndarray, coder: Any, block_info: Any = None) -> np.ndarray:
    made, declared = np.asarray(coder.load().transform(x)), tuple(map(int, block_info[None]["chunk-shape"]))
    if made.shape != declared:
        raise CoderError(
            f"{coder.load()!r} made the shape {made.shape} of a block of shape {x.shape}, but as of a single vector it "
            f"must be {declared}."
        )
    return made


def _ones(x: np.ndarray, traits: Any, shape: tuple[int, ...], block_info: Any = None) -> np.ndarray:
    data = HostInput.from_traits(x, traits.load())
    data.check_values(_first(block_info), shape)
    mean = data.count_ones()
    assert mean is not None, "levels are not counted"
    return np.array([[round(mean * data.n_samples)]], dtype=np.int64)
