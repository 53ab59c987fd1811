"""A batch whose frames are taken at once, and whose vectors are shown in parts: by several processes, in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from opusim.base import validation
from opusim.base.parts import Part
from opusim.drivers.inputs.traits import HostInput, InputTraits

from .acquire import Task


@dataclass
class Batch:
    """Frames of a batch of vectors, which are shown a part at a time; `OPU.batch` makes it.

    The result of some vectors is that of the whole batch in one call, bit for bit, whoever computes it, in whatever
    order, and each time again. It may be pickled: it holds settings and numbers of frames, no matrix.

    Parameters
    ----------
    task : Task
        What is done with the vectors.
    traits : InputTraits
        Features of a vector, packed or not.
    scale : float
        What results are divided by; 1 leaves them as they are.

    Attributes
    ----------
    n_vectors : int
        Vectors of the whole batch.
    block : int
        Vectors that are shown together, counted from the first: parts begin and end there. 1 but for holography.
    """

    task: Task
    traits: InputTraits
    scale: float = 1.0
    _shared: list[Any] = field(default_factory=list, init=False, repr=False)

    @property
    def n_vectors(self) -> int:
        """Vectors of the whole batch."""
        return self.task.passes.n_vectors

    @property
    def block(self) -> int:
        """Vectors that are shown together, counted from the first."""
        return 1 if self.task.method.parted else self.task.passes.size

    def rows(self, part: str | Part) -> slice:
        """Return which vectors are those of one of several parts.

        Parameters
        ----------
        part : str or Part
            Number and count, as "2/4", from 1 on; or "slurm", in a task of a job array (`Part.parse`).

        Returns
        -------
        slice
            Whole blocks, for all parts together every vector once. Empty for some if there are more parts than blocks.
        """
        blocks = Part.parse(part).rows(-(-self.n_vectors // self.block))
        return slice(*(min(self.n_vectors, n * self.block) for n in (blocks.start, blocks.stop)))

    def __repr__(self) -> str:
        """Say how many vectors there are."""
        return f"Batch({self.n_vectors} vectors of {self.traits.shown} features, {self.task.n_out} outputs)"

    def transform(self, X: Any, first: int, before: Any = None) -> np.ndarray:
        """Show some vectors of the batch.

        Parameters
        ----------
        X : array_like, shape (n, features)
            Some vectors of the batch, one after the other, as for the `OPU` that made it: (n, a, b) for features in
            two dimensions, (n, bytes) for packed ones. 0 and 1.
        first : int
            Which vector of the batch the first of them is, from 0 on.
        before : array_like, shape (1, features), optional
            The vector of the batch right before the first of them, for a camera whose frames are read with electrons of
            the one before (``camera.lag``). Others do not look at it.

        Returns
        -------
        ndarray, shape (n, outputs)
            Their rows of the result of the whole batch.

        Raises
        ------
        TypeError, ValueError
            If `X` or `before` is not what it may be, there are no such vectors in the batch, or the camera lags and
            `before` is left out.
        """
        first = validation.integer("first", first, low=0, high=self.n_vectors - 1)
        data = HostInput.from_traits(X, self.traits)
        if len(data.batch_shape) != 1:
            raise ValueError(f"X has shape {data.shape}, but it must hold vectors one after the other.")
        n = data.n_samples
        if first + n > self.n_vectors:
            raise ValueError(
                f"X holds {n} vectors and first is {first}, but the batch has {self.n_vectors}: it ends before."
            )
        block, end = self.block, first + n
        if first % block or (end % block and end != self.n_vectors):
            raise ValueError(
                f"X holds the vectors {first} to {end - 1} of the batch, but this transform shows {block} together: a "
                f"part must begin and end at a multiple of {block}, or at the end of the batch (`rows` gives such)."
            )
        rows = np.asarray(data.array).reshape(n, -1)
        last = self._before(before, first) if self.task.lags and n else None
        if not self._shared:
            self._shared.append(self.task.share())
        found = self.task(rows, first, self._shared[0], last)
        return found if self.scale == 1.0 else found / np.float32(self.scale)

    def _before(self, before: Any, first: int) -> np.ndarray | None:
        """Return the vector before the first one of a part as the task takes it; None where there is none."""
        if not first:
            return None
        if before is None:
            raise ValueError(
                f"before is None, but with camera.lag above 0 the frame of vector {first} is read with electrons of "
                f"the one before it: it must be vector {first - 1} of the batch, as an array of one vector."
            )
        data = HostInput.from_traits(before, self.traits)
        if len(data.batch_shape) != 1 or data.n_samples != 1:
            raise ValueError(f"before has shape {data.shape}, but it must hold one vector, as X does.")
        return np.asarray(data.array).reshape(1, -1)
