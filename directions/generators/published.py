from directions.generators.weights import CONFIG, PUBLISHED, WEIGHTS, Published  # shim

__all__ = ["CONFIG", "PUBLISHED", "WEIGHTS", "Published"]
