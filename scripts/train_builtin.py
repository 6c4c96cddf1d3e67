"""Train the built-in generator on the rendered scenes: a small BigGAN-deep, checkpointed and resumable.

``make builtin`` runs it, then ``scripts/export_builtin.py``, which measures the result and writes the packaged files.
Run the same command again to go on after an interruption. It is ``directions gan train --arch biggan`` with the
settings that the card names, in steps, and a folder that is always the same.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from tqdm import tqdm

from directions.errors import NonFiniteError, UserError
from directions.gan.config import TrainConfig
from directions.gan.data.scenes import SceneImages
from directions.gan.data.source import open_data
from directions.gan.recording import record_training
from directions.gan.records import Record
from directions.gan.run_folder import TrainingFolder
from directions.gan.starting import starting_state
from directions.gan.trainer import Trainer
from directions.runs.signals import Interrupted


@dataclass(frozen=True)
class Settings:
    """What the card of the built-in generator says of its training."""

    steps: int = 5000
    batch_size: int = 32
    channel_width: int = 24
    discriminator_width: int = 24
    generator_rate: float = 2e-4
    discriminator_rate: float = 4e-4
    decay_from: float = 0.5
    ema: float = 0.999
    texture: float = 0.0
    colour: float = 0.0
    bfloat16: bool = True
    seed: int = 0

    def config(self, data: Path, start: Path | None) -> TrainConfig:
        """The same in the trainer's units: kimg, and a half-life for the decay of the average."""
        if self.steps < 1 or self.batch_size < 2 or not 0 < self.ema < 1:
            raise UserError("--steps must be at least 1, --batch-size at least 2, and --ema above 0 and below 1.")
        return TrainConfig.of(
            data=str(data),
            arch="biggan",
            kimg=self.steps * self.batch_size / 1000,
            batch_size=(self.batch_size,),
            channel_width=self.channel_width,
            discriminator_width=self.discriminator_width,
            learning_rate=self.generator_rate,
            discriminator_rate=self.discriminator_rate,
            decay_from=self.decay_from,
            ema_kimg=math.log(0.5) / math.log(self.ema) * self.batch_size / 1000,
            texture=self.texture,
            colour=self.colour,
            bfloat16=self.bfloat16,
            seed=self.seed,
            fine_tune=None if start is None else str(run_in(start)),
            stats_every=1,
            sheet_kimg=8.0,
        )


def run_in(folder: Path) -> Path:
    """The run folder in the folder that ``--out`` names."""
    return folder / "00000-run"


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; every field of ``Settings`` is an option."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data/clevr-simple-64"), help="scene folder")
    parser.add_argument("--out", type=Path, default=Path("outputs/builtin"), help="folder of the run")
    parser.add_argument("--start", type=Path, help="--out of the run whose trained networks to start from")
    for field in fields(Settings):
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
        settings = Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
        config = settings.config(arguments.data, arguments.start)
        SceneImages(arguments.data).check_digest()
        trainer = Trainer(config, open_data(config))
        if run_in(arguments.out).is_dir():
            folder = TrainingFolder.open(run_in(arguments.out))
        else:
            folder = TrainingFolder.create(arguments.out, "run", config, trainer.arch.export_config())
        state = folder.read_checkpoint()
        if state is not None:
            trainer.load_state_dict(state)
        elif config.fine_tune is not None:
            trainer.start_from(starting_state(config.fine_tune)[1])
        bar = tqdm(total=config.images, initial=trainer.seen, unit="img", desc="Training", smoothing=0.05)

        def show(trainer: Trainer, record: Record | None) -> None:
            bar.update(trainer.last_batch)
            if record is not None:
                losses = f"D {record.terms['loss_d']:.3f} G {record.terms['loss_g']:+.3f}"
                bar.set_postfix_str(losses, refresh=False)

        record_training(trainer, folder, on_step=show, on_stage=tqdm.write)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except NonFiniteError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except Interrupted as signal:
        print("\nStopped; the same command goes on from here.", file=sys.stderr)
        return signal.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
