from directions.generators.class_names import NUM_CLASSES, imagenet_names  # shim

__all__ = ["NUM_CLASSES", "imagenet_names"]
