"""Recipes: reading, unknown keys, digests, and values per stage."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from redeepfake_nb import Head
from redeepfake_nb.datasets.augmentation import Augmentation
from redeepfake_nb.training.hidden_probe import HiddenProbe
from redeepfake_nb.training.recipes import Recipe, Source, Stage, choose_recipe

TEXT = """
backbone = "FaceResNet"
seed = 3

[head]
units = [8]
dropout = 0.1

[[stages]]
input_size = 51
steps = 4
rate = 0.1

[[stages]]
input_size = 67
steps = 2
rate = 0.01
[stages.augmentation]
erase = 0.5

[augmentation]
crop = [0.5, 1.0]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_fields(file: Path) -> None:
    recipe = Recipe.read(file)
    assert (recipe.name, recipe.backbone, recipe.seed, recipe.steps) == ("mine", "FaceResNet", 3, 6)
    assert (recipe.head.units, recipe.head.dropout) == ((8,), 0.1)
    assert [stage.input_size for stage in recipe.stages] == [51, 67]
    assert recipe.augmentation.crop == (0.5, 1.0)


def test_layers_to_train_are_read(file: Path) -> None:
    digest = Recipe.read(file).digest()
    file.write_text('trainable = ["norm", "logit"]\n' + file.read_text())
    recipe = Recipe.read(file)
    assert recipe.trainable == ("norm", "logit")
    assert recipe.digest() != digest


@pytest.mark.parametrize("value", ['"norm"', '[""]', "[1]"])
def test_layers_to_train_are_a_list_of_names(file: Path, value: str) -> None:
    file.write_text(f"trainable = {value}\n" + file.read_text())
    with pytest.raises(ValueError, match="trainable must be a list of parts of layer names"):
        Recipe.read(file)


def test_a_stage_may_have_its_own_augmentation(file: Path) -> None:
    recipe = Recipe.read(file)
    assert recipe.augmentation_at(3) == Augmentation(crop=(0.5, 1.0))
    assert recipe.augmentation_at(4) == Augmentation(erase=0.5)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed", "sead", r"the recipe has an unknown key 'sead'; do you mean 'seed'\?"),
        ("units", "unit", r"\[head\] has an unknown key 'unit'; do you mean 'units'\?"),
        ("rate = 0.1", "speed = 1", r"\[\[stages\]\] has an unknown key 'speed'; there are input_size, "),
        ("crop", "crob", r"\[augmentation\] has an unknown key 'crob'; do you mean 'crop'\?"),
        ("stages", "stage", r"the recipe has an unknown key 'stage'; do you mean 'stages'\?"),
        ("backbone", "#", "the recipe lacks backbone$"),
        ("steps = 4", "", r"\[\[stages\]\] lacks steps$"),
    ],
)
def test_unknown_and_missing_keys(file: Path, old: str, new: str, words: str) -> None:
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(ValueError, match=rf"mine\.toml: {words}"):
        Recipe.read(file)


def test_a_recipe_without_stages_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('backbone = "FaceResNet"\n')
    with pytest.raises(ValueError, match=r"mine\.toml: the recipe lacks stages$"):
        Recipe.read(path)


def test_digest_follows_the_settings(file: Path) -> None:
    one = Recipe.read(file)
    assert one.digest() == Recipe.read(file).digest()
    file.write_text(TEXT.replace("seed = 3", "seed = 4"))
    assert Recipe.read(file).digest() != one.digest()


def test_digest_ignores_fields_at_their_defaults(file: Path) -> None:
    """So that adding a field does not change the digests of existing recipes and checkpoints."""
    recipe = Recipe.read(file)
    assert replace(recipe, self_blend=0.0, fallback_random=False).digest() == recipe.digest()
    assert replace(recipe, self_blend=0.5).digest() != recipe.digest()
    small = Recipe("a", "b", (Stage(1, 2, 0.5, 4),))
    written = (
        '{"backbone": "b", "name": "a", "stages": [{"input_size": 1, "rate": 0.5, "steps": 2, "warmup": 4}]}'
    )
    assert small.digest() == hashlib.sha256(written.encode()).hexdigest()[:16]


@pytest.mark.parametrize("strength", [0, -1, float("nan"), "strong"])
def test_how_weakly_a_probe_is_regularised_is_a_positive_number(strength: object) -> None:
    with pytest.raises(ValueError, match="linear_probe must be above 0"):
        Recipe("a", "FaceResNet", (Stage(67, 2),), linear_probe=strength)


def test_a_probe_has_one_stage_and_a_linear_head() -> None:
    assert Recipe("a", "FaceResNet", (Stage(67, 2),), linear_probe=0.1).steps == 2
    with pytest.raises(ValueError, match="a single stage and a head without dense layers"):
        Recipe("a", "FaceResNet", (Stage(67, 2), Stage(67, 2)), linear_probe=0.1)
    with pytest.raises(ValueError, match="a single stage and a head without dense layers"):
        Recipe("a", "FaceResNet", (Stage(67, 2),), linear_probe=0.1, head=Head(units=(8,)))


def test_a_hidden_probe_says_how_wide_it_is() -> None:
    stages, head = (Stage(64, 2),), Head(units=(), clip_units=8)
    hidden = {"head": head, "hidden_probe": HiddenProbe()}
    assert Recipe("a", "CLIPViTB16", stages, **hidden).is_probe
    with pytest.raises(ValueError, match="hidden_probe needs a head with clip_units"):
        Recipe("a", "CLIPViTB16", stages, hidden_probe=HiddenProbe())
    with pytest.raises(ValueError, match="linear_probe or hidden_probe, not both"):
        Recipe("a", "CLIPViTB16", stages, **hidden, linear_probe=0.1)
    with pytest.raises(ValueError, match="is trained by hidden_probe, not linear_probe"):
        Recipe("a", "CLIPViTB16", stages, head=head, linear_probe=0.1)
    with pytest.raises(ValueError, match="hidden_probe needs a single stage"):
        Recipe("a", "CLIPViTB16", (*stages, *stages), **hidden)
    with pytest.raises(ValueError, match="hidden_probe trains the head alone"):
        Recipe("a", "CLIPViTB16", stages, **hidden, trainable=("norm",))


def test_a_hidden_probe_is_read_from_its_table(tmp_path: Path) -> None:
    path = tmp_path / "hidden.toml"
    head = "[head]\nunits = []\nclip_units = 8\nclip_centre = true\n"
    text = f'backbone = "CLIPViTB16"\n{head}[hidden_probe]\nepochs = 3\n'
    path.write_text(f"{text}[[stages]]\ninput_size = 64\nsteps = 2\n")
    assert Recipe.read(path).hidden_probe == HiddenProbe(epochs=3)
    assert Recipe.read(path).head == Head(units=(), clip_units=8, clip_centre=True)
    path.write_text(f"{text}rates = 1\n[[stages]]\ninput_size = 64\nsteps = 2\n")
    with pytest.raises(ValueError, match=r"\[hidden_probe\] has an unknown key 'rates'; do you mean 'rate'"):
        Recipe.read(path)


def test_training_needs_a_learning_rate() -> None:
    with pytest.raises(ValueError, match="needs a learning rate"):
        Recipe("a", "FaceResNet", (Stage(67, 2),))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_self_blend_must_be_a_share(file: Path, share: float) -> None:
    file.write_text(f"self_blend = {share}\n{TEXT}")
    with pytest.raises(ValueError, match=r"mine\.toml.*share from 0 to 1"):
        Recipe.read(file)


def test_shipped_recipes_are_valid(root: Path) -> None:
    recipes = sorted((root / "models" / "recipes").glob("*.toml"))
    assert {path.stem for path in recipes} >= {"compact-cpu", "efficientnetb4-224", "smoke"}
    for path in recipes:
        assert Recipe.read(path).name == path.stem


def test_recipes_by_name() -> None:
    assert Recipe.named("smoke").steps == 30
    assert Recipe.named("efficientnetb4-224").fallback_random
    with pytest.raises(ValueError, match=r"'best'; there are .*smoke"):
        Recipe.named("best")


def test_a_stage_may_have_its_own_share_of_self_blends() -> None:
    stages = (Stage(67, 10, 1e-3), Stage(67, 5, 1e-3, self_blend=0.2))
    recipe = Recipe("r", "FaceResNet", stages)
    assert [recipe.pseudo_fakes_at(step)["self_blend"] for step in (0, 9, 10, 14)] == [0, 0, 0.2, 0.2]
    assert recipe.pseudo_share == (0, 0.2)
    assert replace(recipe, self_blend=0.5).pseudo_share == (0.2, 0.5)
    with pytest.raises(ValueError, match="share from 0 to 1"):
        Recipe("r", "FaceResNet", (Stage(67, 5, 1e-3, self_blend=1.5),))


def test_a_recipe_is_chosen_by_name_by_file_or_by_the_faces(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(TEXT)
    assert choose_recipe("smoke").name == "smoke"
    assert choose_recipe(str(tmp_path / "mine.toml")).name == "mine"
    assert choose_recipe(practice=True).name == "smoke"
    assert choose_recipe().name == "efficientnetb4-224"
    assert choose_recipe("smoke", self_blend=0.5).self_blend == 0.5
    with pytest.raises(ValueError, match="self_blend"):
        choose_recipe("smoke", self_blend=2)


# ------------------------------------------------------------------ sources and pseudo-fakes


MIXED = """
backbone = "FaceResNet"
self_blend = 0.1
[pseudo_fakes]
face_swap = 0.2
[[stages]]
input_size = 67
steps = 10
rate = 1e-3
leave_out = ["portraits"]
[[stages]]
input_size = 67
steps = 5
rate = 1e-3
pseudo_fakes = {composite = 0.3}
[[sources]]
name = "swaps"
[[sources]]
name = "portraits"
weight = 2
real = ["studio"]
"""


def test_sources_and_pseudo_fakes_are_read(file: Path) -> None:
    file.write_text(MIXED)
    recipe = Recipe.read(file)
    assert recipe.sources == (Source("swaps"), Source("portraits", 2, ("studio",)))
    assert [stage.leave_out for stage in recipe.stages] == [("portraits",), ()]
    assert recipe.pseudo_fakes_at(0) == {"self_blend": 0.1, "face_swap": 0.2}
    assert recipe.pseudo_fakes_at(10) == {"self_blend": 0.1, "composite": 0.3}
    assert recipe.pseudo_share == pytest.approx((0.3, 0.4))
    assert [recipe.stage_at(step) for step in (9, 10, 99)] == [*recipe.stages, recipe.stages[1]]
    changed = replace(recipe, sources=(Source("swaps"), Source("portraits", 3, ("studio",))))
    assert changed.digest() != recipe.digest()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("face_swap", "painting", "unknown pseudo-fakes painting; there are self_blend, face_swap"),
        ("face_swap = 0.2", "face_swap = 0.95", "at most 1 together"),
        ("face_swap = 0.2", "face_swap = -0.1", "must be 0 or more"),
        ("weight = 2", "weight = 0", "weight of 'portraits' must be above 0"),
        ('leave_out = ["portraits"]', 'leave_out = ["moon"]', "leave_out names unknown sources: moon"),
        ('name = "swaps"', 'name = "portraits"', "a source is listed twice"),
    ],
)
def test_sources_and_shares_that_make_no_sense(file: Path, old: str, new: str, message: str) -> None:
    assert old in MIXED
    file.write_text(MIXED.replace(old, new))
    with pytest.raises(ValueError, match=message):
        Recipe.read(file)
