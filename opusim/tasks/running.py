"""What the examples share: the wall time of a run, and the options that choose a feedback."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opusim.dfa.error_encoding import parse_encoding
from opusim.dfa.feedback import Costs, Feedback, GaussianFeedback

FeedbackFactory = Callable[[int, int], Feedback]
"""(n_classes, width) -> Feedback: a program asks for the feedback that its network needs."""

METHODS = ("backprop", "dfa", "shallow")
"""Blocks trained by backpropagation, by projected errors, or not at all."""


@dataclass(frozen=True)
class WallTime:
    """Where the time of a training went, in seconds; reading data and making model and feedback are before it.

    Attributes
    ----------
    network_s : float
        All but what follows: forward, backward, optimiser, evaluation.
    encoding_s : float
        Encoding errors as patterns of bits.
    projection_s : float
        Projecting them; for an `OpticalFeedback` the simulated device.
    total_s : float
        The sum.
    """

    network_s: float
    encoding_s: float
    projection_s: float
    total_s: float

    @classmethod
    def since(cls, start: float, costs: Costs | None) -> WallTime:
        """Return the split of a training with a new feedback, or none, that began at `start` (`time.perf_counter`)."""
        total = time.perf_counter() - start
        encoding, projection = (costs.encoding_s, costs.projection_s) if costs else (0.0, 0.0)
        return cls(total - encoding - projection, encoding, projection, total)


def check_method(method: str, feedback: FeedbackFactory | None) -> None:
    """Raise a ValueError if `method` is not one of `METHODS`, or has a feedback where it needs none or none at all."""
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, but it must be one of {', '.join(map(repr, METHODS))}.")
    if (method == "dfa") != (feedback is not None):
        raise ValueError(
            f"method is {method!r} and feedback is {'not ' if feedback is None else ''}given, but a feedback goes with "
            "the method 'dfa', and only with it."
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a feedback to a parser."""
    parser.add_argument("--feedback", choices=("optical", "gaussian", "backprop", "shallow"), default="gaussian")
    parser.add_argument("--encoding", default="ternary", help="as of `opusim train`, or float (%(default)s)")
    parser.add_argument("--device", default="aurora", help="preset or TOML file of the optical device (%(default)s)")
    parser.add_argument("--averages", type=int, default=1, help="how often the device shows each pattern (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of network, feedback and device (%(default)s)")


@contextmanager
def chosen(options: argparse.Namespace) -> Iterator[tuple[str, FeedbackFactory | None]]:
    """Give the method and the feedback of `add_options`; close the device at the end."""
    if options.feedback not in ("optical", "gaussian"):
        yield options.feedback, None
        return
    encoding = parse_encoding(options.encoding)
    if options.feedback == "gaussian":
        yield "dfa", lambda n_classes, width: GaussianFeedback(n_classes, width, seed=options.seed, encoding=encoding)
        return

    from opusim import OPU
    from opusim.dfa.optical_feedback import OpticalFeedback

    if encoding is None:
        raise ValueError("encoding is 'float', but an optical device shows bits: 'ternary:0.1', 'sign' or 'bits:4'.")
    opened = []

    def optical(n_classes: int, width: int) -> Feedback:
        opu = OPU(n_components=width, device=options.device, seed=options.seed, disable_pbar=True)
        opened.append(opu)
        return OpticalFeedback(opu, width, n_classes=n_classes, encoding=encoding, averages=options.averages)

    try:
        yield "dfa", optical
    finally:
        for opu in opened:
            opu.close()


def summary(costs: Costs | None, time_split: WallTime) -> str:
    """Return one line about time and costs."""
    text = f"{time_split.total_s:.1f} s: network {time_split.network_s:.1f}"
    if costs is None:
        return text
    text += f", encoding {time_split.encoding_s:.1f}, projection {time_split.projection_s:.1f}; {costs.vectors} errors"
    if costs.device_s is not None and costs.device_j is not None:
        text += f"; the device: {costs.frames} frames, {costs.device_s:.1f} s, {costs.device_j:.0f} J"
    return text
