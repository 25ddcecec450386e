"""Words of the field: IPTC's digital source types, C2PA's actions, and names of generators of media."""

from __future__ import annotations

import re
from typing import Literal

AiShare = Literal["all", "part", ""]

# IPTC NewsCodes "Digital Source Type" and C2PA's own terms: last part of the address -> (words, how much of
# the picture AI made). Enhancing by an algorithm (denoising, sharpening) is not counted as AI.
SOURCE_TYPES: dict[str, tuple[str, AiShare]] = {
    "trainedAlgorithmicMedia": ("made by generative AI", "all"),
    "compositeWithTrainedAlgorithmicMedia": ("a part was made or changed by generative AI", "part"),
    "trainedAlgorithmicData": ("data made by a trained model", "all"),
    "compositeSynthetic": ("a composite that includes synthetic elements", "part"),
    "algorithmicMedia": ("made by an algorithm without training data", ""),
    "dataDrivenMedia": ("drawn from data", ""),
    "algorithmicallyEnhanced": ("enhanced by an algorithm", ""),
    "digitalCapture": ("taken by a digital camera", ""),
    "computationalCapture": ("taken by a camera that combines several exposures", ""),
    "negativeFilm": ("digitised from a negative", ""),
    "positiveFilm": ("digitised from a slide", ""),
    "print": ("digitised from a print", ""),
    "minorHumanEdits": ("taken by a camera, with minor edits by a person", ""),
    "humanEdits": ("edited by a person", ""),
    "digitalArt": ("drawn by a person", ""),
    "digitalCreation": ("created by a person with digital tools", ""),
    "softwareImage": ("made by software", ""),
    "virtualRecording": ("a recording of a virtual scene", ""),
    "screenCapture": ("a screenshot or screen recording", ""),
    "composite": ("a composite of several elements", ""),
    "compositeCapture": ("a composite of several photographs", ""),
    "empty": ("an empty canvas", ""),
}

# Actions of the C2PA specification, 2.2, chapter "Actions".
ACTIONS = {
    "c2pa.created": "created",
    "c2pa.opened": "opened",
    "c2pa.placed": "placed a picture in it",
    "c2pa.edited": "edited",
    "c2pa.edited.metadata": "metadata edited",
    "c2pa.converted": "converted",
    "c2pa.transcoded": "transcoded",
    "c2pa.repackaged": "repackaged",
    "c2pa.published": "published",
    "c2pa.cropped": "cropped",
    "c2pa.resized": "resized",
    "c2pa.resized.proportional": "resized",
    "c2pa.orientation": "turned or mirrored",
    "c2pa.color_adjustments": "colours adjusted",
    "c2pa.adjustedColor": "colours adjusted",
    "c2pa.filtered": "filtered",
    "c2pa.enhanced": "enhanced",
    "c2pa.drawing": "drawn on",
    "c2pa.addedText": "text added",
    "c2pa.dubbed": "dubbed",
    "c2pa.translated": "translated",
    "c2pa.removed": "removed a part",
    "c2pa.deleted": "removed a part",
    "c2pa.redacted": "redacted information",
    "c2pa.watermarked": "watermarked",
    "c2pa.watermarked.bound": "watermarked",
    "c2pa.watermarked.unbound": "watermarked",
    "c2pa.unknown": "changed in an unknown way",
}

# Programs and services that make or change pictures, videos and faces by trained models, as they write
# themselves into fields for software, credit and source. Not searched for in captions, where a person may
# write about them.
_GENERATORS = (
    r"midjourney", r"dall[-·. ]?e\b", r"chatgpt", r"gpt-?4o", r"gpt-image", r"openai", r"adobe firefly",
    r"stable[ -]?diffusion", r"sdxl", r"comfyui", r"invoke ?ai", r"novelai", r"fooocus", r"automatic1111",
    r"draw things", r"diffusionbee", r"easy diffusion", r"swarmui", r"forge webui", r"sd\.next",
    r"(?:made|edited|created) with google ai", r"google (?:imagen|gemini|generative ai)", r"nano banana",
    r"(?:bing )?image creator (?:from|by) (?:microsoft )?(?:bing|designer)", r"bing image creator",
    r"microsoft designer", r"leonardo\.ai", r"ideogram", r"black forest labs", r"flux[ .-](?:1|dev|pro)\b",
    r"playground ai", r"nightcafe", r"craiyon", r"artbreeder", r"generated\.photos", r"stylegan",
    r"thispersondoesnotexist", r"imagined (?:with|by) (?:meta )?ai", r"meta ai\b", r"runwayml",
    r"luma (?:ai|dream machine)", r"kling ?ai", r"hailuo ai", r"heygen", r"synthesia", r"deepfacelab",
    r"facefusion", r"deepfacelive", r"faceapp", r"jimeng", r"doubao", r"tongyi wanxiang",
)  # fmt: skip
# Words that are also names of people and things: generators only where a program is named.
_IN_SOFTWARE = (
    r"imagen \d", r"veo ?\d", r"recraft", r"grok\b", r"runway\b", r"sora\b", r"pika\b", r"d-id\b",
    r"faceswap\b", r"roop\b", r"reface\b", r"remini\b", r"hunyuan",
)  # fmt: skip
_GENERATOR = re.compile(rf"(?<![a-z])(?:{'|'.join(_GENERATORS)})", re.IGNORECASE)
_GENERATOR_PROGRAM = re.compile(rf"(?<![a-z])(?:{'|'.join(_GENERATORS + _IN_SOFTWARE)})", re.IGNORECASE)


def source_type(value: str) -> tuple[str, AiShare] | None:
    """Return the words of a digital source type, given as an address or by its last part."""
    name = value.strip().rstrip("/").rpartition("/")[2].rpartition(":")[2]
    return SOURCE_TYPES.get(name)


def names_generator(text: str, *, software: bool) -> bool:
    """Tell whether a field for software (or else for credit, source or author) names a generator of media."""
    return (_GENERATOR_PROGRAM if software else _GENERATOR).search(text[:1000]) is not None


def action_words(name: str) -> str:
    """Return what an action of C2PA means; another's own name stays."""
    return ACTIONS.get(name, name)
