#!/usr/bin/env bash
# The main job once, from start to end: discover directions, render the most active ones, show what the file holds.
# Run by `make demo`. Run it again to go on where it stopped, or to render again what is already there.
set -euo pipefail

directions="${BIN:-.venv/bin}/directions"
outputs=outputs
name=demo

# Runs are numbered; this is the newest of ours whose folder holds the given file, or nothing.
newest_run_with() {
    local file newest=""
    for file in "$outputs"/[0-9]*-"$name"/"$1"; do
        [ -e "$file" ] && newest=$(dirname "$file")
    done
    echo "$newest"
}

# A run that got as far as a checkpoint is continued; if it is finished, that does nothing.
run=$(newest_run_with checkpoint.pt)
if [ -n "$run" ]; then
    echo "==> 1/3 Discovering directions: continuing $run"
    "$directions" discover --resume "$run"
else
    echo "==> 1/3 Discovering directions in the built-in generator (a few minutes on two cores)"
    "$directions" discover --generator builtin --seed 0 --out "$outputs" --name "$name"
    run=$(newest_run_with directions.safetensors)
fi

# A run's directions are ordered by activeness: the first are those that change the image most.
echo "==> 2/3 Rendering the six most active directions, random ones beside them"
"$directions" render "$run/directions.safetensors" --directions 0,1,2,3,4,5 --samples 4 --against random --out "$run/gifs"

echo "==> 3/3 What the direction file holds"
"$directions" inspect "$run/directions.safetensors"

cat <<END

Look at   $run/overview.png, found beside random directions on two classes, and $run/gifs/overview.gif: a direction a row.
In code   (.venv/bin/python)

    from directions import load_directions, load_generator

    directions = load_directions("$run/directions.safetensors")
    generator = load_generator(directions.generator)
    z = generator.sample_z(6, seed=0)
    images = generator(directions.move(z, 0, 3.0), y=0)  # (6, 3, 64, 64) in [-1, 1]

Sliders, names and pictures in a browser:

    $directions explore $run
END
