"""New sets of directions of existing ones: rows, names and what can still be said of them."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import BlobGenerator, blob_directions

from directions.direction_file import Directions, load_directions
from directions.direction_file.combine import merge, select
from directions.errors import UserError


def part(rows, **changes):
    """Some of the blob's axes as a set of their own."""
    return Directions(np.eye(6)[list(rows)], blob_directions(ndirs=len(rows), **changes).header)


TILTED = Directions(
    np.stack([np.eye(6)[3], np.eye(6)[4] * 0.8 + np.eye(6)[1] * 0.6]),
    blob_directions(ndirs=2, names=["x", "tilted"]).header,
)


def test_select_keeps_rows_with_their_entries_in_the_order_given():
    """By index and name; the history says where they come from, and nothing of it can be undone."""
    found = blob_directions().annotated("hue", note="ring", path_size=1.5)
    few = select(found, [5, "hue", "left"], label="x.safetensors")
    np.testing.assert_array_equal(few.matrix, np.eye(6)[[5, 3, 0]])
    assert few.names == ("d5", "hue", "left-right")
    assert (few.notes[1], few.path_sizes[1]) == ("ring", 1.5)
    (change,) = few.history
    assert change["what"] == "selected 5, 3, 0 of the 6 directions of x.safetensors"
    with pytest.raises(UserError, match="cannot be undone"):
        few.undone()


def test_merge_puts_rows_one_after_the_other(tmp_path):
    """With their names and ranges; the header is as wide as its parts and tells each part's origin; the file loads."""
    a = part([0, 1], classes=[2, 0], seed=1, truncation=0.5).annotated(0, note="to and fro", starred=True)
    b = part([4, 3], classes=[1], seed=2, names=["light", "hue"], truncation=0.7)
    merged = merge({"a": a, "b": b})
    np.testing.assert_array_equal(merged.matrix, np.eye(6)[[0, 1, 4, 3]])
    assert merged.names == ("left-right", "up-down", "light", "hue")
    assert merged.notes[0] == "to and fro"
    assert merged.starred[0]
    header = merged.header
    assert (header["classes"], header["truncation"], header["method"]) == ([0, 1, 2], None, "merged")
    assert [(told["set"], told["ndirs"], told["seed"]) for told in header["source"]["merged"]] == [
        ("a", 2, 1),
        ("b", 2, 2),
    ]
    assert header["penalty"] is None
    assert merged.history[0]["what"] == "merged from a (2), b (2)"
    merged.save(tmp_path / "m.safetensors")
    assert load_directions(tmp_path / "m.safetensors").header == header


def test_merge_names_the_pair_that_is_least_perpendicular():
    """With the angle between them and the ways out."""
    message = r"1 \('up-down'\) of a and 1 \('tilted'\) of b are not perp.* 0\.6 \(53\.1 deg"
    with pytest.raises(UserError, match=message):
        merge({"a": part([0, 1]), "b": TILTED})


def test_merge_orthonormalises_in_order():
    """Those before stay as they are; the later one is turned to what is left of it, and the header says how far."""
    merged = merge({"a": part([0, 1]), "b": TILTED[[1]]}, orthonormalise=True)
    np.testing.assert_allclose(merged.matrix, np.eye(6)[[0, 1, 4]], atol=1e-7)
    assert merged.header["source"]["largest_turn_degrees"] == pytest.approx(36.87, abs=0.01)
    with pytest.raises(UserError, match=r"0 \('left-right'\) of b lies in the span of those before it"):
        merge({"a": part([0, 1]), "b": part([1])}, orthonormalise=True)


def test_merge_numbers_names_that_come_twice():
    """The first keeps it; a number that is taken is passed over; a long name stays within its length."""
    long = "x" * 64
    a = part([0, 1, 2], names=["d0", "d0 2", long])
    b = part([3, 4], names=["d0", long])
    assert merge({"a": a, "b": b}).names == ("d0", "d0 2", long, "d0 3", "x" * 62 + " 2")
    with pytest.raises(UserError, match=r"0 \('d0'\) of a and 0 \('d0'\) of b have the same name"):
        merge({"a": a, "b": b}, same_names="refuse")


def test_merge_refuses_what_does_not_belong_together():
    """Other generators, other layers, more than z has room for, only one."""
    a = part([0, 1])
    other = BlobGenerator()
    other.digest = "dead" * 16
    b = Directions(np.eye(6)[2:4], blob_directions(other, ndirs=2).header)
    with pytest.raises(UserError, match=r"different generators .* a is for 'blob' .*b10bb10bb10b.* b for .* deaddeadd"):
        merge({"a": a, "b": b})
    with pytest.raises(UserError, match=r"act on different layers .* a has None, b has \[0\]"):
        merge({"a": a, "b": part([2], layers=[0])})
    with pytest.raises(UserError, match="These are 8 directions, but z has 6 components"):
        merge({"a": a, "b": part(range(6))})
    with pytest.raises(UserError, match="at least two sets of directions, got 1"):
        merge({"a": a})
