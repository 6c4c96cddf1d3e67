"""Names, ranges, notes, stars and order of directions, the history that undoes them, and sets made of several."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fakes import BlobGenerator, blob_directions
from hypothesis import given, settings
from hypothesis import strategies as st

import directions
from directions.direction_file import Directions, load_directions
from directions.direction_file import annotate as module
from directions.direction_file.combine import merge, select
from directions.errors import UserError
from directions.evaluation.summary import with_columns


@pytest.fixture
def found():
    return blob_directions()


def test_annotated_changes_one_entry_and_records_it(found):
    """What is given is written, what is not stays; the history has it in words, with what it replaced."""
    new = found.annotated("hue", name="colour", path_size=2, note="a ring:\nred to red", hidden=True, starred=True)
    assert (new.names[3], new.path_sizes[3], new.notes[3]) == ("colour", 2.0, "a ring:\nred to red")
    assert new.annotated(3, starred=False).notes[3] == "a ring:\nred to red"
    np.testing.assert_array_equal(new.matrix, found.matrix)
    assert (found.names[3], found.history) == ("hue", ())
    (change,) = found.annotated("hue", name="colour", path_size=2.5, starred=True).history
    assert change["what"] == "3 'hue': name 'colour', path_size 2.5, starred"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", change["time"])
    assert change["tool_version"] == directions.__version__
    assert change["before"] == {"directions": {"3": {"name": "hue", "path_size": 5.0, "starred": False}}}


def test_annotated_each_swaps_names(found):
    """All at once: in between two would have the same name."""
    new = found.annotated_each({"hue": {"name": "light"}, "light": {"name": "hue"}})
    assert new.names[3:5] == ("light", "hue")
    assert len(new.history) == 1
    assert new.undone().header == found.header


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({0: {"name": "hue"}}, "Directions 0 and 3 have the same name, 'hue'; names must be unique"),
        ({0: {"name": "all"}}, r"The name of direction 0 must not be all \(that means every direction\), got 'all'"),
        ({0: {"name": "a, b"}}, r"The name of direction 0 must have no comma \(it separates directions\), got 'a, b'"),
        ({0: {"name": "a\u202eb"}}, r"The name of direction 0 must be .* printable characters.*got 'a\\u202"),
        ({0: {"path_size": 100.5}}, "The path_size of direction 0 must be at most 100, got 100.5"),
        ({0: {"note": "\x1b[2J"}}, r"The note of direction 0 must be at most 2000 printable characters \(and"),
        ({0: {"hidden": 1}}, "The hidden of direction 0 must be true or false, got 1"),
        ({0: {"nmae": "x"}}, r"A direction has no annotation 'nmae'; it has name, .*Did you mean 'name'\?"),
        ({0: {"name": "x"}, "left": {"note": "x"}}, r"Direction 0 \('left-right'\) is given twice"),
    ],
)  # fmt: skip
def test_annotated_refuses(found, changes, message):
    """What is not allowed is named, with the direction."""
    with pytest.raises(UserError, match=message):
        found.annotated_each(changes)


def test_names_that_are_not_given_any_more_still_load(found, tmp_path):
    """An older file has them: everything else can be written on it, and its history leads back to them."""
    entries, name = found.header["directions"], "left, right"
    entries[0]["name"] = name
    Directions(found.matrix, found.header | {"directions": entries}).save(tmp_path / "x.safetensors")
    older = load_directions(tmp_path / "x.safetensors")
    assert older.names[0] == name
    assert older.annotated(0, name=name, note="x").notes[0] == "x"
    assert older.renamed(0, "other").undone().names[0] == name


def test_reordered_moves_some_to_the_front(found):
    """Indices stay; who is not named follows in the order there was."""
    new = found.reordered(["light", 2])
    assert new.order == (4, 2, 0, 1, 3, 5)
    assert new.names == found.names
    assert new.reordered(5).order == (5, 4, 2, 0, 1, 3)
    assert new.reordered([0, 1, 2, 3, 4, 5]).header["order"] is None
    with pytest.raises(UserError, match="Each direction has one place in the order"):
        found.reordered([0, "left"])


@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_undone_is_the_inverse(data):
    """Any changes, undone one by one, lead back through every state to the first, to the byte of the header."""
    current = blob_directions()
    states = [current]
    for _ in range(data.draw(st.integers(1, 6))):
        index = data.draw(st.integers(0, 5))
        if data.draw(st.booleans()):
            order = data.draw(st.permutations(range(6)))
            current = current.reordered(order)
        else:
            name = data.draw(st.sampled_from([None, "a", "b", "ünï", "d5 "[:2]]))
            taken = name in current.names and current.names[index] != name
            size, note = data.draw(st.sampled_from([None, 1.5, 2])), data.draw(st.sampled_from([None, "", "x\ny"]))
            hidden = data.draw(st.sampled_from([None, True, False]))
            name = None if taken else name
            current = current.annotated(index, name=name, path_size=size, note=note, hidden=hidden)
        if current is not states[-1]:
            states.append(current)
    assert len(current.history) == len(states) - 1
    for state in reversed(states[:-1]):
        current = current.undone()
        assert current.header == state.header
    with pytest.raises(UserError, match="There is no change to undo"):
        current.undone()


def test_history_forgets_what_does_not_fit(found, monkeypatch):
    """A few long notes push out what was before, but never the last change."""
    monkeypatch.setattr(module, "HISTORY_SIZE", 5000)
    for letter in "abcd":
        found = found.annotated_each({index: {"note": letter * 1500} for index in range(2)})
    assert len(found.history) == 1
    assert found.undone().notes[0] == "c" * 1500


# Selected and merged sets


def part(rows, **changes):
    """Some of the blob's axes as a set of their own."""
    return Directions(np.eye(6)[list(rows)], blob_directions(ndirs=len(rows), **changes).header)


TILTED = Directions(
    np.stack([np.eye(6)[3], np.eye(6)[4] * 0.8 + np.eye(6)[1] * 0.6]),
    blob_directions(ndirs=2, names=["x", "tilted"]).header,
)


def test_path_sizes_written_by_hand_stay_so_in_a_new_set():
    """A measurement replaces the others, in what was selected and merged, and in what was made of these."""
    found = blob_directions().annotated("hue", path_size=1.5).annotated(5, path_size=2.5)
    few = select(found, [5, 1, "hue"], label="x")
    rest = select(found, [0, 2], label="x").annotated(1, path_size=3.5)
    merged = merge({"rest": select(rest, [1, 0], label="y"), "few": few})
    for kept, sizes in ((few, (2.5, 9.0, 1.5)), (merged, (3.5, 9.0, 2.5, 9.0, 1.5))):
        assert with_columns(kept, {"path_size": [9.0] * len(sizes)}).path_sizes == sizes
        with pytest.raises(UserError, match="cannot be undone"):
            kept.undone()


def test_merge_puts_rows_one_after_the_other(tmp_path):
    """With their names and ranges; the header is as wide as its parts and tells each part's origin; the file loads."""
    a = part([0, 1], classes=[2, 0], seed=1, truncation=0.5).annotated(0, note="to and fro", starred=True)
    a = Directions(a.matrix, a.header | {key: {"count": 3} for key in ("plan", "first", "joint")})
    b = part([4, 3], classes=[1], seed=2, names=["light", "hue"], truncation=0.7)
    merged = merge({"a": a, "b": b})
    np.testing.assert_array_equal(merged.matrix, np.eye(6)[[0, 1, 4, 3]])
    assert merged.names == ("left-right", "up-down", "light", "hue")
    assert (merged.notes[0], merged.starred[0]) == ("to and fro", True)
    header = merged.header
    assert (header["classes"], header["truncation"], header["method"]) == ([0, 1, 2], None, "merged")
    told = [(part["set"], part["ndirs"], part["seed"]) for part in header["source"]["merged"]]
    assert told == [("a", 2, 1), ("b", 2, 2)]
    assert header["penalty"] is None
    assert not {"plan", "first", "joint"} & set(header), "what is told of a run is not of all"
    assert merged.history[0]["what"] == "merged from a (2), b (2)"
    merged.save(tmp_path / "m.safetensors")
    assert load_directions(tmp_path / "m.safetensors").header == header


def test_merge_orthonormalises_in_order_where_it_is_told_to():
    """Those before stay, the later one is turned, and it is said how far; else the pair and its angle are named."""
    message = r"1 \('up-down'\) of a and 1 \('tilted'\) of b are not perp.* 0\.6 \(53\.1 deg"
    with pytest.raises(UserError, match=message):
        merge({"a": part([0, 1]), "b": TILTED})
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
    """Other generators, other layers, only one."""
    a = part([0, 1])
    other = BlobGenerator()
    other.digest = "dead" * 16
    b = Directions(np.eye(6)[2:4], blob_directions(other, ndirs=2).header)
    with pytest.raises(UserError, match=r"different generators .* a is for 'blob' .*b10bb10bb10b.* b for .* deaddeadd"):
        merge({"a": a, "b": b})
    with pytest.raises(UserError, match=r"act on different layers .* a has None, b has \[0\]"):
        merge({"a": a, "b": part([2], layers=[0])})
    with pytest.raises(UserError, match="at least two sets of directions, got 1"):
        merge({"a": a})
