"""What a joint solution's report means, in plain words; without torch, so that `inspect` need not wait for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Penalties that differ by less than this share are the same: a start with it has reached the best.
SAME = 1e-3

# |cosine| between the halves above which a direction counts as found again.
CONFIDENT = 0.9

# Share of random bases' penalty above which a basis is no better than they are.
_BETTER = 0.95

# Share of the largest activeness below which a direction is idle.
_IDLE = 0.01

# Directions that a note names, at most.
_NAMED = 6


def joint_notes(report: Mapping[str, Any], directions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what a reader should act on.

    Args:
        report: `JointSolution.report`, or ``joint`` of a direction file's header.
        directions: For each direction its ``name``, ``confidence``, ``undetermined`` and, if known, ``activeness``,
            such as the entries of a header; those that were left out may be missing.

    Returns:
        Sentences, none if there is nothing to do.
    """
    if report["zero"]:
        return ["All measured Hessians are zero: the penalty is the same for every basis, and none is preferred."]
    notes = []
    groups: dict[int, list[str]] = {}
    for entry in directions:
        if entry["undetermined"] is not None:
            groups.setdefault(entry["undetermined"], []).append(entry["name"])
    # Idle directions are seldom determined, and nobody acts on it.
    known = [(entry["name"], entry.get("activeness")) for entry in directions]
    least = _IDLE * max((activeness or 0.0 for _, activeness in known), default=0.0)
    acting = {name for name, activeness in known if activeness is None or activeness > least}
    for names in groups.values():
        if not acting.intersection(names):
            continue
        if len(names) > 1:
            notes.append(
                f"Directions {_listed(names)} are not determined: within the space that they span, every basis has the "
                "same penalty."
            )
        else:
            notes.append(
                f"Direction {names[0]} is not determined: mixed with one that was left out, it has the same penalty."
            )
    if not groups and report["penalty"] > _BETTER * report["random_penalty"]:
        notes.append(
            f"The penalty at the measured places ({report['penalty']:.4g}) is hardly below that of random directions "
            f"({report['random_penalty']:.4g}): these are no better. Measure more base points."
        )
    if not report["converged"]:
        notes.append("A start was given up before it had converged; the penalty may be a little above its optimum.")
    if report["agreeing_starts"] < min(3, report["starts"]) and report["largest_excess"] > SAME:
        notes.append(
            f"Only {report['agreeing_starts']} of {report['starts']} starts reached the best penalty (the others ended "
            f"up to {report['largest_excess']:.2%} above): there may be a better basis. Raise the number of starts."
        )
    notes += _halves_note([e for e in directions if e["undetermined"] is None and e["confidence"] is not None])
    if all(entry["confidence"] is None for entry in directions):
        notes.append("With a single base point there are no halves to compare.")
    return notes


def verdict(header: Mapping[str, Any]) -> list[str]:
    """Say what was found, against random directions.

    Args:
        header: Of a direction file.

    Returns:
        Two lines, and a note if the directions are no better than random ones; none for files that do not have it.
    """
    first, hessians = header.get("first"), (header.get("penalty") or {}).get("hessians")
    if not first or not hessians or None in (*first.values(), hessians["found"]["share_on_diagonal"]):
        return []
    found, random = hessians["found"], hessians["random"]
    error = "" if found["share_error"] is None else f" ± {found['share_error']:.1%}"
    entries = [entry for entry in header["directions"] if entry.get("confidence") is not None]
    agreed = weighted_agreement([e["confidence"] for e in entries], [e["activeness"] for e in entries])
    halves = "" if agreed is None else f"; two halves of the base points agree to {agreed:.2f}, weighted by activeness"
    start, stop = header["space"]
    found_all = (header["config"].get("ndirs") if header["method"] == "adam" else None) or stop - start
    part = "" if found_all == len(header["directions"]) else f" of the {found_all} that were found"
    carried = f"carry {first['found']:.0%} of the activeness, of random directions {first['random']:.0%}"
    shares = f"{found['share_on_diagonal']:.1%}{error} of the held-out Hessians' energy is on the diagonal"
    lines = [
        f"The first {first['count']} directions{part} {carried}.",
        f"{shares}, of random directions {random['share_on_diagonal']:.1%}{halves}.",
    ]
    if found["share_on_diagonal"] <= random["share_on_diagonal"] + 2 * (found["share_error"] or 0.0):
        lines.append("Note: by the held-out Hessians these directions are no better than random ones.")
    return lines


def weighted_agreement(confidence: Sequence[float], weights: Sequence[float]) -> float | None:
    """Return the weighted mean of the directions' confidence; ``None`` if there is no weight."""
    total = sum(weights)
    return sum(w * c for w, c in zip(weights, confidence, strict=True)) / total if total > 0 else None


def _halves_note(directions: Sequence[Mapping[str, Any]]) -> list[str]:
    # Directions that do nothing are found by chance: where activeness is known, those that act are judged.
    known = all(entry.get("activeness") is not None for entry in directions)
    weights = [float(entry["activeness"]) if known else 1.0 for entry in directions]
    agreement = weighted_agreement([entry["confidence"] for entry in directions], weights)
    names = [
        entry["name"]
        for weight, entry in zip(weights, directions, strict=True)
        if entry["confidence"] < CONFIDENT and weight >= sum(weights) / len(weights)
    ]
    if agreement is None or agreement >= CONFIDENT or not names:
        return []
    subject = f"Directions {_listed(names)} differ" if len(names) > 1 else f"Direction {names[0]} differs"
    mean = f"the mean is {agreement:.2f}" + ", weighted by activeness" * known
    between = f"between the two halves of the base points (|cosine| below {CONFIDENT}; {mean})"
    return [f"{subject} {between}: more base points may change that."]


def _listed(words: Sequence[str]) -> str:
    if len(words) > _NAMED:
        words = [*words[: _NAMED - 1], f"{len(words) - _NAMED + 1} others"]
    return f"{', '.join(words[:-1])} and {words[-1]}"
