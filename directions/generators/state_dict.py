from directions.generators.weights import first_difference, read_state_dict, read_tensors, shapes  # shim

__all__ = ["first_difference", "read_state_dict", "read_tensors", "shapes"]
