"""A plain torch module from z to images, as a generator; ``custom`` wraps what users bring.

The module is put into evaluation mode, frozen, and tried out: what discovery and rendering rely on is checked before it
is used, and the message says what to change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from directions.errors import UserError
from directions.generators.base import ClassConditional, Labels, check_truncation
from directions.generators.checks import TOLERANCE, check_range, check_same
from directions.generators.compilation import compiled as compile_function
from directions.memory import is_out_of_memory

_WIDTHS = ("dim_z", "z_dim", "latent_dim", "nz", "z_size", "latent_size")
_TRIED = 8


def wrap(module: nn.Module, name: str) -> WrappedModule:
    """Make a module a generator, after trying it out.

    Args:
        module: Takes (batch, |z|) or (batch, |z|, 1, 1), and gives (batch, 3 or 1, size, size) in [-1, 1]; an
            attribute ``dim_z`` says |z|, else it is found out.
        name: What `load_generator` was given.

    Returns:
        The generator: without classes, z standard normal.

    Raises:
        UserError: If the module has no weights yet, |z| cannot be found out, or the module raises, returns no images,
            images outside [-1, 1], of changing size, of another sample's making, or other ones at each call.
    """
    freeze(module, name)
    dim_z, spatial = _probe(module, name)
    z = torch.randn(_TRIED, dim_z, generator=torch.Generator().manual_seed(0)).to(_like(module))
    images = _images(module, z, spatial, name)
    check_range(images, name)
    again = _images(module, z, spatial, name)
    check_same(images, again, name)
    for part in (z[:1], z[:3]):
        alone = _images(module, part, spatial, name)
        if alone.shape[1:] != images.shape[1:] or len(alone) != len(part):
            raise UserError(
                f"{name} gives {_size(images)} for {_TRIED} latents, and {_size(alone)} for {len(part)}: the size of "
                "an image must not change."
            )
        if not torch.allclose(alone, images[: len(part)], atol=TOLERANCE):
            raise UserError(
                f"{name} gives another image for the same z when it comes with other latents. An image must depend on "
                "its own z only: let batch norms use running statistics."
            )
    return WrappedModule(module, name=name, dim_z=dim_z, resolution=images.shape[-1], spatial=spatial)


class WrappedModule(ClassConditional):
    """A module as a generator; made by `wrap`.

    Args:
        module: Frozen, in evaluation mode.
        name: What `load_generator` was given.
        dim_z: |z|.
        resolution: Height and width of its images, in pixels.
        spatial: Whether it takes (batch, |z|, 1, 1).
    """

    def __init__(self, module: nn.Module, *, name: str, dim_z: int, resolution: int, spatial: bool) -> None:
        super().__init__(
            name=name,
            dim_z=dim_z,
            num_classes=0,
            resolution=resolution,
            num_layers=1,
            digest=_digest(module),
            class_names=None,
        )
        self.module, self.spatial = module, spatial
        self._program: Callable[[Tensor], object] | None = None
        self.eval()

    def prepare_steps(self, *, compiled: bool, recompute: bool) -> None:
        """Say how passes with gradients are carried out from now on.

        Args:
            compiled: Let torch.compile make one program of the module.
            recompute: Must be false: what the module holds is its own affair.
        """
        if recompute:
            super().prepare_steps(compiled=False, recompute=True)
        self._program = compile_function(self.module, self.device) if compiled else None

    def forward(self, z: Tensor, y: Labels | None = None, *, truncation: float = 1.0) -> Tensor:
        """Generate images.

        Args:
            z: (batch, dim_z).
            y: Not used: there are no classes.
            truncation: In (0, 1]; only the spread of z depends on it.

        Returns:
            (batch, 3, resolution, resolution).

        Raises:
            UserError: If z is not fitting, or the images have another size than before.
        """
        self.check_z(z)
        check_truncation(truncation)
        module = self.module if self._program is None or not torch.is_grad_enabled() else self._program
        images = _images(module, z.to(_like(self.module)), self.spatial, self.name)
        if images.shape[2:] != (self.resolution, self.resolution) or len(images) != len(z):
            raise UserError(
                f"{self.name} gives {_size(images)} now, and {self.resolution} × {self.resolution} pixels before: the "
                "size of an image must not change."
            )
        return images.expand(-1, 3, -1, -1)

    def sample_z_from(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """Draw latents from a source of randomness.

        Args:
            n: Number of latents, at least 1.
            rng: On the CPU.
            truncation: Factor, in (0, 1].

        Returns:
            (n, dim_z) float32 on the CPU, normal with standard deviation ``truncation``.

        Raises:
            UserError: If n or the truncation is outside its range.
        """
        check_truncation(truncation)
        if n < 1:
            raise UserError(f"n must be at least 1, got {n}.")
        return truncation * torch.randn(n, self.dim_z, generator=rng)


def freeze(module: nn.Module, name: str) -> None:
    """Put a module into evaluation mode, and let none of its parameters require gradients.

    Args:
        module: What a user's function returned.
        name: What `load_generator` was given.

    Raises:
        UserError: If some of its tensors have no values.
    """
    for label, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise UserError(
                f"{name} has weights that are not made yet, such as {label}: a lazy layer learns its width when it is "
                "first called. Call the module once in the function that returns it, or give the layers their widths."
            )
        if tensor.is_meta:
            raise UserError(
                f"{name} has weights without values, such as {label}: they are on the device 'meta'. Load the weights "
                "in the function that returns it."
            )
    module.eval()
    for parameter in module.parameters():  # one by one, because scripted modules know no requires_grad_ of their own
        parameter.requires_grad_(False)


def _probe(module: nn.Module, name: str) -> tuple[int, bool]:
    """Find |z|, and whether z comes as a vector or as one pixel, by trying."""
    attribute = next((label for label in _WIDTHS if _is_width(getattr(module, label, None))), None)
    widths = [int(getattr(module, attribute))] if attribute is not None else list(dict.fromkeys(_first_widths(module)))
    forms = [(width, spatial) for width in widths for spatial in (False, True)]
    problems = []
    for width, spatial in forms:
        problem = _problem(module, width, spatial)
        if problem is None:
            return width, spatial
        problems.append(problem)
    tried = " or ".join(map(str, widths)) or "none that could be read off its layers"
    raise UserError(
        f"{name} could not be called with z of shape (2, |z|) or (2, |z|, 1, 1), |z| tried: {tried}"
        + (f"; the first try raised {problems[0]}" if problems else "")
        + ". Give the module an attribute dim_z with the right width."
    )


def _problem(module: nn.Module, width: int, spatial: bool) -> str | None:
    """What a module raises for a |z|, or ``None``."""
    try:
        _call(module, torch.zeros(2, width).to(_like(module)), spatial)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return f"{type(error).__name__}: {error}"
    return None


def _first_widths(module: nn.Module) -> Iterator[int]:
    """Widths of input of its layers, first to last."""
    for layer in module.modules():
        for label in ("in_features", "in_channels"):
            if _is_width(getattr(layer, label, None)):
                yield int(getattr(layer, label))


def _is_width(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _call(module: Callable[[Tensor], object], z: Tensor, spatial: bool) -> object:
    z = z.clone()  # it is the module's own, to be changed in place if it likes
    return module(z[..., None, None] if spatial else z)


def _images(module: Callable[[Tensor], object], z: Tensor, spatial: bool, name: str) -> Tensor:
    try:
        images = _call(module, z, spatial)
    except UserError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise UserError(f"{name} raised {type(error).__name__} for z of shape {tuple(z.shape)}: {error}.") from error
    if not isinstance(images, Tensor):
        raise UserError(f"{name} must give a tensor of images, got a {type(images).__name__}. Return the images alone.")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2] != images.shape[3]:
        raise UserError(
            f"{name} must give square images, (batch, 3 or 1, size, size), got shape {tuple(images.shape)}."
        )
    return images


def _size(images: Tensor) -> str:
    return f"{len(images)} images of {images.shape[2]} × {images.shape[3]} pixels"


def _like(module: nn.Module) -> Tensor:
    """A tensor of the module's device and precision."""
    tensors = (tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.dtype.is_floating_point)
    return next(tensors, torch.empty(0))


def _digest(module: nn.Module) -> str:
    """Digest of the module's class and tensors: what fixes its function, as far as can be seen."""
    digest = hashlib.sha256(f"{type(module).__module__}.{type(module).__qualname__}".encode())
    for label, tensor in (*module.state_dict().items(), *_constants(module)):
        if not isinstance(tensor, Tensor):
            continue  # get_extra_state may give anything, such as what looks different in each process
        data = tensor.detach().cpu().contiguous()
        digest.update(f"{label} {data.dtype} {tuple(data.shape)}".encode())
        digest.update(data.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _constants(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a scripted module's program: torch.jit.freeze moves the weights there."""
    if isinstance(module, torch.jit.ScriptModule):
        graph: Any = module.inlined_graph  # named, because its nodes live as long as it does
        nodes = graph.findAllNodes("prim::Constant")
        tensors = (node for node in nodes if node.hasAttribute("value") and node.kindOf("value") == "t")
        yield from ((f"constant {number}", node.t("value")) for number, node in enumerate(tensors))
