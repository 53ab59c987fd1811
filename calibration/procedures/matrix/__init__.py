"""The transmission matrix: its patterns, steps, journal and file."""
