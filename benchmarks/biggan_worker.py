"""One way of carrying out a step of discovery on BigGAN-deep-128, in a process of its own.

Started by ``bench_biggan_deep_128.py`` with its kind and the setup; takes tasks as lines of JSON, and answers each
with one.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from pytorch_pretrained_biggan.model import BigGANBatchNorm, SelfAttn
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from directions.basis import gram_schmidt, initial_matrix
from directions.device import keep_freed_memory
from directions.direction_file import Directions
from directions.direction_file.format import make_header
from directions.discovery import penalty_and_gradient
from directions.generators.biggan_deep import BigGANDeep
from directions.rendering.render import render
from directions.sampling import derived_rng
from directions.search import Search, draw_batch
from directions.settings.discover import DiscoverConfig
from directions.settings.render import RenderSettings

# The tests' reference is the one textbook version there is.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from naive import textbook_gram_schmidt, textbook_variances

CLASS = 207


def random_model(width: int) -> BigGAN:
    """A BigGAN-deep-128: spectral norms settled by training-mode passes, batch norms calibrated on its own images."""
    torch.manual_seed(0)
    model = BigGAN(BigGANConfig(channel_width=width)).requires_grad_(False)
    for module in model.modules():
        if isinstance(module, SelfAttn):
            torch.nn.init.constant_(module.gamma, 0.7)
        if isinstance(module, BigGANBatchNorm) and not module.conditional:
            torch.nn.init.ones_(module.weight)
            torch.nn.init.zeros_(module.bias)
    one_hot = F.one_hot(torch.randint(1000, (8,)), 1000).float()
    with torch.no_grad():
        model.train()
        for _ in range(3):
            model(torch.randn(1, 128), one_hot[:1], 1.0)
        model.eval()

        def calibrate(norm: BigGANBatchNorm, inputs: tuple[Tensor, ...]) -> None:
            norm.running_means.copy_(inputs[0].mean((0, 2, 3)).expand_as(norm.running_means))
            norm.running_vars.copy_(inputs[0].var((0, 2, 3)).expand_as(norm.running_vars))

        norms = [module for module in model.modules() if isinstance(module, BigGANBatchNorm)]
        hooks = [norm.register_forward_pre_hook(calibrate) for norm in norms]
        model(torch.randn(8, 128), one_hot, 1.0)
        for hook in hooks:
            hook.remove()
    return model


def clocked(action: Callable[[], object]) -> float:
    """How long a call takes, in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def status(field: str) -> float:
    """A line of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


class Work:
    """The tasks."""

    def __init__(self, kind: str, setup: dict[str, Any]) -> None:
        torch.set_num_threads(setup["threads"])
        self.kind, self.setup = kind, setup
        weights = Path(setup["folder"]) / "model.pt"
        if kind == "maker":
            torch.save(random_model(setup["width"]).state_dict(), weights)
        elif kind != "textbook":
            keep_freed_memory()
        self.model = BigGAN(BigGANConfig(channel_width=setup["width"])).requires_grad_(False).eval()
        self.model.load_state_dict(torch.load(weights, weights_only=True))
        self.generator = BigGANDeep(self.model, name="biggan-deep-128", digest="0" * 64)
        if kind != "textbook":
            del self.model
        self.generator.prepare_steps(compiled=kind == "compiled", recompute=kind == "recompute")

    def step(self, repeats: int = 1, **changes: Any) -> dict[str, Any]:
        """One step up to the gradient with respect to A; the shortest of several."""
        setup = self.setup | changes
        ndirs = setup["ndirs"]
        config = DiscoverConfig(
            method="adam", batch_size=setup["batch"], micro_batch=setup.get("micro"), space=f"0:{ndirs}", classes=CLASS,
            num_probes=setup["probes"], decay_steps=0, learning_rate=0.01,
        )  # fmt: skip
        search = Search.resolve(self.generator, config)
        batch = draw_batch(self.generator, config, search, step=1)
        A = initial_matrix(ndirs, ndirs, "random", derived_rng(0, purpose="bench")).requires_grad_()
        one_hot = F.one_hot(batch.points.y, 1000).float()
        found: list[Any] = []

        def textbook() -> None:
            Q = search.space.embed(textbook_gram_schmidt(A))
            f = lambda w: self.model(batch.points.z + w @ Q, one_hot, config.truncation)  # noqa: E731 - a formula
            penalty = textbook_variances(f, batch.w, batch.probes, config.epsilon).mean()
            found[:] = penalty.item(), torch.autograd.grad(penalty, A)[0]

        def ours() -> None:
            Q = search.space.embed(gram_schmidt(A))
            penalty, gradient = penalty_and_gradient(self.generator, Q.detach(), batch, config)
            found[:] = penalty, torch.autograd.grad(Q, A, gradient)[0]

        run = textbook if self.kind == "textbook" else ours
        busy = time.process_time()
        seconds = [clocked(run) for _ in range(repeats)]
        busy = (time.process_time() - busy) / repeats
        return {"seconds": min(seconds), "busy": busy, "penalty": found[0], "gradient": found[1].flatten().tolist()}

    def peak(self) -> dict[str, float]:
        """MB that a step needs at its peak, beyond what the process held before it; and what the step took."""
        if self.kind != "compiled":  # which has taken a step, and would compile again for a smaller one
            self.step(batch=1, micro=None, ndirs=8)  # so that what is made once is there
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back: all that the step takes is counted
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts anew from here
        before = status("VmRSS")
        step = self.step()
        return {"peak_mb": status("VmHWM") - before, "seconds": step["seconds"], "cpu_seconds": step["busy"]}

    def machine(self) -> str:
        """What this runs on."""
        cores = f"{os.cpu_count()} CPU cores ({platform.machine()})"
        return f"{cores}, {torch.get_num_threads()} threads, torch {torch.__version__}"

    def sgemm(self) -> float:
        """GFLOP/s of the fastest product of two float32 matrices."""
        rates = []
        for n in (1024, 2048, 4096):
            a = torch.randn(n, n)
            rates.append(max(2 * n**3 / clocked(lambda a=a: a @ a) for _ in range(4)) / 1e9)
        return max(rates)

    def passes(self, repeats: int) -> dict[str, float]:
        """Forward and backward pass of the images of a step: time, and the operations of its products."""
        images = 2 * self.setup["probes"] * self.setup["batch"]
        z = torch.randn(images, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()

        def run() -> None:
            self.generator(z, CLASS).square().mean().backward()  # the counter of operations cannot do autograd.grad

        run()
        seconds = statistics.median(clocked(run) for _ in range(repeats))
        self.generator.prepare_steps(compiled=False, recompute=False)
        product = lambda out, a, b, *rest, **other: 2 * a[0] * a[1] * b[1]  # noqa: E731 - a formula
        with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: product}) as counter:
            run()
        flops = counter.get_total_flops() / 1e9
        return {"images": images, "seconds": seconds, "gflop": flops, "gflops": flops / seconds}

    def gram_schmidt(self) -> dict[str, float]:
        """Forward and backward of both ways, in milliseconds."""
        A = initial_matrix(120, 120, "random", derived_rng(0, purpose="bench")).requires_grad_()
        g = torch.randn(120, 120)
        result = {}
        for name, function, repeats in (("textbook", textbook_gram_schmidt, 3), ("ours", gram_schmidt, 20)):
            run = lambda function=function: torch.autograd.grad(function(A), A, g)  # noqa: E731 - a formula
            run()
            result[name] = 1000 * statistics.median(clocked(run) for _ in range(repeats))
        return result

    def render(self, frames: int) -> dict[str, float]:
        """Images a second of an animation of two directions and two samples, encoded, and of the generator alone."""
        header = make_header(
            self.generator, names=["a", "b"], path_sizes=[2.0, 2.0], activeness=[1.0, 1.0], classes=[CLASS],
            truncation=1.0, space=(0, 128), method="adam", config={}, steps=1, seed=0,
            penalty={"before": 1.0, "after": 1.0},
        )  # fmt: skip
        directions = Directions(torch.eye(2, 128).numpy(), header)
        made: list[int] = []
        self.generator.register_forward_hook(lambda module, inputs, output: made.append(len(output)))
        z = self.generator.sample_z(4, seed=0)
        with torch.inference_mode():
            self.generator(z, CLASS)
            alone = [clocked(lambda: [self.generator(z, CLASS) for _ in range(frames // 2)])]
            made.clear()
            with tempfile.TemporaryDirectory() as folder:
                settings = RenderSettings(frames=frames, samples=2)
                seconds = clocked(lambda: render(directions, self.generator, settings, out=f"{folder}/a.gif", y=CLASS))
            rendered = sum(made)
            alone.append(clocked(lambda: [self.generator(z, CLASS) for _ in range(frames // 2)]))
        bare = 4 * 2 * (frames // 2) / sum(alone)
        return {"bare": bare, "rendered": rendered / seconds, "images": rendered, "share": rendered / seconds / bare}


def main() -> None:
    """Do what comes in, until nothing comes."""
    kind, setup = sys.argv[1], json.loads(sys.argv[2])
    work = Work(kind, setup)
    for line in sys.stdin:
        task = json.loads(line)
        answer = getattr(work, task.pop("task"))(**task)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
