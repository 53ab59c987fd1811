"""Direct feedback alignment: networks trained by random projections of their error, made by a device or by arithmetic.

Names of this package are loaded when they are first asked for. The PyTorch part is `opusim.dfa.torch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opusim.base.lazy_names import lazy_names

if TYPE_CHECKING:
    from .base_trainer import TrainingDivergedError as TrainingDivergedError
    from .checkpoint import RunFile as RunFile
    from .checkpoint import read_run as read_run
    from .error_encoding import BitPlaneEncoding as BitPlaneEncoding
    from .error_encoding import EncodedErrors as EncodedErrors
    from .error_encoding import ErrorEncoding as ErrorEncoding
    from .error_encoding import NearestTernaryEncoding as NearestTernaryEncoding
    from .error_encoding import SignEncoding as SignEncoding
    from .error_encoding import TernaryEncoding as TernaryEncoding
    from .error_encoding import parse_encoding as parse_encoding
    from .feedback import Costs as Costs
    from .feedback import Feedback as Feedback
    from .feedback import GaussianFeedback as GaussianFeedback
    from .feedback import NoisyFeedback as NoisyFeedback
    from .history import History as History
    from .network import MLP as MLP
    from .optical_feedback import OpticalFeedback as OpticalFeedback
    from .optimisers import SGD as SGD
    from .optimisers import Adam as Adam
    from .trainer import BackpropTrainer as BackpropTrainer
    from .trainer import DFATrainer as DFATrainer
    from .trainer import ShallowTrainer as ShallowTrainer

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
