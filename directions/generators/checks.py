from directions.generators.wrap import check_gradients, check_images  # shim

__all__ = ["check_gradients", "check_images"]
