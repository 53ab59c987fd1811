"""Direct feedback alignment: networks trained by random projections of their error, made by a device or by arithmetic.

Names of this package are loaded when they are first asked for. The PyTorch part is `opusim.dfa.torch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim._lazy import lazy_names

if TYPE_CHECKING:
    from opusim.dfa.base_trainer import TrainingDivergedError as TrainingDivergedError
    from opusim.dfa.checkpoint import RunFile as RunFile
    from opusim.dfa.checkpoint import read_run as read_run
    from opusim.dfa.error_encoding import BitPlaneEncoding as BitPlaneEncoding
    from opusim.dfa.error_encoding import EncodedErrors as EncodedErrors
    from opusim.dfa.error_encoding import ErrorEncoding as ErrorEncoding
    from opusim.dfa.error_encoding import NearestTernaryEncoding as NearestTernaryEncoding
    from opusim.dfa.error_encoding import SignEncoding as SignEncoding
    from opusim.dfa.error_encoding import TernaryEncoding as TernaryEncoding
    from opusim.dfa.error_encoding import parse_encoding as parse_encoding
    from opusim.dfa.feedback import Costs as Costs
    from opusim.dfa.feedback import Feedback as Feedback
    from opusim.dfa.feedback import GaussianFeedback as GaussianFeedback
    from opusim.dfa.feedback import NoisyFeedback as NoisyFeedback
    from opusim.dfa.history import History as History
    from opusim.dfa.network import MLP as MLP
    from opusim.dfa.optical_feedback import OpticalFeedback as OpticalFeedback
    from opusim.dfa.optimisers import SGD as SGD
    from opusim.dfa.optimisers import Adam as Adam
    from opusim.dfa.trainer import BackpropTrainer as BackpropTrainer
    from opusim.dfa.trainer import DFATrainer as DFATrainer
    from opusim.dfa.trainer import ShallowTrainer as ShallowTrainer

# name -> module of this package that it comes from
_LAZY = {
    "Feedback": ".feedback",
    "Costs": ".feedback",
    "GaussianFeedback": ".feedback",
    "NoisyFeedback": ".feedback",
    "OpticalFeedback": ".optical_feedback",
    "ErrorEncoding": ".error_encoding",
    "EncodedErrors": ".error_encoding",
    "NearestTernaryEncoding": ".error_encoding",
    "TernaryEncoding": ".error_encoding",
    "SignEncoding": ".error_encoding",
    "BitPlaneEncoding": ".error_encoding",
    "parse_encoding": ".error_encoding",
    "RunFile": ".checkpoint",
    "read_run": ".checkpoint",
    "MLP": ".network",
    "SGD": ".optimisers",
    "Adam": ".optimisers",
    "History": ".history",
    "DFATrainer": ".trainer",
    "BackpropTrainer": ".trainer",
    "ShallowTrainer": ".trainer",
    "TrainingDivergedError": ".base_trainer",
}

__all__ = sorted(_LAZY)

__getattr__, __dir__ = lazy_names(__name__, _LAZY)
