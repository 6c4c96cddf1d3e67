"""Generators: maps from a latent ``z`` and a class ``y`` to images in [-1, 1].

First in the flow. `directions.generators.base` says what a generator is,
`directions.generators.registry` finds one by name; penalties, discovery, rendering and evaluation only see what
the protocol promises.
"""
