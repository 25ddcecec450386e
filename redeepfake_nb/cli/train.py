"""``redeepfake-nb train`` and ``join``: train a model, or make one of several."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from ..errors import displayable
from .arguments import add_data

_BY: dict[str, Any] = {
    "nargs": "+",
    "default": (),
    "metavar": "COLUMN",
    "help": "columns of the CSV with groups of val faces that you annotated, such as glasses: the card then "
    "has their error rates",
}


def add(commands: Any) -> None:
    """Add both commands to the parser's."""
    train = commands.add_parser("train", help="train a model from a recipe")
    train.add_argument("recipe", metavar="RECIPE.toml")
    add_data(train)
    train.add_argument(
        "--out", required=True, metavar="DIR", help="folder for checkpoints, logs and the model"
    )
    train.add_argument(
        "--leave-one-out",
        action="store_true",
        help="train once without each source of fakes, and write how well each is detected unseen",
    )
    train.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that make batches, for an accelerator that would wait for them; default: a thread",
    )
    train.add_argument("--by", **_BY)
    train.set_defaults(run=_run_train)

    join = commands.add_parser("join", help="combine several trained networks into one model")
    join.add_argument(
        "models",
        nargs="+",
        metavar="MODEL.keras",
        help="EfficientNet-Lite models before FaceResNet models, CLIPViTB16 last; "
        "models that differ in nothing but their heads become one network",
    )
    join.add_argument(
        "--weights",
        nargs="+",
        type=float,
        action="append",
        metavar="WEIGHT",
        help="one per model; default: all alike. With --gate once for each expert, 0 for models that take no "
        "part in it",
    )
    join.add_argument(
        "--gate",
        nargs="+",
        default=(),
        metavar="CHECKPOINT.npz",
        help="weight several experts for each face by whose training faces it looks like: per expert the "
        "checkpoint of a linear probe on CLIPViTB16",
    )
    join.add_argument(
        "--prior",
        nargs="+",
        type=float,
        metavar="SHARE",
        help="of the gate: per expert how likely its kind of face is beforehand; default: all alike",
    )
    join.add_argument(
        "--logit-scale",
        nargs="+",
        type=float,
        metavar="FACTOR",
        help="with --gate: per expert a factor on its logit, below 1 for one that errs more on what is new "
        "than on val; default: 1",
    )
    join.add_argument(
        "--degraded-faces",
        type=int,
        default=0,
        metavar="N",
        help="let CLIPViTB16's features undo what recompression, rescaling, blur and sharpening do to the "
        "score, fitted to about N training faces; default: 0, leave it",
    )
    join.add_argument(
        "--no-mirror",
        action="store_true",
        help="do not score the mirror image as well, even if one of the models does",
    )
    join.add_argument("--size", type=int, required=True, help="input size of the combined model in pixels")
    add_data(join)
    join.add_argument(
        "--recipe",
        metavar="RECIPE.toml",
        help="whose augmentation and pseudo-fakes kinds of fakes are told apart with; default: name no kinds",
    )
    join.add_argument("--by", **_BY)
    join.add_argument("--out", required=True, metavar="MODEL.keras")
    join.set_defaults(run=_run_join)


def _run_train(options: argparse.Namespace) -> int:
    """Train from a recipe; return the exit status."""
    from tqdm import tqdm

    from ..datasets.joining import read_collections
    from ..datasets.opening import split_by_person
    from ..training.exporter import train_and_export
    from ..training.leave_one_out import leave_one_source_out
    from ..training.recipes import Recipe

    if options.leave_one_out and options.by:
        raise ValueError("--by is for the card, and --leave-one-out writes none")
    recipe = Recipe.read(options.recipe)
    faces = read_collections(options.data, options.images)
    # Telling people apart takes minutes; whole source videos leak nothing but the people in several of them.
    faces = split_by_person(faces, identify_people=faces.table["original"].isna().any())
    with tqdm(total=recipe.steps, unit="step") as bar:

        def progress(step: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.update(step - bar.n)
            if not math.isnan(loss):  # a linear probe has none before its end
                bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

        if options.leave_one_out:
            table = leave_one_source_out(
                recipe, faces, options.out, progress=progress, workers=options.workers
            )
        else:
            path = train_and_export(
                recipe,
                faces,
                options.out,
                progress=progress,
                log=bar.write,
                workers=options.workers,
                by=options.by,
            )
    if options.leave_one_out:
        print(table.to_string(index=False, float_format="{:.3f}".format))
        print(f"table: {displayable(Path(options.out) / 'leave_one_out.csv')}")
        return 0
    print(f"model, sidecar and card: {path}")
    return 0


def _run_join(options: argparse.Namespace) -> int:
    """Make one model of several; return the exit status."""
    from ..datasets.joining import read_collections
    from ..models.loading import load_model
    from ..training.joining import join_and_export
    from ..training.recipes import Recipe

    recipe = Recipe.read(options.recipe) if options.recipe else None
    weights = options.weights
    if weights is not None and not options.gate:
        if len(weights) > 1:
            raise ValueError("--weights given more than once needs --gate, which weights the experts")
        (weights,) = weights
    classifiers = [load_model(path) for path in options.models]
    faces = read_collections(options.data, options.images)
    path = join_and_export(
        classifiers,
        options.size,
        faces,
        options.out,
        weights=weights,
        gate=options.gate,
        prior=options.prior,
        logit_scale=options.logit_scale,
        degraded_faces=options.degraded_faces,
        mirror=False if options.no_mirror else None,
        recipe=recipe,
        by=options.by,
        log=print,
    )
    print(f"model, sidecar and card: {path}")
    return 0
