"""Arithmetic on frames that are there: fits, statistics, masks. None of it shows a pattern."""
