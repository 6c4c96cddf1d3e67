"""Evaluation: from a direction file or a trained generator to numbers, by named metrics with fixed settings.

After discovery and training, beside rendering. Of directions: `directions.evaluation.activeness` measures how
much one changes the image; `directions.evaluation.scene_reader` reads shape and factors from an image, and
`directions.evaluation.factors` tells with it which factors each direction moves; `directions.evaluation.report` compares
a file with random directions. Of generators: `directions.evaluation.metrics` lists and measures what can be measured.
"""
