"""Parameters of generators, in the forms in which the programs write them."""

from __future__ import annotations

import json

import pytest

from redeepfake_nb.provenance.embedded import Text
from redeepfake_nb.provenance.generators import MAX_PROMPT, find_generators

WEB_UI = (
    "a portrait\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 6ce0161689, Model: v1-5"
)
COMFY = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sdxl.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a portrait", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["4", 1]}},
}
INVOKE = {"positive_prompt": "a portrait", "model": {"name": "sdxl", "hash": "x"}, "steps": 30}
OLD_INVOKE = {"model_weights": "sd-1.5", "image": {"prompt": [{"prompt": "a portrait", "weight": 1}]}}
NOVEL = json.dumps({"prompt": "a portrait", "steps": 28})
FOOOCUS = '{"base_model": "juggernaut", "prompt": "a portrait", "version": "Fooocus v2"}'
JOB = "a portrait --v 6.1 Job ID: 12345678-1234-1234-1234-123456789abc"


@pytest.mark.parametrize(
    ("texts", "name", "model", "prompt"),
    [
        ([Text("PNG text", "parameters", WEB_UI)], "Stable Diffusion (web UI)", "v1-5", "a portrait"),
        ([Text("EXIF", "UserComment", WEB_UI)], "Stable Diffusion (web UI)", "v1-5", "a portrait"),
        ([Text("PNG text", "prompt", json.dumps(COMFY))], "ComfyUI", "sdxl.safetensors", "a portrait"),
        ([Text("PNG text", "workflow", '{"nodes": [], "links": []}')], "ComfyUI", "", ""),
        ([Text("PNG text", "invokeai_metadata", json.dumps(INVOKE))], "InvokeAI", "sdxl", "a portrait"),
        ([Text("PNG text", "sd-metadata", json.dumps(OLD_INVOKE))], "InvokeAI", "sd-1.5", "a portrait"),
        ([Text("PNG text", "Dream", "a portrait -s 50")], "InvokeAI", "", "a portrait -s 50"),
        (
            [Text("PNG text", "Software", "NovelAI"), Text("PNG text", "Comment", NOVEL)],
            "NovelAI", "", "a portrait",
        ),
        ([Text("PNG text", "Description", JOB)], "Midjourney", "", "a portrait --v 6.1"),
        (
            [
                Text("PNG text", "fooocus_scheme", "fooocus"),
                Text("PNG text", "parameters", FOOOCUS),
            ],
            "Fooocus", "juggernaut", "a portrait",
        ),
    ],
)  # fmt: skip
def test_generators_are_recognised(texts: list[Text], name: str, model: str, prompt: str) -> None:
    (found, *others) = find_generators(texts)
    assert not others
    assert (found.name, found.model, found.prompt) in (
        (name, model, prompt),
        (name, "", ""),  # the keyword alone
    )
    if len(texts) == 1:
        assert (found.model, found.prompt) == (model, prompt)


@pytest.mark.parametrize(
    "text",
    [
        Text("PNG text", "parameters", "exposure 1/60, aperture f/4"),
        Text("PNG text", "Comment", "Created with GIMP"),
        Text("PNG text", "prompt", "What do you see?"),
        Text("PNG text", "prompt", '{"a": 1}'),
        Text("PNG text", "workflow", "[" * 100_000),
        Text("PNG text", "Description", "Steps: we walked up 20 of them. Sampler: none"),
        Text("JPEG comment", "", "Job ID: 7"),
    ],
)
def test_other_texts_are_not(text: Text) -> None:
    assert find_generators([text]) == []


def test_deep_json_is_no_crash() -> None:
    deep = '{"a":' * 50_000 + "1" + "}" * 50_000
    assert find_generators([Text("PNG text", "prompt", deep)]) == []


def test_prompts_are_shown_shortened_and_printable() -> None:
    prompt = "word \x1b[31m<script>\n" * 500
    (found,) = find_generators([Text("PNG text", "Dream", prompt)])
    assert len(found.words) < MAX_PROMPT + 40
    assert found.words.isprintable()
