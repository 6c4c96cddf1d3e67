from directions.generators.progan import EqualisedConv, EqualisedLinear, activate, downsample, upsample  # shim

__all__ = ["EqualisedConv", "EqualisedLinear", "activate", "downsample", "upsample"]
