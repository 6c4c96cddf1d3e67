"""What a joint solution's report means, in plain words: the same for the command line, a direction file and a notebook.

Reads what `directions.joint.solve` reports and a direction file's header keeps. It does without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

CONFIDENT = 0.9
"""|cosine| between the halves above which a direction counts as found again."""


def joint_notes(report: Mapping[str, Any], directions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say what should make a reader careful.

    Args:
        report: `JointSolution.report`, or ``joint`` of a direction file's header.
        directions: For each direction its ``name``, ``confidence`` and ``undetermined``, such as the entries of a
            header; those that were left out may be missing.

    Returns:
        Sentences, none if there is nothing to say.
    """
    if report["zero"]:
        return ["All measured Hessians are zero: the penalty is the same for every basis, and none is preferred."]
    notes = []
    groups: dict[int, list[str]] = {}
    for entry in directions:
        if entry["undetermined"] is not None:
            groups.setdefault(entry["undetermined"], []).append(entry["name"])
    for names in groups.values():
        if len(names) > 1:
            notes.append(
                f"Directions {_listed(names)} are not determined: within the space that they span, every basis has the "
                "same penalty."
            )
        else:
            notes.append(
                f"Direction {names[0]} is not determined: mixed with one that was left out, it has the same penalty."
            )
    if not report["converged"]:
        notes.append("A start was given up before it had converged; the penalty may be a little above its optimum.")
    if report["agreeing_starts"] < report["starts"]:
        notes.append(
            f"Only {report['agreeing_starts']} of {report['starts']} starts reached the best penalty (the others ended "
            f"up to {report['largest_excess']:.2%} above): there may be a better basis. Raise the number of starts."
        )
    doubtful = [entry["name"] for entry in directions if entry["undetermined"] is None and _doubtful(entry)]
    if doubtful:
        subject = f"Directions {_listed(doubtful)} differ" if len(doubtful) > 1 else f"Direction {doubtful[0]} differs"
        notes.append(
            f"{subject} between the two halves of the base points (|cosine| below {CONFIDENT}): more base points may "
            "change that."
        )
    if all(entry["confidence"] is None for entry in directions):
        notes.append("With a single base point there are no halves to compare.")
    return notes


def _doubtful(entry: Mapping[str, Any]) -> bool:
    return entry["confidence"] is not None and entry["confidence"] < CONFIDENT


def _listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}"
