"""Several processes, on as many devices, that work on one run; and one by itself, which is the same with nobody to ask.

Near the top of the flow: what a step, a measurement or a training loop computes is shared through here.
"""
