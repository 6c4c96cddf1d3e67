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
from directions.generators.weight_files import quick_fault, sha256_of

__all__ = ["CONFIG", "WEIGHTS", "config_resolution", "read_config", "read_model"]

_FIELDS = frozenset(BigGANConfig().__dict__)


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a BigGAN-deep.

    Args:
        path: config.json.

    Returns:
        Fields of ``BigGANConfig``, and class_names and sha256 where they are recorded.

    Raises:
        UserError: If it is missing, no JSON, or lacks a field.
    """
    config = read_json(path)
    missing = sorted(_FIELDS - set(config)) if isinstance(config, dict) else sorted(_FIELDS)
    if missing:
        raise UserError(f"{path} is no BigGAN-deep configuration: it lacks {', '.join(missing)}.")
    return dict(config)


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
    digest = sha256_of(path)
    own = "Get it anew, or, if you put it there yourself, remove the record beside it."
    for where, expected, advice in (
        (config_name, config.get("sha256"), "Get it anew."),
        ("the record of its download", recorded, own),
    ):
        if expected not in (None, digest):
            raise UserError(
                f"{path} is damaged or from another training: its SHA-256 is {digest}, {where} has {expected}. {advice}"
            )
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
