"""Procedures that learn about an optical bench by showing patterns and reading frames.

What belongs here sees a device only through the bench protocol (``expose``, the shutter,
the sensor's and the mirrors' shapes), never through the simulation, so that it runs on a
laboratory's bench too. This release has no such procedure yet.
"""
