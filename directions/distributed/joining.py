"""Become one of the ranks of a run, and leave together: whatever ends it is told once, by the rank that knows first.

After the two kinds of ranks; the command line joins before it does anything that ranks do together. Torch is imported
only where there are several.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator

from directions.distributed.ranks import Ranks
from directions.errors import RankLostError, UserError


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Within the block, be one of the ranks of a run: of those that torchrun started, or the only one.

    Yields:
        The ranks.

    Raises:
        UserError: What the block raised, on the rank that fails first; the others, which fail for the same reason or
            because that rank is gone, end without a word, with the same exit status as if they had told.
        RankLostError: In the same way.
        SystemExit: On those other ranks.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Ranks()
        return
    from directions.distributed.processes import Processes

    ranks = Processes()
    try:
        with warnings.catch_warnings():
            if not ranks.first:
                warnings.simplefilter("ignore", UserWarning)  # rank 0 warns
            yield ranks
    except (UserError, RankLostError) as error:
        if not ranks.tells():
            raise SystemExit(2 if isinstance(error, UserError) else 1) from None
        raise
    except Exception:
        ranks.tells()  # the traceback does
        raise
    ranks.leave()
