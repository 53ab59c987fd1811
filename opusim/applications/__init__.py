"""Algorithms on anything that projects; none of them knows a data set or makes an OPU."""
