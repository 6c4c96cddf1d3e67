"""Directions on the Hugging Face Hub: a card written from the header, and a commit with file, card and pictures.

After the direction file and its pictures; the way back, which needs no card, is in
`directions.direction_file.hub`.
"""
