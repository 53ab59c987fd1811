"""Other people's software at our bench, and their instruments as a bench of ours.

A file for each package, which is imported with it and not before: ``pip install "opusim[openwfs]"`` and its like.
`opusim.adapters.instruments` is what they have in common, and needs none of them:

- `~opusim.adapters.instruments.Instruments` takes any bench apart into a modulator that holds a picture and a camera
  that takes frames of it, as such software wants them;
- `~opusim.adapters.instruments.OneByOneBench` makes a bench of a modulator and a camera that are triggered by software,
  a picture after the other. `opusim.calibration` and an `opusim.OPU` take it as any other.
"""
