"""Read the fields of an XMP packet that say where a file comes from.

The parser is Python's expat with everything switched off that hostile XML uses: a document type, and with it
entities of any kind, is refused, and so are deep nesting and many elements. XMP is ISO 16684-1; the property
names are those of the IPTC Photo Metadata Standard, of Adobe and of C2PA.
"""

from __future__ import annotations

from xml.parsers import expat

MAX_PACKET = 4 * 2**20
_MAX_DEPTH = 60
_MAX_ELEMENTS = 20_000
_MAX_VALUE = 64 * 1024

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NAMES = {
    "http://ns.adobe.com/xap/1.0/": "xmp",
    "http://ns.adobe.com/xap/1.0/mm/": "xmpMM",
    "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#": "stEvt",
    "http://ns.adobe.com/photoshop/1.0/": "photoshop",
    "http://ns.adobe.com/tiff/1.0/": "tiff",
    "http://ns.adobe.com/exif/1.0/": "exif",
    "http://ns.adobe.com/exif/1.0/aux/": "aux",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://iptc.org/std/Iptc4xmpExt/2008-02-29/": "Iptc4xmpExt",
    "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/": "Iptc4xmpCore",
    "http://ns.google.com/photos/1.0/creations/": "GCreations",
    "http://ns.google.com/photos/1.0/camera/": "GCamera",
    "http://www.tc260.org.cn/ns/AIGC/1.0/": "TC260",
}


class DamagedXmp(ValueError):
    """The packet cannot be read, or is refused; the message says why. Never leaves the sub-package."""


def read_xmp(packet: bytes) -> list[tuple[str, str]]:
    """Read all properties of known namespaces from an XMP packet.

    Parameters
    ----------
    packet
        The bytes, with or without the packet wrapper and padding.

    Returns
    -------
    list of (name, value)
        Such as ``("xmp:CreatorTool", "Adobe Photoshop 25.0")``, in the order of the packet. A property with
        several values occurs several times.

    Raises
    ------
    DamagedXmp
        It is no well-formed XML, has a document type, or exceeds a limit.
    """
    if len(packet) > MAX_PACKET:
        raise DamagedXmp(f"it has {len(packet) / 2**20:.1f} MiB; the limit is {MAX_PACKET / 2**20:g} MiB")
    reader = _Reader()
    try:
        reader.parser.Parse(packet.strip(b"\0 \t\r\n"), True)
    except expat.ExpatError as error:
        raise DamagedXmp(f"it is not well-formed XML ({error})") from None
    except DamagedXmp:
        raise
    except (ValueError, LookupError) as error:
        raise DamagedXmp(f"its encoding cannot be read ({error})") from None
    return reader.found


class _Reader:
    """Collects the texts of elements and the attributes of descriptions."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.EntityDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._path: list[str] = []
        self._texts: list[str] = []
        self._elements = 0

    def _refuse(self, *_: object) -> None:
        raise DamagedXmp("it has a document type or entities, which XMP never has")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1 + len(attributes)
        if len(self._path) >= _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            raise DamagedXmp("it has too many or too deeply nested elements")
        self._path.append(name)
        self._texts.append("")
        for key, value in attributes.items():
            if key == f"{_RDF} resource":
                self._keep(self._property(), value)
            elif short := _short(key):
                self._keep(short, value)

    def _text(self, data: str) -> None:
        if self._texts and len(self._texts[-1]) < _MAX_VALUE:
            self._texts[-1] += data

    def _end(self, name: str) -> None:
        text = self._texts.pop().strip()
        if text:
            self._keep(self._property(), text)
        self._path.pop()

    def _property(self) -> str | None:
        """The nearest enclosing property: rdf:li and the like stand between it and its values."""
        return next((short for name in reversed(self._path) if (short := _short(name))), None)

    def _keep(self, name: str | None, value: str) -> None:
        if name is not None and value.strip():
            self.found.append((name, value.strip()[:_MAX_VALUE]))


def _short(name: str) -> str | None:
    """Return ``"xmp:CreatorTool"`` for an expanded name; None outside of the known namespaces."""
    space, _, local = name.rpartition(" ")
    prefix = _NAMES.get(space) or ("TC260" if "tc260" in space.lower() else None)
    return f"{prefix}:{local}" if prefix else None
