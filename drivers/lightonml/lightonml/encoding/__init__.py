"""Encoders, which make bits of data, and decoders of the outputs."""
