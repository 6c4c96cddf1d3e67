"""Time a Jacobian of BigGAN-deep-128 (full size, random weights) against as many images of the generator alone.

A place costs two images forward for each component of z and nothing backward. Times are the processor's, so that other
programs matter less. What the process holds at most is printed after the images, a Jacobian of few components and one
of many: beside the images of one call, J itself is held, a row of 49,152 numbers for each component.
"""

from __future__ import annotations

import argparse
import resource

import torch
from bench_layers import make_generator, seconds

from directions.joint.measure import measure_point, planned_measurement
from directions.sampling import derived_rng
from directions.search import Search
from directions.settings.discover import DiscoverConfig


def main() -> None:
    """Print rates and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--components", type=int, nargs="+", default=[32, 128], help="of z, few and many")
    parser.add_argument("--generator", choices=("builtin", "biggan-deep-128"), default="biggan-deep-128")
    arguments = parser.parse_args()
    generator = make_generator(arguments.generator)

    def peak() -> str:
        return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:,.0f} MB at most so far"

    for size in arguments.components:
        config = DiscoverConfig(method="joint", criterion="jacobian", space=f"0:{size}")
        plan = planned_measurement(config, Search.resolve(generator, config), "jacobian")
        z = generator.sample_z_from(2 * size, derived_rng(0, purpose="bench"))

        @torch.no_grad()
        def images(z: torch.Tensor = z, rows: int = plan.rows) -> None:
            for part in z.split(rows):
                generator(part)

        alone = seconds(images)
        print(f"{2 * size} images alone: {2 * size / alone:.2f} a second; {peak()}", flush=True)
        jacobian = seconds(lambda plan=plan: measure_point(generator, plan, 0))
        rate = 2 * size / jacobian
        print(f"Jacobian of {size}: {rate:.2f} images a second, {alone / jacobian:.0%} of that; {peak()}", flush=True)


if __name__ == "__main__":
    main()
