"""ViALUX's ALP board with micromirrors, simulated: what the stand-in for the module ALP4 drives.

`Board` is the electronics: its memory, sequences, their times, and what is shown when. `Library` has the calls of the
maker's library, over a board. `Table` puts a board on an `opusim.OpticalBench`, and takes frames of what it shows.
`opusim.adapters.alp4` is what programs use of it.
"""
