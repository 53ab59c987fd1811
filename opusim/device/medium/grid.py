"""The grid of modes: where input cells and output cells lie on it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModeGrid:
    """Where the input cells and the output cells lie on the grid of modes.

    Parameters
    ----------
    side : int
        Grid points along each axis; even, the optical axis is at side / 2.
    input_shape, output_shape : tuple of int
        Cells of the input (mirrors or macro-pixels) and of the output (pixels, times the samples that one
        pixel integrates over), as (rows, columns).
    aperture : float
        Diameter of the round stop at the exit face as a share of the grid's side; 0 for none.
    input_corner, output_corner : tuple of int, optional
        Grid point of the first cell; by default the block is centred on the axis.
    cell_angle_rad : float, optional
        Angle between the light of neighbouring input cells on the layer, as the lens in front of it gives it (the
        difference of the sines); 0 for that of the grid itself, wavelength / (side x step of the layer). A medium with
        a depth takes from it how soon neighbours decorrelate.
    """

    side: int
    input_shape: tuple[int, int]
    output_shape: tuple[int, int]
    aperture: float = 0.0
    input_corner: tuple[int, int] | None = None
    output_corner: tuple[int, int] | None = None
    cell_angle_rad: float = 0.0

    @staticmethod
    def _block(side: int, shape: tuple[int, int], corner: tuple[int, int] | None) -> tuple[slice, slice]:
        first = corner or (side // 2 - shape[0] // 2, side // 2 - shape[1] // 2)
        return slice(first[0], first[0] + shape[0]), slice(first[1], first[1] + shape[1])

    @property
    def input_block(self) -> tuple[slice, slice]:
        """Rows and columns of the grid that the input cells fill."""
        return self._block(self.side, self.input_shape, self.input_corner)

    @property
    def output_block(self) -> tuple[slice, slice]:
        """Rows and columns of the grid that the output cells fill."""
        return self._block(self.side, self.output_shape, self.output_corner)

    def transposed(self) -> ModeGrid:
        """Return the same grid seen from the other side, for building a matrix row by row.

        Returns
        -------
        ModeGrid
            Inputs and outputs have changed places.
        """
        return ModeGrid(
            self.side, self.output_shape, self.input_shape, self.aperture, self.output_corner, self.input_corner,
            self.cell_angle_rad,
        )  # fmt: skip
