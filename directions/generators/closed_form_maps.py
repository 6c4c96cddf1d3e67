from directions.generators.closed_form import Quadratic, RotatedSeparable  # shim

__all__ = ["Quadratic", "RotatedSeparable"]
