"""The verbs of the command line: options in, a printed result out."""
