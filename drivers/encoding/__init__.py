"""Encoders and decoders under the name that a driver's user knows; `opusim.encoding` has them."""

from opusim.encoding import (
    BaseTransformer,
    BinaryThresholdEncoder,
    ConcatenatedBitPlanEncoder,
    ConcatenatedFloat32Encoder,
    ConcatenatingBitPlanDecoder,
    Float32Encoder,
    MixingBitPlanDecoder,
    MultiThresholdEncoder,
    NoDecoding,
    NoEncoding,
    SeparatedBitPlanDecoder,
    SeparatedBitPlanEncoder,
    SequentialBaseTwoEncoder,
    preserve_type,
)

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
