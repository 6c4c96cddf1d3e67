from directions.generators.wrap import wrap  # shim

__all__ = ["wrap"]
