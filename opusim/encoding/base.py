"""All encoders and decoders in one place, as in ``lightonml.encoding.base``."""

from __future__ import annotations

from .base_two import SequentialBaseTwoEncoder
from .bit_planes import ConcatenatedBitPlanEncoder, ConcatenatingBitPlanDecoder, MixingBitPlanDecoder
from .float_bits import ConcatenatedFloat32Encoder, Float32Encoder
from .separated_planes import SeparatedBitPlanDecoder, SeparatedBitPlanEncoder
from .thresholds import BinaryThresholdEncoder, MultiThresholdEncoder
from .transformer import BaseTransformer, NoDecoding, NoEncoding, preserve_type

__all__ = [
    "BaseTransformer",
    "BinaryThresholdEncoder",
    "ConcatenatedBitPlanEncoder",
    "ConcatenatedFloat32Encoder",
    "ConcatenatingBitPlanDecoder",
    "Float32Encoder",
    "MixingBitPlanDecoder",
    "MultiThresholdEncoder",
    "NoDecoding",
    "NoEncoding",
    "SeparatedBitPlanDecoder",
    "SeparatedBitPlanEncoder",
    "SequentialBaseTwoEncoder",
    "preserve_type",
]
