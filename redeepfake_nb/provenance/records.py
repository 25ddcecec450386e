"""Records of what a file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..media.frames import Source

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

CredentialState = Literal["valid", "tampered", "invalid", "remote", "missing", "unreadable"]
Signer = Literal["trusted", "not trusted", "not checked"]
DeclaredAi = Literal["verified", "claimed"]
ClaimKind = Literal[
    "source type",
    "generator",
    "AI label",
    "software",
    "camera",
    "edit",
    "credit",
    "author",
    "time",
    "provenance",
]

# How an entry of ``Provenance.unread`` on the list of trusted signers begins.
TRUST_LIST = "trust list: "

STATE_WORDS: dict[CredentialState, str] = {
    "valid": "valid",
    "tampered": "the file was changed after it was signed",
    "invalid": "invalid",
    "remote": "stored elsewhere, not fetched",
    "missing": "removed, or lost, from the file",
    "unreadable": "present, but could not be read",
}
SIGNER_WORDS: dict[Signer, str] = {
    "trusted": "signer is on the trust list",
    "not trusted": "signer is not on the trust list",
    "not checked": "signer not checked",
}


@dataclass(frozen=True)
class Action:
    """One step in the history that Content Credentials record.

    Parameters
    ----------
    what
        In words, such as ``"created"``.
    software
        What did it; may be empty.
    source_type
        Words of the digital source type; may be empty.
    ai
        How much AI made by this step: ``"all"``, ``"part"``, or empty.
    when
        As it is written in the manifest; may be empty.
    """

    what: str
    software: str = ""
    source_type: str = ""
    ai: str = ""
    when: str = ""

    @property
    def words(self) -> str:
        """One line."""
        parts = [self.what]
        if self.software:
            parts.append(f"with {self.software}")
        if self.source_type:
            parts.append(f"({self.source_type})")
        if self.when:
            parts.append(f"at {self.when}")
        return " ".join(parts)


@dataclass(frozen=True)
class Ingredient:
    """A file that another was made from: title, format, how it was used, and whether AI made it."""

    title: str
    format: str = ""
    relationship: str = ""
    ai: str = ""

    @property
    def words(self) -> str:
        """One line."""
        use = {"parentOf": "made from", "componentOf": "contains", "inputTo": "input"}.get(
            self.relationship, self.relationship
        )
        made = {"all": ", made by generative AI", "part": ", partly made by generative AI"}.get(self.ai, "")
        return f"{use} {self.title or 'a file without a title'}{made}".strip()


@dataclass(frozen=True)
class ContentCredentials:
    """Content Credentials (C2PA) of a file, read and verified by c2pa-python.

    Parameters
    ----------
    state
        ``"valid"``: signature and hashes match the file. ``"tampered"``: the signature is valid, but the file
        is not the one that was signed. ``"invalid"``: the signature or the manifest is wrong. ``"remote"``:
        the file only says where they are. ``"missing"``: its metadata refer to some inside it that are not
        there. ``"unreadable"``: they could not be read.
    signer
        Whether the certificate leads to the trust list that the user named; ``"not checked"`` without one.
    issuer, name
        Organisation and common name of the certificate.
    generator
        Program that wrote the manifest.
    title
        Of the file, when it was signed.
    time
        When it was signed, by a time-stamping authority, or empty.
    actions, ingredients
        History of the file.
    ai
        How much generative AI made, by the actions and by what the file was made from: ``"all"``,
        ``"part"``, or empty.
    problems
        What is wrong, as the validator words it.
    url
        Where remote credentials are; never fetched unless asked for.
    """

    state: CredentialState
    signer: Signer = "not checked"
    issuer: str = ""
    name: str = ""
    generator: str = ""
    title: str = ""
    time: str = ""
    actions: tuple[Action, ...] = ()
    ingredients: tuple[Ingredient, ...] = ()
    ai: str = ""
    problems: tuple[str, ...] = ()
    url: str = ""

    @property
    def signed_by(self) -> str:
        """Organisation and name of the certificate, as far as they are known."""
        names = [name for name in (self.issuer, self.name) if name]
        return ", ".join(dict.fromkeys(names)) or "an unnamed signer"

    @property
    def verified(self) -> bool:
        """Whether they hold for the file, and their signer is not missing from a named trust list."""
        return self.state == "valid" and self.signer != "not trusted"

    @property
    def statement(self) -> str:
        """One sentence on what they say and how far that is verified."""
        made = {"all": ": made by generative AI", "part": ": partly made by generative AI"}.get(self.ai, "")
        if self.state == "valid":
            origin = next((f": {a.source_type}" for a in self.actions if a.source_type), "")
            return (
                f"The file carries valid Content Credentials of {self.signed_by} "
                f"({SIGNER_WORDS[self.signer]}){made or origin}"
            )
        if self.state == "tampered":
            said = {"all": "; they say it was made by generative AI", "part": "; they say that generative AI "
                    "made a part of it"}.get(self.ai, "")  # fmt: skip
            return (
                "TAMPERED: the file was changed after its Content Credentials were signed "
                f"by {self.signed_by}; they do not hold for it{said}"
            )
        if self.state == "invalid":
            why = f" ({self.problems[0]})" if self.problems else ""
            return f"The file's Content Credentials are not valid{why}; nothing in them is verified{made}"
        if self.state == "remote":
            where = self.url or "another place"
            return f"The file says that its Content Credentials are at {where}; not fetched"
        if self.state == "missing":
            return "The file's metadata refer to Content Credentials inside it, which were removed or lost"
        why = f": {self.problems[0]}" if self.problems else ""
        return f"The file carries Content Credentials that could not be read{why}"


@dataclass(frozen=True)
class Claim:
    """What a file says of itself without a signature; anybody can write it.

    Parameters
    ----------
    kind
        What it is about.
    value
        What it says: printable, shortened.
    where
        Where it stands, such as ``"XMP xmp:CreatorTool"``.
    ai
        Whether it says that generative AI made the file or a part of it.
    """

    kind: ClaimKind
    value: str
    where: str
    ai: bool = False


@dataclass(frozen=True)
class Trace:
    """A trace of handling: a measured property, what it suggests, and how often that is wrong.

    Parameters
    ----------
    kind
        What was looked at.
    finding
        What was found.
    caution
        What it does not mean, or how often the finding is wrong.
    """

    kind: str
    finding: str
    caution: str = ""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """The preview that is embedded in EXIF.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB, upright.
    difference
        Mean absolute difference of its grey values from those of the picture at the same size, after the
        best linear match of their brightness, 0..255.
    differs
        Whether that is more than re-encoding and developing explain. Another crop of the same picture counts
        as different, too.
    """

    image: np.ndarray = field(repr=False)
    difference: float
    differs: bool


@dataclass(frozen=True, eq=False)
class Provenance:
    """What a file says of itself. Its absence means nothing.

    Parameters
    ----------
    source
        Name, format and size of the file.
    credentials
        Content Credentials; ``None`` where there are none.
    claims
        Unsigned statements.
    traces
        Traces of handling.
    thumbnail
        The preview in EXIF; ``None`` where there is none.
    has_location
        Whether a GPS position is stored.
    location
        (latitude, longitude) in degrees, only where it was asked for; never in :meth:`to_dict` unless asked
        for there, too.
    unread
        What could not be read, with the reason.
    details
        Further fields as (name, value), such as the tags of a video's container.
    """

    source: Source
    credentials: ContentCredentials | None = None
    claims: tuple[Claim, ...] = ()
    traces: tuple[Trace, ...] = ()
    thumbnail: Thumbnail | None = None
    has_location: bool = False
    location: tuple[float, float] | None = None
    unread: tuple[str, ...] = ()
    details: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Provenance {self.source.name!r}: {'; '.join(self.statements) or 'nothing declared'}>"

    @property
    def declared_ai(self) -> DeclaredAi | None:
        """Whether the file says that generative AI made it or a part of it.

        ``"verified"`` by valid Content Credentials whose signer is not missing from the trust list that was
        named; ``"claimed"`` by other credentials or unsigned fields; ``None`` where it says nothing of the
        kind, which means nothing.
        """
        if self.credentials is not None and self.credentials.ai:
            return "verified" if self.credentials.verified else "claimed"
        return "claimed" if any(claim.ai for claim in self.claims) else None

    @property
    def tampered(self) -> bool:
        """Whether the file was changed after its Content Credentials were signed."""
        return self.credentials is not None and self.credentials.state == "tampered"

    @property
    def statements(self) -> tuple[str, ...]:
        """What a verdict has to name, verified statements first; empty where nothing is declared."""
        found = [] if self.credentials is None else [self.credentials.statement]
        if self.credentials is not None:
            found += [
                f"No signer was checked: {words}" for words in self.unread if words.startswith(TRUST_LIST)
            ]
        ai = [claim for claim in self.claims if claim.ai]
        if ai:
            values = dict.fromkeys(f"{claim.value} ({claim.where})" for claim in ai)
            left = f" and {len(values) - 3} more" if len(values) > 3 else ""
            found.append(f"The file claims, unsigned: {'; '.join(list(values)[:3])}{left}")
        if self.thumbnail is not None and self.thumbnail.differs:
            found.append(
                "The preview embedded in EXIF shows something else than the picture, or another crop of it"
            )
        return tuple(found)

    @property
    def headline(self) -> str:
        """The end of a sentence on a score that begins with "but"; empty where nothing has to be added."""
        if self.tampered:
            return "the file was changed after its Content Credentials were signed"
        if self.declared_ai == "verified":
            return "valid Content Credentials say that generative AI made it" + (
                "" if self.credentials and self.credentials.ai == "all" else " in part"
            )
        if self.declared_ai == "claimed":
            return "the file itself claims, unverified, that generative AI made it or a part of it"
        return ""

    @property
    def warning(self) -> str:
        """The headline in three words, for a place beside a verdict; empty where that is."""
        if self.tampered:
            return "changed after signing"
        return {"verified": "declares AI", "claimed": "claims AI"}.get(self.declared_ai or "", "")

    @property
    def summary(self) -> str:
        """One clause on what is declared, also where that is nothing."""
        if self.headline or not self.statements:
            return self.headline or self.nothing
        return self.statements[0]

    @property
    def nothing(self) -> str:
        """One clause for a file that declares nothing, as far as it could be read."""
        unread = [words for words in self.unread if not words.startswith(TRUST_LIST)]
        if unread:
            return f"nothing was found in what could be read of it; not read: {'; '.join(unread)}"
        return "it declares nothing on how it was made, which means nothing"

    def rows(self) -> list[tuple[str, str]]:
        """Return all findings as (name, words), in the order in which they are shown."""
        found: list[tuple[str, str]] = []
        c = self.credentials
        if c is None:
            found.append(("Content Credentials", "none, which means nothing"))
        else:
            found.append(("Content Credentials", c.statement))
            stated = (("written by", c.generator), ("title when signed", c.title), ("signed at", c.time))
            found += [(name, value) for name, value in stated if value]
            found += [("history", action.words) for action in c.actions]
            found += [("ingredient", ingredient.words) for ingredient in c.ingredients]
            found += [("problem", problem) for problem in c.problems]
        found += [(f"claims, unsigned: {one.kind}", f"{one.value} ({one.where})") for one in self.claims]
        if self.thumbnail is not None:
            words = "SOMETHING ELSE, or another crop" if self.thumbnail.differs else "the same picture"
            found.append(("embedded preview", f"shows {words}"))
        if self.has_location:
            position = "stored in the file; read on request only"
            if self.location is not None:
                position = f"{self.location[0]:.5f}, {self.location[1]:.5f}"
            found.append(("position", position))
        for trace in self.traces:
            caution = f" ({trace.caution})" if trace.caution else ""
            found.append((f"trace: {trace.kind}", f"{trace.finding}{caution}"))
        found += list(self.details)
        found += [("could not be read", words) for words in self.unread]
        return found

    def to_frame(self) -> pd.DataFrame:
        """Return :meth:`rows` as a table with the columns ``finding`` and ``words``."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=["finding", "words"])

    def to_dict(self, *, location: bool = False) -> dict[str, Any]:
        """Return plain JSON values, without pixels.

        Parameters
        ----------
        location
            Whether to include the GPS position.
        """
        values: dict[str, Any] = {
            "declared_ai": self.declared_ai,
            "tampered": self.tampered,
            "statements": list(self.statements),
            "credentials": None,
            "claims": [asdict(claim) for claim in self.claims],
            "thumbnail": None,
            "has_location": self.has_location,
            "traces": [asdict(trace) for trace in self.traces],
            "details": [{"name": name, "value": value} for name, value in self.details],
            "unread": list(self.unread),
        }
        if self.credentials is not None:
            values["credentials"] = _lists(asdict(self.credentials))
        if self.thumbnail is not None:
            values["thumbnail"] = {
                "differs": self.thumbnail.differs,
                "difference": round(self.thumbnail.difference, 2),
            }
        if location and self.location is not None:
            values["location"] = list(self.location)
        return values


def _lists(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
