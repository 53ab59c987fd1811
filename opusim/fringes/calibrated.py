"""What the calibration of a linear transform takes and leaves out; budgets of noise reckon with the same numbers."""

__all__ = ["CLIPPED_SHARE", "DARK_FRAMES", "LEAST_REFERENCE", "REFERENCE_FRAMES"]

#: Frames of the reference alone, and of the dark: their noise is below that of one measurement by the root of it.
REFERENCE_FRAMES, DARK_FRAMES = 64, 32
#: Share of bursts with a saturated frame at the exposure that is sought: their fields are saved by the other frames and
#: the known reference.
CLIPPED_SHARE = 0.07
#: Below this share of the mean ``|R|^2`` a pixel is left out.
LEAST_REFERENCE = 0.05
