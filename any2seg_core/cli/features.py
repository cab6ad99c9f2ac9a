"""``any2seg features``: what the encoder makes of every sensor, as a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from any2seg_core.base.command_options import JsonOption, with_settings
from any2seg_core.base.errors import UserError
from any2seg_core.base.progress import Progress
from any2seg_core.base.screen import say
from any2seg_core.evaluation.settings import FeatureSettings


@with_settings(FeatureSettings, arguments=("checkpoint", "data"))
def features(
    settings: FeatureSettings,
    out: Annotated[Path, typer.Option("-o", "--out", help="Picture to write (.png).")] = Path("features.png"),
    as_json: JsonOption = False,
) -> None:
    """Draw the features of every sensor: principal components of the same places, coloured by sensor and by class.

    Where sensors share one space, the colours of the left panel mix and those of the right one part.

    Example: any2seg features checkpoints/drive_b0.safetensors data/drive -o runs/features.png
    """
    from PIL import Image

    from any2seg_core.base.atomic import replacing
    from any2seg_core.evaluation.features import sample_features
    from any2seg_core.reports.features import features_document, features_picture

    if out.suffix.lower() != ".png":
        raise UserError(f"--out {out}: is written as PNG; name it {out.stem or 'features'}.png", "file-name")
    with Progress(f"features of {settings.checkpoint.name}") as progress:
        sample = sample_features(settings, progress.stage)
    with replacing(out) as partial:
        Image.fromarray(features_picture(sample)).save(partial, "PNG")
    document = features_document(sample)
    if as_json:
        say(json.dumps(document | {"out": str(out)}))
    else:
        sensors, classes = (document[key] or 0.0 for key in ("between_sensors", "between_classes"))
        say(
            f"{out}: {document['features']} features of {document['frames']} frames; of their variance {sensors:.1f} % "
            f"lies between sensors, {classes:.1f} % between classes"
        )
