"""The Hessian Penalty: how far the curvature of a map is from acting on each coordinate alone.

`directions.penalties.probes` draws the vectors, `directions.penalties.derivatives` evaluates the map along
them in one call, `directions.penalties.hessian` turns that into the penalty, and
`directions.penalties.exact` holds the truth it estimates, for small problems. Steps come in from
`directions.steps`; discovery and GAN training minimise what comes out.
"""

from __future__ import annotations

from directions.penalties.derivatives import check_deterministic as check_deterministic
from directions.penalties.exact import exact_hessian as exact_hessian
from directions.penalties.exact import hessian_penalty_exact as hessian_penalty_exact
from directions.penalties.exact import off_diagonal_sum as off_diagonal_sum
from directions.penalties.hessian import hessian_penalty as hessian_penalty
from directions.penalties.hessian import penalty_per_sample as penalty_per_sample
from directions.penalties.probes import rademacher as rademacher
