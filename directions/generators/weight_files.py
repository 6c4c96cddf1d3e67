from directions.generators.weights import sha256_of  # shim

__all__ = ["sha256_of"]
