from directions.generators.frozen import (  # shim
    Affine,
    FrozenAttention,
    FrozenBlock,
    FrozenConvolution,
    FrozenDoubling,
    truncation_statistics,
)

__all__ = ["Affine", "FrozenAttention", "FrozenBlock", "FrozenConvolution", "FrozenDoubling", "truncation_statistics"]
