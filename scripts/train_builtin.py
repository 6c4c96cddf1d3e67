"""Train the built-in generator on the rendered scenes: a small BigGAN-deep, checkpointed and resumable.

``make builtin`` runs it, then ``scripts/export_builtin.py``, which measures the result and writes the packaged files.
Run the same command again to go on after an interruption.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import torch
from tqdm import tqdm

from directions.errors import UserError
from directions.gan.data.scenes import SceneImages
from directions.gan.training import Trainer, TrainingConfig, read_checkpoint, resume, save, train
from directions.runs.signals import Interrupted, StopSignals


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every field of ``TrainingConfig`` is an option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/clevr-simple-64"), help="scene folder")
    parser.add_argument("--out", type=Path, default=Path("outputs/builtin"), help="folder of the run")
    parser.add_argument("--start", type=Path, help="run whose trained networks to start from")
    for field in fields(TrainingConfig):
        name = "--" + field.name.replace("_", "-")
        if field.type == "bool":
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=field.default, help=" ")
        else:
            parser.add_argument(name, type=type(field.default), default=field.default, help=" ")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train; 130 or 143 after a signal, 2 after bad input, 1 if a loss is not finite."""
    arguments = parse_arguments(argv)
    torch.set_flush_denormal(True)
    try:
        config = TrainingConfig(**{field.name: getattr(arguments, field.name) for field in fields(TrainingConfig)})
        data = SceneImages(arguments.data)
        data.check_digest()
        arguments.out.mkdir(parents=True, exist_ok=True)
        trainer = Trainer(config, data)
        if arguments.start:
            trainer.start_from(read_checkpoint(arguments.start))
        resume(trainer, arguments.out)
        bar = tqdm(total=config.steps, initial=trainer.step, unit="step", desc="Training", smoothing=0.05)
        with StopSignals() as signals:
            for record in train(trainer, arguments.out):
                bar.update()
                bar.set_postfix_str(f"D {record['loss_d']:.3f} G {record['loss_g']:+.3f}", refresh=False)
                if signals.requested:
                    save(trainer, arguments.out)
                    signals.stop_if_requested()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except FloatingPointError as error:
        print(f"Error: {error} The last checkpoint is kept; try lower rates or --no-bfloat16.", file=sys.stderr)
        return 1
    except Interrupted as signal:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return signal.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
