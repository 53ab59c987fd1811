"""The low-level device of lightonml's contract, over a bench."""
