"""Read a BigGAN-deep's configuration and weights, and check that they are what they say.

Between the files that ``sources`` finds and ``biggan_deep``: nothing is unpickled, names and shapes are compared
strictly, and the digest of the weights is compared with the recorded one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_pretrained_biggan import BigGAN, BigGANConfig

from directions.errors import UserError
from directions.generators.published import CONFIG, WEIGHTS
from directions.generators.sources import read_json
from directions.generators.state_dict import first_difference, read_state_dict, shapes
from directions.generators.weight_files import checked_digest, quick_fault

__all__ = ["CONFIG", "WEIGHTS", "config_resolution", "read_config", "read_model"]

_FIELDS = frozenset(BigGANConfig().__dict__)


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a BigGAN-deep.

    Args:
        path: config.json.

    Returns:
        Fields of ``BigGANConfig``, and class_names and sha256 where they are recorded.

    Raises:
        UserError: If it is missing, no JSON, or lacks a field; or if its class_names are not names of its classes.
    """
    config = read_json(path)
    missing = sorted(_FIELDS - set(config)) if isinstance(config, dict) else sorted(_FIELDS)
    if missing:
        raise UserError(f"{path} is no BigGAN-deep configuration: it lacks {', '.join(missing)}.")
    try:
        config_resolution(config)
    except (TypeError, IndexError):
        raise UserError(
            f"{path} is no BigGAN-deep configuration: layers must be a list of [upsample, width in, width out], got "
            f"{config['layers']!r}."
        ) from None
    names, count = config.get("class_names"), config["num_classes"]
    if names not in (None, []) and not _are_names(names, count):
        raise UserError(
            f"{path}: class_names must be a list of {count} different names, one for each of its num_classes, got "
            f"{names!r}. Correct it, or remove it from the file."
        )
    return dict(config)


def _are_names(names: object, count: object) -> bool:
    return (
        isinstance(names, list)
        and len(names) == count
        and all(isinstance(name, str) and bool(name.strip()) for name in names)
        and len(set(names)) == len(names)
    )


def config_resolution(config: Mapping[str, Any]) -> int:
    """Return the height and width of the images that a configuration makes, in pixels."""
    return int(4 * 2 ** sum(bool(layer[0]) for layer in config["layers"]))


def read_model(
    path: Path, config: Mapping[str, Any], *, recorded: str | None = None, config_name: str = CONFIG
) -> tuple[BigGAN, str]:
    """Read weights into the package's module.

    Args:
        path: The weights: safetensors, or what ``torch.save`` wrote of the package's state dict.
        config: Fields of ``BigGANConfig``; a sha256 in it is what the weights must have.
        recorded: SHA-256 that they had when they were downloaded, if known.
        config_name: Where the configuration comes from, for messages.

    Returns:
        The module in evaluation mode, and the SHA-256 of the file.

    Raises:
        UserError: If the file is missing or damaged, or does not fit the configuration.
    """
    fault = quick_fault(path)
    if fault:
        raise UserError(f"{path} {fault}. Get it anew.")
    digest = checked_digest(path, recorded, {config_name: config.get("sha256")})
    state = read_state_dict(path)
    try:
        model = BigGAN(BigGANConfig.from_dict({name: config[name] for name in _FIELDS}))
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        raise UserError(f"{config_name} is no BigGAN-deep configuration: {error}.") from None
    difference = first_difference(shapes(model.state_dict()), shapes(state))
    if difference:
        raise UserError(f"{path} does not fit {config_name}: {difference}.")
    model.load_state_dict(state)
    return model.eval(), digest
