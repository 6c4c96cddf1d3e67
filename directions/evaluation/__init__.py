"""Evaluation: from a direction file to numbers, by named metrics with fixed settings.

After discovery, beside rendering. :mod:`~directions.evaluation.activeness` measures how much a direction changes the
image; :mod:`~directions.evaluation.scene_reader` reads shape and factors from an image, and
:mod:`~directions.evaluation.factors` tells with it which factors each direction moves.
"""
