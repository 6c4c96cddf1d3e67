from directions.generators.weights import weights_home  # shim

__all__ = ["weights_home"]
