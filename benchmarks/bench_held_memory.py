"""What a step on BigGAN-deep-128 at full size holds for its backward pass: the textbook's way against ours.

Counted on tensors without values (torch's meta device), so that it takes seconds: every storage that the forward passes
save, once, the weights left out. The textbook keeps its 2k + 1 forwards together until the backward pass, and so do
our 2k evaluations, which are one batch; micro-batches are held one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from torch import Tensor, nn

from directions.generators.biggan_deep import BigGANDeep

sys.path.insert(0, str(Path(__file__).parent))

from biggan_report import held_table


def held(action: Callable[[], Tensor], module: nn.Module) -> float:
    """MB that a computation saves for its backward pass."""
    storages: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        action()
    weights = {tensor.untyped_storage()._cdata for tensor in (*module.parameters(), *module.buffers())}
    return sum(storage.nbytes() for key, storage in storages.items() if key not in weights) / 2**20


def ours(generator: BigGANDeep, images: int) -> Tensor:
    """The passes of a batch of images, from what the first layer gives and the affines."""

    def variable(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta").requires_grad_()

    pairs = [[(variable(images, n, 1, 1), variable(images, n, 1, 1)) for n in widths] for widths in generator._widths]
    last = generator.last_affine.shape[1]
    affine = (torch.empty(1, last, 1, 1, device="meta"), torch.empty(1, last, 1, 1, device="meta"))
    return generator._body(variable(images, 4, 4, pairs[0][0][0].shape[1]).permute(0, 3, 1, 2), [*pairs, [affine]], 0)


def rows() -> list[dict[str, float]]:
    """A row a batch size: MB of each way."""
    model = BigGAN(BigGANConfig()).requires_grad_(False).eval().to("meta")
    generator = BigGANDeep(model, name="biggan-deep-128", digest="").to("meta")
    found = []
    for batch in (2, 4, 8):
        z, one_hot = torch.empty(batch, 128, device="meta").requires_grad_(), torch.empty(batch, 1000, device="meta")
        textbook = held(lambda z=z, y=one_hot: torch.stack([model(z, y, 1.0) for _ in range(5)]), model)
        row = {"batch": batch, "textbook": textbook}
        for name, recompute, micro in (("ours", False, batch), ("recompute", True, batch), ("micro_batch_2", False, 2)):
            generator.prepare_steps(compiled=False, recompute=recompute)
            row[name] = held(lambda images=4 * micro: ours(generator, images), generator)
        found.append(row)
    return found


def main() -> None:
    """Print a table; ``--json`` for machines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if arguments.json:
        print(json.dumps(rows()))
        return
    print("MB held for the backward pass of a step on BigGAN-deep-128, k = 2 (and the share of the textbook's):\n")
    print(held_table(rows()))


if __name__ == "__main__":
    main()
