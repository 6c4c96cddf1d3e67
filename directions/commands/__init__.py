"""The verbs of the command line, one module each: options in, a printed result out, no arithmetic.

Registered in `directions.cli`. Heavy modules are imported inside the functions, so that help does not wait for
torch.
"""
