"""The page of ``directions explore``: a slider for each direction, served on this machine only."""
