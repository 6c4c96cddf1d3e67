"""Read a BigGAN-deep from a folder of config.json and weights.safetensors, and check that it is what it says.

Between the files and ``biggan_deep``: nothing is unpickled, names and shapes are compared strictly, and the digest of
the weights is compared with the recorded one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pytorch_pretrained_biggan import BigGAN, BigGANConfig
from safetensors import SafetensorError
from safetensors.torch import load

from directions.errors import UserError

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
_FIELDS = frozenset(BigGANConfig().__dict__)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the configuration of a generator's folder.

    Args:
        folder: Holds config.json.

    Returns:
        Fields of ``BigGANConfig``, and class_names and sha256 where they are recorded.

    Raises:
        UserError: If it is missing, no JSON, or lacks a field.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. A generator's folder holds {CONFIG}.") from None
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}). Put the file back as it came with the weights.") from None
    missing = sorted(_FIELDS - set(config)) if isinstance(config, dict) else sorted(_FIELDS)
    if missing:
        raise UserError(f"{path} is no BigGAN-deep configuration: it lacks {', '.join(missing)}.")
    return config


def read_model(folder: Path) -> tuple[BigGAN, dict[str, Any], str]:
    """Read a generator's folder into the package's module.

    Args:
        folder: Holds config.json and weights.safetensors.

    Returns:
        The module in evaluation mode, its configuration, and the SHA-256 of the weights.

    Raises:
        UserError: If a file is missing or damaged, or the weights do not fit the configuration.
    """
    config = read_config(folder)
    path = folder / WEIGHTS
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror}. A generator's folder holds {WEIGHTS}.") from None
    digest = hashlib.sha256(data).hexdigest()
    if config.get("sha256", digest) != digest:
        raise UserError(
            f"{path} is damaged or from another training: its SHA-256 is {digest}, {CONFIG} records "
            f"{config['sha256']}. Get both files anew."
        )
    try:
        state = load(data)
    except SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file ({error}). Get it anew.") from None
    model = BigGAN(BigGANConfig.from_dict({name: config[name] for name in _FIELDS}))
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != found:
        raise UserError(f"{path} does not fit {folder / CONFIG}: {_first_difference(wanted, found)}.")
    model.load_state_dict(state)
    return model.eval(), config, digest


def _first_difference(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            got = f"has shape {found[name]}" if name in found else "is missing"
            allowed = f"{wanted[name]} is needed" if name in wanted else "no such tensor is needed"
            return f"tensor {name} {got}, {allowed}"
    raise AssertionError("no difference")
