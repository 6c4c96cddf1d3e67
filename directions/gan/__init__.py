"""Adversarial training of generators: networks, losses, data and the loop.

Beside the flow rather than in it: what is trained here becomes a generator, and the flow starts from that.
"""
