"""What reports on images and on videos have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from ..explanation.heatmaps import Explanation
from ..media.frames import Source
from ..models.card import Card
from ..provenance.records import Provenance
from .verdict import Verdict

if TYPE_CHECKING:
    import pandas as pd

MediaKind = Literal["image", "video"]


class Scored(Protocol):
    """A face of an image, or a person of a video."""

    @property
    def probability(self) -> float:
        """P(fake), 0..1."""


class Report(Protocol):
    """The result of analysing one file: an :class:`ImageReport` or a :class:`VideoReport`."""

    @property
    def kind(self) -> MediaKind:
        """``"image"`` or ``"video"``."""

    @property
    def name(self) -> str:
        """The source's name."""

    @property
    def source(self) -> Source | None:
        """Name, SHA-256, size and format of the file; ``None`` for an array."""

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""

    @property
    def scored(self) -> Sequence[Scored]:
        """Every face of an image, every person of a video."""

    @property
    def verdict(self) -> Verdict:
        """Label, threshold and reasons."""

    @property
    def threshold(self) -> float:
        """Threshold on P(fake) of labels and verdict, 0..1."""

    @property
    def card(self) -> Card:
        """The model's card."""

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """Heatmaps; empty where none were asked for."""

    @property
    def heatmap_error(self) -> str:
        """Why there are no heatmaps although some were asked for; empty otherwise."""

    @property
    def explanation_names(self) -> tuple[str, ...]:
        """What each heatmap shows, such as ``"Face 1"`` or ``"Frame at 2.00 s"``."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The options of the analysis as plain values."""

    @property
    def timing(self) -> Mapping[str, float]:
        """Seconds of each step."""

    @property
    def provenance(self) -> Provenance | None:
        """What the file says of itself; ``None`` where there was no file."""

    def at_threshold(self, threshold: float) -> Self:
        """Judge the same scores at another threshold."""

    def to_frame(self) -> pd.DataFrame:
        """Return one row per face, of a video per face and frame."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""


def highest_probability(report: Report) -> float | None:
    """Return the highest P(fake) of a face or person; ``None`` where there is none."""
    return max((float(one.probability) for one in report.scored), default=None)
