"""A direction file to pictures: animations, stills and galleries."""
