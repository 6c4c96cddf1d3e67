from directions.generators.base import compiled, require_compiler  # shim

__all__ = ["compiled", "require_compiler"]
