"""Other programs' directions as direction files: the paper's, OroJaR's, GANLatentDiscovery's, and plain arrays.

Before it: a file that someone else wrote, which ``foreign`` reads. ``published`` knows the paper's files. After it: a
`directions.direction_file.Directions`, which ``conversion`` makes as discovery does.
"""
