"""How a worker gets a bench: it makes it from a recipe, once, and keeps it.

A recipe is settings alone, no matrix. Benches of OPUs in this process are found again by what they are made from.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import opusim
from opusim.base.locks import after_fork, new_lock

if TYPE_CHECKING:
    from opusim.bench.bench import OpticalBench

# Benches that a process makes and keeps, each with matrices of its own.
_KEPT_BENCHES = 2


class _Benches:
    """Benches of this process by what they are made from: those of its OPUs, and some that were made for jobs."""

    def __init__(self) -> None:
        self.lock = new_lock()
        self.of_opus: WeakValueDictionary[Any, OpticalBench] = WeakValueDictionary()
        self.made: OrderedDict[Any, OpticalBench] = OrderedDict()


_benches = _Benches()


def _forget_benches() -> None:
    global _benches
    _benches = _Benches()


# Another thread may have been in the middle of making one.
after_fork(_forget_benches)


@dataclass(frozen=True)
class BenchRecipe:
    """What a bench is made from in another process, so that it gives the same counts there.

    Attributes
    ----------
    device : Device
        The device; the path of a measured matrix is absolute.
    seed : int
        Its seed.
    execution : str
        As the bench was told.
    memory_budget : int
        What the first bench reckoned with: it decides between matrix and waves, whose last bits differ.
    fingerprint : str
        Of the device where the recipe was written.
    version : str
        Of opusim there.
    backend : str
        What the bench computes with; a worker that lacks it says so.
    frequency_shift : float
        Of the light to the medium, by tuning and surroundings (`OpticalBench.frequency_shift`), when it was written.
    """

    device: Any
    seed: int
    execution: str
    memory_budget: int
    fingerprint: str
    version: str
    backend: str = "auto"
    frequency_shift: float = 0.0

    @classmethod
    def of(cls, bench: Any) -> BenchRecipe:
        """Return the recipe of a bench.

        Raises
        ------
        TypeError
            If it is another kind of bench than `OpticalBench`.
        """
        from opusim.bench.bench import OpticalBench

        if type(bench) is not OpticalBench:
            raise TypeError(
                f"X is a Dask array, but the bench behind this OPU is a {type(bench).__name__}, which workers cannot "
                "make anew: it must be an opusim.bench.OpticalBench. Use X.compute()."
            )
        medium = bench.device.medium.anywhere()
        device = bench.device if medium is bench.device.medium else bench.device.evolve(medium=medium)
        return cls(
            device, bench.seed, bench.execution, bench.memory_budget, device.fingerprint(), opusim.__version__,
            bench.backend, bench.frequency_shift,
        )  # fmt: skip

    def offer(self, bench: OpticalBench) -> None:
        """Let `bench` be what the recipe gives in this process, as long as somebody else keeps it.

        Parameters
        ----------
        bench : OpticalBench
            The one that the recipe is of.
        """
        with _benches.lock:
            _benches.of_opus[self._key] = bench

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.fingerprint, self.seed, self.execution, self.memory_budget, self.backend, self.frequency_shift

    def bench(self) -> OpticalBench:
        """Return a bench: that of an OPU in this process, one that is kept, or a new one that uses one thread.

        Raises
        ------
        RuntimeError
            If this process has another version of opusim, or another file of a measured matrix.
        """
        from opusim.bench.bench import OpticalBench

        kept = _benches
        with kept.lock:
            bench = kept.of_opus.get(self._key)
            if bench is None or bench.frequency_shift != self.frequency_shift:  # it may have been tuned since
                bench = kept.made.get(self._key)
            if bench is None:
                if self.version != opusim.__version__:
                    raise RuntimeError(
                        f"This worker has opusim {opusim.__version__}, but the lazy array was made with opusim "
                        f"{self.version}: they must be the same."
                    )
                if self.device.fingerprint() != self.fingerprint:
                    raise RuntimeError(
                        f"The device {self.device.name!r} is not the same on this worker: "
                        f"{self.device.told_beside_fields()}."
                    )
                # One thread: a worker has as many tasks at a time as it may use processors.
                device = self.device
                if self.frequency_shift:
                    device = device.evolve(medium=device.medium.shifted(self.frequency_shift))
                bench = OpticalBench(
                    device, self.seed, execution=self.execution, memory_budget=self.memory_budget, threads=1,
                    backend=self.backend,
                )  # fmt: skip
                kept.made[self._key] = bench
                while len(kept.made) > _KEPT_BENCHES:
                    kept.made.popitem(last=False)
            elif self._key in kept.made:
                kept.made.move_to_end(self._key)
            return bench
