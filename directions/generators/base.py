"""What a generator is to the rest of the package, and what its kinds share: drawing z, naming classes, compiling."""

from __future__ import annotations

import importlib.util
import itertools
import operator
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from directions.errors import UserError
from directions.generators.class_names import ClassNames
from directions.settings.base import MAX_SEED

Labels: TypeAlias = int | str | Sequence[int | str] | Tensor
"""Classes as users give them: one index or name for all images, or one for each."""


@runtime_checkable
class Generator(Protocol):
    """A map from latents and classes to images.

    Attributes:
        name: What `load_generator` was given.
        dim_z: Width of the latent.
        num_classes: Number of classes; 0 for an unconditional generator.
        resolution: Height and width of the images, in pixels.
        num_layers: Number of places where z enters.
        digest: SHA-256 of the weights, or of what else fixes the function.
        class_names: A name for each class, or ``None`` where they have none.
    """

    name: str
    dim_z: int
    num_classes: int
    resolution: int
    num_layers: int
    digest: str
    class_names: tuple[str, ...] | None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        ...

    def __call__(self, z: Tensor, y: Labels | None = 0, *, truncation: float = 1.0) -> Tensor:
        """Map (batch, dim_z) latents to (batch, 3, resolution, resolution) images in [-1, 1]."""
        ...

    def sample_z(self, n: int, *, seed: int | None = None, truncation: float = 1.0) -> Tensor:
        """Draw (n, dim_z) latents; the same on every machine for a seed."""
        ...

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw (n, dim_z) latents from a CPU source of randomness."""
        ...

    def class_indices(self, y: Labels | None, n: int) -> Tensor:
        """Turn classes into (n,) int64 indices."""
        ...


def has_digest(generator: Generator, digest: str) -> bool:
    """Tell whether a recorded digest is that of a generator's weights, or of the file that they came in."""
    return digest in (generator.digest, getattr(generator, "file_digest", None))


def check_truncation(truncation: float) -> None:
    """Refuse a truncation outside (0, 1] with a `UserError`."""
    if not 0 < truncation <= 1:
        raise UserError(f"truncation must be above 0 and at most 1, got {truncation}.")


def _check_draw(n: int, truncation: float) -> None:
    check_truncation(truncation)
    if n < 1:
        raise UserError(f"n must be at least 1, got {n}.")


def normal(n: int, dim: int, rng: torch.Generator, truncation: float, dtype: torch.dtype | None = None) -> Tensor:
    """Draw (n, dim) z on the CPU from a normal distribution whose standard deviation is the truncation."""
    _check_draw(n, truncation)
    return float(truncation) * torch.randn(n, dim, generator=rng, dtype=dtype)


def truncated_normal(n: int, dim: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
    """Draw z as BigGAN-deep does: normal, cut off at 2, times the truncation.

    Args:
        n: Number of latents, at least 1.
        dim: |z|.
        rng: Source of randomness, on the CPU.
        truncation: Factor, in (0, 1].

    Returns:
        (n, dim) float32 on the CPU, every entry in [-2 truncation, 2 truncation].

    Raises:
        UserError: If an argument is outside its range.

    References:
        Brock et al. 2019, arXiv:1809.11096, section 3.1.
    """
    _check_draw(n, truncation)
    # By inversion in float64, not by rejection: each entry costs one draw, so samples do not depend on the batch.
    low, high = torch.special.ndtr(torch.tensor([-2.0, 2.0], dtype=torch.float64))
    uniform = torch.rand(n, dim, generator=rng, dtype=torch.float64)
    return (float(truncation) * torch.special.ndtri(low + (high - low) * uniform)).float()


class ClassConditional(nn.Module):
    """What the generators of the package share: drawing z, classes by name, checks of what comes in.

    Args:
        name: What `load_generator` was given.
        dim_z: |z|.
        num_classes: Number of classes; 0 for an unconditional generator.
        resolution: Height and width of the images, in pixels.
        num_layers: Places where z enters.
        digest: SHA-256 of the weights.
        class_names: A name for each class, or ``None``.
        class_synonyms: Other names of each class by which it can be asked for, or ``None``.

    Attributes:
        source: What `load_generator` finds it by from any folder; empty where it was not loaded.
        file_digest: SHA-256 of the file that its weights came in, or ``None``.
    """

    digest: str
    source: str = ""
    file_digest: str | None = None

    def __init__(
        self, *, name: str, dim_z: int, num_classes: int, resolution: int, num_layers: int, digest: str,
        class_names: tuple[str, ...] | None = None, class_synonyms: Sequence[Sequence[str]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.name, self.dim_z, self.num_classes, self.resolution = name, dim_z, num_classes, resolution
        self.num_layers, self.digest, self.class_names = num_layers, digest, class_names
        self._names = None if class_names is None else ClassNames(class_names, class_synonyms)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        tensor = next(itertools.chain(self.buffers(), self.parameters()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def prepare_steps(self, *, compiled: bool, recompute: bool) -> None:
        """Say how passes with gradients are carried out from now on; for generators that have a choice.

        Args:
            compiled: Let torch.compile make one program of them.
            recompute: Compute parts again for the backward pass instead of holding them.

        Raises:
            UserError: If the generator has no such way. The message begins with "compile" or "recompute".
        """
        for name, wanted in (("compile", compiled), ("recompute", recompute)):
            if wanted:
                raise UserError(f"{name} is for BigGANs, which {self.name!r} is not. Leave it out.")

    def sample_z(self, n: int, *, seed: int | None = None, truncation: float = 1.0) -> Tensor:
        """Draw latents; the same on every machine for a seed.

        Args:
            n: Number of latents, at least 1.
            seed: From 0 to 2^63 - 1; ``None`` draws anew each time.
            truncation: Spread, in (0, 1].

        Returns:
            (n, dim_z) on the generator's device.

        Raises:
            UserError: If an argument is outside its range.
        """
        rng = torch.Generator()
        if seed is None:
            rng.seed()
        else:
            if not hasattr(seed, "__index__") or not 0 <= seed <= MAX_SEED:
                raise UserError(f"seed must be a whole number from 0 to {MAX_SEED} (2^63 - 1), got {seed}.")
            rng.manual_seed(operator.index(seed))
        return self.sample_z_from(n, rng, truncation).to(self.device)

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Spread, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU.
        """
        return truncated_normal(n, self.dim_z, rng, truncation)

    def class_indices(self, y: Labels | None, n: int) -> Tensor:
        """Turn classes into indices.

        Args:
            y: An index or name for all images, or one for each; ``None`` is class 0. Not used without classes.
            n: Number of images.

        Returns:
            (n,) int64 on the generator's device; zeros without classes.

        Raises:
            UserError: If a class does not exist, or there are neither 1 nor n of them.
        """
        if self.num_classes == 0:
            return torch.zeros(n, dtype=torch.int64, device=self.device)
        if isinstance(y, Tensor):
            if y.dtype.is_floating_point or y.dtype == torch.bool or y.ndim > 1:
                raise UserError(f"y must be class indices, shape ({n},), got {y.dtype} of shape {tuple(y.shape)}.")
            y = y.reshape(-1).tolist()
        several = not isinstance(y, str) and isinstance(y, Iterable) and getattr(y, "ndim", 1) > 0
        entries = list(y) if several else [0 if y is None else y]  # type: ignore[arg-type]
        indices = torch.tensor([self._class_index(entry) for entry in entries], dtype=torch.int64, device=self.device)
        if len(indices) not in (1, n):
            raise UserError(f"y must be one class, or one for each of the {n} latents, got {len(indices)}.")
        return indices.expand(n)

    def _class_index(self, entry: Any) -> int:
        """The index of one class, given by index or name."""
        if isinstance(entry, str):
            if self._names is None:
                advice = f"Give an index from 0 to {self.num_classes - 1}."
                raise UserError(f"Generator {self.name!r} has no class names, got {entry!r}. {advice}")
            return self._names.find(entry)
        try:
            index = operator.index(entry)
        except TypeError:
            raise UserError(f"A class must be an index or a name, got {entry!r}.") from None
        if not 0 <= index < self.num_classes:
            names = f" ({', '.join(self.class_names)})" if self.class_names and len(self.class_names) <= 10 else ""
            raise UserError(f"A class must be from 0 to {self.num_classes - 1}{names}, got {index}.")
        return index

    def __call__(self, z: Any, *arguments: Any, **settings: Any) -> Any:
        """Map latents to images as ``forward`` does; NumPy latents give NumPy images."""
        if not isinstance(z, np.ndarray):
            return super().__call__(z, *arguments, **settings)
        latents = torch.as_tensor(z, device=self.device)
        if latents.is_floating_point():
            tensors = itertools.chain(self.buffers(), self.parameters())
            latents = latents.to(next((t.dtype for t in tensors if t.is_floating_point()), torch.float32))
        with torch.no_grad():
            return super().__call__(latents, *arguments, **settings).cpu().numpy()

    def check_z(self, z: Tensor) -> None:
        """Refuse latents that are not (batch, dim_z) of floating point with a `UserError`."""
        if z.ndim != 2 or z.shape[1] != self.dim_z or not z.dtype.is_floating_point:
            raise UserError(
                f"z must be (batch, {self.dim_z}) of floating point for generator {self.name!r}, "
                f"got {z.dtype} of shape {tuple(z.shape)}. Draw it with generator.sample_z(n)."
            )


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Return a function that does the same, compiled at its first call and at each new shape of what it is given.

    Args:
        function: Of tensors, and of what is the same at each call.
        device: Where it runs.

    Returns:
        The compiled function.

    Raises:
        UserError: If there is no compiler, or it fails at the first call. The message begins with "compile".
    """
    require_compiler(device)
    program = torch.compile(function, dynamic=False)

    def call(*arguments: Any, **settings: Any) -> Any:
        from torch._dynamo.exc import BackendCompilerFailed

        try:
            return program(*arguments, **settings)
        except BackendCompilerFailed as error:
            what = f"compile did not work here, torch.compile says: {str(error).strip().splitlines()[0]}"
            raise UserError(f"{what} Leave --compile out; the result is the same.") from error

    return call


def require_compiler(device: torch.device) -> None:
    """Raise a `UserError` that begins with "compile" where torch.compile lacks what it needs."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise UserError("compile needs the package triton for a GPU. Install it, or leave --compile out.")
        return
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++", "cl"]
    if not any(map(shutil.which, names)):
        raise UserError(
            f"compile needs a C++ compiler, and none of {', '.join(names)} is there. Install one, name it in the "
            "environment variable CXX, or leave --compile out."
        )
