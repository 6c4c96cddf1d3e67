"""Evaluation: from a direction file or a trained generator to numbers, by named metrics with fixed settings.

After discovery and training, beside rendering. Of directions: :mod:`~directions.evaluation.activeness` measures how
much one changes the image; :mod:`~directions.evaluation.scene_reader` reads shape and factors from an image, and
:mod:`~directions.evaluation.factors` tells with it which factors each direction moves. Of generators:
:mod:`~directions.evaluation.named_metrics` lists what can be measured and :mod:`~directions.evaluation.measuring`
measures it.
"""
