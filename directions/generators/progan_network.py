from directions.generators.progan import FIRST_RESOLUTION, ProGANNetwork, resolutions  # shim

__all__ = ["FIRST_RESOLUTION", "ProGANNetwork", "resolutions"]
