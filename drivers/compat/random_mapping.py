"""The map under its first name, of 2018 and 2019, for programs that have not been changed since."""

from __future__ import annotations

from typing import Any

import numpy as np

from opusim.drivers.inputs.traits import HostInput
from opusim.drivers.opu import OPU
from opusim.drivers.projections.sklearn import LightonOPUMap


class OPURandomMapping(LightonOPUMap):
    """`OPUMap` as it was called first: each `fit_transform` fits anew, one vector or a batch.

    Parameters
    ----------
    n_components : int
        Components of an output vector.
    opu : OPU, optional
        The OPU to use; made if not given.
    ndims : {1, 2}
        Dimensions of a vector's features.
    disable_pbar : bool
        Never show a progress bar.

    Notes
    -----
    Public programs call it with keywords only, and use `fit_transform` and `formatting_func`.
    """

    def __init__(
        self, n_components: int = 200000, opu: OPU | None = None, ndims: int = 1, disable_pbar: bool = False
    ) -> None:
        super().__init__(n_components, opu, ndims)
        self.disable_pbar = disable_pbar

    @property
    def disable_pbar(self) -> bool:
        """Never show a progress bar; set on the OPU too, at once."""
        return self._disable_pbar

    @disable_pbar.setter
    def disable_pbar(self, value: bool) -> None:
        self._disable_pbar = value
        for opu in (self.opu, self.__dict__.get("opu_")):
            if opu is not None:
                opu.disable_pbar = bool(value)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit on `X`, then transform it.

        Parameters
        ----------
        X : array_like
            0/1 data, one vector or a batch of them.
        y : object
            Not used.
        **fit_params
            Arguments of `fit`.

        Returns
        -------
        numpy.ndarray
            Counts, (n_components,) or (n_samples, n_components).
        """
        return self.fit(X, **fit_params).transform(X)

    def formatting_func(self, X: Any) -> np.ndarray:
        """Return the mirrors that show vectors, for a look at them.

        Parameters
        ----------
        X : array_like
            0/1 data, as for `transform`; there must be a fit.

        Returns
        -------
        numpy.ndarray
            uint8, 1 for a mirror that is on, or levels of a phase modulator: (1140 * 912,) or (n_samples, 1140 * 912),
            so that ``reshape(1140, 912)`` makes a picture.
        """
        fit = self.opu_._fit if self.fitted else None
        if fit is None:
            raise RuntimeError("OPURandomMapping has no fit yet, so how vectors are shown is not known: fit it first.")
        data = HostInput.from_traits(X, fit.traits)
        data.check_values()
        mirrors = fit.traits.values.patterns(data.bits(0, data.n_samples, fit.bitorder), fit.layout).to_mirrors()
        return data.shape_output(np.swapaxes(mirrors, 1, 2).reshape(len(mirrors), -1))
