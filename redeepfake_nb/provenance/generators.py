"""Recognise the parameters that image generators write into a picture's texts.

Each rule follows how the program writes its files: the web UI of Stable Diffusion (AUTOMATIC1111, Forge,
SD.Next) puts a text named "parameters" or an EXIF user comment with "Steps: .., Sampler: .."; ComfyUI two
JSON texts named "prompt" and "workflow"; InvokeAI "invokeai_metadata", "sd-metadata" or "Dream"; NovelAI a
comment in JSON beside "Software: NovelAI"; Fooocus "fooocus_scheme"; Midjourney a description that ends in
"Job ID:".
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import displayable
from .embedded import Text

# A prompt may hold names of people; enough of it is shown to recognise it.
MAX_PROMPT = 200
# JSON beyond this is only recognised by its keyword: parsing is not worth the memory.
_MAX_JSON = 2**20
_WEB_UI = re.compile(r"(?:^|[\n,]) ?Steps: \d+, (?:.*, )?(?:Sampler|CFG scale|Seed|Size): ", re.DOTALL)
_CAPTIONS = ("description", "imagedescription", "")
_JOB_ID = re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True)
class Generated:
    """Parameters of a generator: its name, where they stand, model and prompt as far as they are known."""

    name: str
    where: str
    model: str = ""
    prompt: str = ""

    @property
    def words(self) -> str:
        """Name, model and the shortened prompt in one line."""
        parts = [self.name]
        if self.model:
            parts.append(f"model {displayable(self.model, 80)}")
        if self.prompt:
            parts.append(f"prompt “{displayable(' '.join(self.prompt.split()), MAX_PROMPT)}”")
        return ", ".join(parts)


def find_generators(texts: Sequence[Text]) -> list[Generated]:
    """Recognise generators by the texts of a file; each at most once."""
    by_keyword = {text.keyword.lower(): text for text in reversed(texts)}
    found = [made for text in texts if (made := _recognise(text, by_keyword)) is not None]
    return list({made.name: made for made in reversed(found)}.values())[::-1]


def _recognise(text: Text, others: dict[str, Text]) -> Generated | None:
    key, content = text.keyword.lower(), text.content
    where = f"{text.where} “{text.keyword}”" if text.keyword and text.where == "PNG text" else text.where
    if key in ("invokeai_metadata", "invokeai_graph", "invokeai_workflow", "sd-metadata", "dream"):
        values = _json(content)
        image = values.get("image") if isinstance(values.get("image"), dict) else values
        model = values.get("model") or values.get("model_weights")
        return Generated("InvokeAI", where, _name(model), _prompt(image or values) if values else content)
    if key in ("prompt", "workflow") and (values := _json(content)):
        nodes = values.get("nodes") if key == "workflow" else values.values()
        if isinstance(nodes, list) or any(isinstance(n, dict) and "class_type" in n for n in nodes or ()):
            return Generated("ComfyUI", where, *_comfy(values))
    if key == "fooocus_scheme" or (key == "parameters" and "fooocus" in content[:20_000].lower()):
        values = _json(content) or _json(others[key].content)
        return Generated("Fooocus", where, _name(values.get("base_model")), _prompt(values))
    if (key == "software" and content.strip().lower() == "novelai") or key == "generation_data":
        comment = _json(others["comment"].content) if "comment" in others else {}
        return Generated("NovelAI", where, _name(others["source"].content if "source" in others else ""),
                         _prompt(comment))  # fmt: skip
    if (match := _JOB_ID.search(content[-2000:])) is not None and key in (
        "description",
        "",
        "imagedescription",
    ):
        return Generated("Midjourney", where, prompt=content[: content.rfind(match[0])].strip())
    if _WEB_UI.search(content[-20_000:]) and key in (
        "parameters",
        "usercomment",
        "comment",
        "",
        "imagedescription",
    ):
        head = content.rpartition("Steps: ")[0]
        model = re.search(r"(?:^|, )Model: ([^,\n]{1,200})", content[-20_000:])
        prompt = head.partition("Negative prompt:")[0].strip()
        return Generated("Stable Diffusion (web UI)", where, model[1] if model else "", prompt)
    return None


def _json(text: str) -> dict[str, Any]:
    """Parse a JSON object; empty where it is none, too long or too deeply nested."""
    if len(text) > _MAX_JSON or not text.lstrip().startswith("{"):
        return {}
    try:
        # ComfyUI writes NaN, which JSON lacks and Python reads.
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _name(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("name") or value.get("model_name") or value.get("key")
    return value if isinstance(value, str) else ""


def _prompt(values: dict[str, Any]) -> str:
    for key in ("positive_prompt", "prompt", "full_prompt"):
        prompt = values.get(key)
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict):
            prompt = prompt[0].get("prompt")
        if isinstance(prompt, str) and prompt:
            return prompt
    return ""


def _comfy(nodes: dict[str, Any]) -> tuple[str, str]:
    """Return the model and the longest prompt among ComfyUI's nodes."""
    model, prompts = "", [""]
    for node in nodes.values():
        inputs = node.get("inputs") if isinstance(node, dict) else None
        if not isinstance(inputs, dict):
            continue
        model = model or _name(inputs.get("ckpt_name")) or _name(inputs.get("unet_name"))
        if "TextEncode" in str(node.get("class_type", "")):
            prompts += [value for value in inputs.values() if isinstance(value, str)]
    return model, max(prompts, key=len)
