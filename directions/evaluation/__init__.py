"""Evaluation: from a direction file or a trained generator to numbers, by named metrics with fixed settings.

After discovery and training, beside rendering. Of directions: `directions.evaluation.activeness` measures how much one
changes the image, `directions.evaluation.factors` which known factors it moves, `directions.evaluation.statistics` what
changes most where none are known, and `directions.evaluation.report` compares a file with random directions. Of
generators: `directions.evaluation.metrics` lists and measures what can be measured.
"""
