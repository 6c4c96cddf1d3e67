"""Settings with which the commands that take long take no time."""

from __future__ import annotations

DISCOVER = (
    "discover --method adam --steps 3 --batch-size 2 --held-out 3 --held-out-probes 2 --eval-every 2 --final-samples 2"
)
TRAIN = (
    "gan train --data pictures --cache cache --resolution 8 --channels 4,4 --dim-z 3 --batch-size 4 --kimg 0.02 "
    "--stable-kimg 0.004 --fade-kimg 0.004 --stats-every 1"
)
