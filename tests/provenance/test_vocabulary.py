"""Words of the field."""

from __future__ import annotations

import pytest

from redeepfake_nb.provenance.vocabulary import names_generator, source_type


@pytest.mark.parametrize(
    ("value", "share"),
    [
        ("http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia", "all"),
        ("trainedAlgorithmicMedia", "all"),
        ("http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia", "part"),
        ("http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture", ""),
        ("http://c2pa.org/digitalsourcetype/trainedAlgorithmicData", "all"),
    ],
)
def test_source_types_by_address_or_name(value: str, share: str) -> None:
    found = source_type(value)
    assert found is not None
    assert found[1] == share


def test_an_unknown_source_type_is_none() -> None:
    assert source_type("http://example.org/somethingElse") is None
    assert source_type("") is None


@pytest.mark.parametrize(
    "text", ["Midjourney v6", "DALL·E 3", "Adobe Firefly 2.0", "Made with Google AI", "ChatGPT"]
)
def test_generators_are_recognised_in_every_field(text: str) -> None:
    assert names_generator(text, software=True)
    assert names_generator(text, software=False)


@pytest.mark.parametrize("text", ["Roop Kumar", "Sora Tanaka", "Runway Magazine", "Grok"])
def test_words_that_are_names_count_as_software_alone(text: str) -> None:
    assert names_generator(text, software=True)
    assert not names_generator(text, software=False)


@pytest.mark.parametrize(
    "text",
    ["Adobe Photoshop 25.0", "GIMP 2.10", "Preface", "Lavf60.3.100", "Canon EOS 5D", "", "Snapseed 2.0"],
)
def test_other_programs_are_not_generators(text: str) -> None:
    assert not names_generator(text, software=True)
