"""Dask arrays in, lazy Dask arrays out: transforms that are computed in parts, by whoever and whenever.

Frames and their time are reserved when the lazy array is made (`lazy_jobs.Passes`), so that its numbers are those of
one call in one process, bit for bit, whatever the chunks, the workers, and however often it is computed.
"""

from __future__ import annotations

import inspect
import math
import sys
import uuid
import warnings
from typing import Any, NamedTuple

import numpy as np

from opusim.base.errors import CallError, CoderError
from opusim.drivers.methods.base import Job

from .traits import InputTraits, UserInput, as_numpy, describe_fit

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
        given = _as_bits(bits)
        super().__init__(_stand_in(given.array), traits)
        self.lazy, self.group = given

    def check_binary(self, first: int = 0, shape: tuple[int, ...] | None = None) -> None:
        """Do nothing: each part is checked when it is computed."""

    def count_ones(self) -> float:
        """Return the mean number of ones of a vector; this computes the array."""
        import dask.array as da

        x = self._matrix()
        counts = da.map_blocks(
            _ones, x, traits=_flat(self.traits), shape=self.array.shape, dtype=np.int64,
            meta=np.empty((0, 0), np.int64), chunks=((1,) * x.numblocks[0], (1,)), name=_name("ones"),
        )  # fmt: skip
        return int(_computed(counts.sum())) / self.n_samples

    def bits(self, start: int, stop: int, bitorder: str = "big") -> np.ndarray:
        """Raise a TypeError: bits are there only when they are computed."""
        raise TypeError("The vectors are a Dask array, which is not computed here.")

    def shown(self, job: Job, dtype: Any, bytes_per_vector: int, align: int = 1) -> Any:
        """Return the lazy result of a job.

        Parameters
        ----------
        job : Job
            What workers do with the vectors.
        dtype : dtype
            Of the result.
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
        most = task_vectors(bytes_per_vector + self.traits.n_features_s, align)
        x = self._matrix()
        x = x.rechunk({0: _chunks(x.chunks[0], most, align)})
        # A key of its own: sent to each worker once, not with each task.
        shared_job = dask.delayed(job, name=_name("job"), traverse=False)
        shared = dask.delayed(_share, pure=False)(shared_job, dask_key_name=_name("shared"))
        result = da.map_blocks(
            _show, x, job=shared_job, shared=shared, dtype=dtype, meta=np.empty((0, 0), dtype),
            chunks=(x.chunks[0], (job.n_out,)), name=_name("transform"),
        )  # fmt: skip
        return result.reshape(*self.batch_shape, job.n_out)

    def _matrix(self) -> Any:
        """Vectors one after the other, (n_samples, features or bytes), those of a chunk complete."""
        x, n_batch = self.lazy, len(self.batch_shape)
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


def describe_lazy_fit(X: Any, n_features: Any, packed: bool, is_2d: bool) -> tuple[InputTraits, UserInput | None]:
    """Do what `describe_fit` does for data in a Dask array."""
    bits = _as_bits(X)
    traits, _ = describe_fit(_stand_in(bits.array), n_features, packed, is_2d)
    return traits, LazyInput(bits, traits)


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

    stand_in = _stand_in(X)
    if X.ndim < 2 or 0 in X.shape:
        raise CallError(
            f"X has shape {stand_in.shape}, but a Dask array for an encoder must hold vectors along its first axis."
        )
    one = _probe(encoder, np.zeros((1, *X.shape[1:]), dtype=X.dtype))
    if one.ndim != X.ndim or not len(one):
        raise CoderError(
            f"encoder_cls is {encoder!r}, which makes the shape {one.shape} of one vector, but on a Dask array it must "
            "keep the number of dimensions."
        )
    x = X.rechunk({0: tuple(c for c in X.chunks[0] if c), **{axis: -1 for axis in range(1, X.ndim)}})
    chunks = (tuple(len(one) * c for c in x.chunks[0]), *((n,) for n in one.shape[1:]))
    encoded = da.map_blocks(
        _coded, x, coder=encoder, chunks=chunks, dtype=one.dtype, meta=one[:0], name=_name("encode")
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
        _coded, values, coder=decoder, chunks=chunks, dtype=one.dtype, meta=one[:0], name=_name("decode")
    )  # fmt: skip


def _check_by_vector(name: str, coder: Any) -> None:
    """Raise a CoderError unless `coder`, an object or a class, encodes or decodes each vector by itself."""
    if coder is None:
        return
    from opusim import encoding as known

    kind = coder if inspect.isclass(coder) else type(coder)
    by_vector = getattr(coder, "by_vector", None)
    if by_vector is None:
        by_vector = kind in (
            known.NoEncoding, known.NoDecoding, known.BinaryThresholdEncoder, known.MultiThresholdEncoder,
            known.SequentialBaseTwoEncoder, known.ConcatenatedBitPlanEncoder, known.Float32Encoder,
            known.ConcatenatedFloat32Encoder, known.MixingBitPlanDecoder, known.ConcatenatingBitPlanDecoder,
        )  # fmt: skip
    if kind is known.SeparatedBitPlanEncoder:
        # Bits of integers as they are; with `precision`, numbers are scaled by the largest of the batch.
        by_vector = hasattr(coder, "n_bits")
    if not by_vector:
        raise CoderError(
            f"{name} is {coder!r}, which may look at all vectors together, but of a Dask array it would see one part "
            "at a time: use one that takes each vector by itself. An own one that does so says it by an attribute "
            "by_vector = True."
        )


def _probe(coder: Any, one: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zeros that nobody asked for
        return np.asarray(coder.transform(one))


def _as_bits(X: Any) -> Bits:
    return X if isinstance(X, Bits) else Bits(X)


def _stand_in(X: Any) -> np.ndarray:
    """Return an array of the shape and type of a Dask array that takes no memory, for the checks that arrays pass."""
    as_numpy(X._meta)
    if any(math.isnan(n) for n in X.shape):
        raise ValueError(
            f"X is a Dask array of shape {X.shape}, but the sizes of its chunks must be known: call "
            "X.compute_chunk_sizes() before."
        )
    return np.broadcast_to(np.zeros((), dtype=X.dtype), X.shape)


def _flat(traits: InputTraits) -> InputTraits:
    """Return the traits of vectors that were made flat."""
    return traits if traits.packed else InputTraits((traits.n_features_s,))


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


# ---------------------------------------------------------------- what workers call


def _first(block_info: Any) -> int:
    return int(block_info[0]["array-location"][0][0])


def _show(x: np.ndarray, job: Job, shared: Any, block_info: Any = None) -> np.ndarray:
    return job(x, _first(block_info), shared)


def _share(job: Job) -> Any:
    return job.share()


def _coded(x: np.ndarray, coder: Any) -> np.ndarray:
    return np.asarray(coder.transform(x))


def _ones(x: np.ndarray, traits: InputTraits, shape: tuple[int, ...], block_info: Any = None) -> np.ndarray:
    data = UserInput.from_traits(x, traits)
    data.check_binary(_first(block_info), shape)
    return np.array([[round(data.count_ones() * data.n_samples)]], dtype=np.int64)
