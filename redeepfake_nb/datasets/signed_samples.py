"""Signed samples: files with Content Credentials of a test certificate that is made on the fly.

They show what :func:`redeepfake_nb.provenance.provenance` tells apart: a photo with an honest history, a
picture that says it was made by AI, one that was changed after signing, and one with an unsigned claim. The
certificate proves nothing: its key is thrown away, and its names say that it is a test.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OutputError, RedeepfakeError
from ..provenance.credentials import ask
from ..utils.writing import atomic_file
from .samples import sample_image, sample_manipulated

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_QUALITY = 92
_DAYS = 30
_SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": False},
    "core": {"decode_identity_assertions": False, "allowed_network_hosts": []},
    "builder": {"thumbnail": {"enabled": False}},
}
# In the form in which the web UI of Stable Diffusion writes them; nothing was generated.
_PARAMETERS = (
    "portrait of an astronaut in an orange suit, studio light\nNegative prompt: blurry, extra fingers\n"
    "Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234567, Size: 320x512, Model: example-model"
)


@dataclass(frozen=True)
class SignedSamples:
    """Paths of the signed samples.

    Parameters
    ----------
    photo
        Valid credentials: taken by a camera, then cropped.
    generated
        Valid credentials: made by generative AI.
    tampered
        The credentials of ``photo`` in a file with other pixels.
    claimed
        No credentials, but parameters of Stable Diffusion in a PNG text.
    trust_list
        The root certificate, in PEM format.
    """

    photo: Path
    generated: Path
    tampered: Path
    claimed: Path
    trust_list: Path


@dataclass(frozen=True)
class TestSigner:
    """A test certificate with its key, both in PEM format.

    Parameters
    ----------
    chain
        Certificate of the signer, then the root's.
    private_key
        Of the signer.
    root
        The root certificate.
    """

    chain: str
    private_key: str
    root: str

    # Not a test class, whatever its name begins with.
    __test__ = False

    @classmethod
    def make(cls, name: str = "Test signer", organisation: str = "redeepfake_nb test") -> TestSigner:
        """Make a root and a signer's certificate as C2PA 2.2 asks for (chapter "Certificate profile")."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        now = datetime.now(UTC)
        root_name, signer_name = (
            x509.Name(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, common),
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
                ]
            )
            for common in (f"{name} root", name)
        )

        def begin(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
            return (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(root_name)
                .public_key(public)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - timedelta(days=1))
                .not_valid_after(now + timedelta(days=_DAYS))
                .add_extension(x509.BasicConstraints(subject == root_name, None), critical=True)
                .add_extension(_key_usage(signs=subject != root_name), critical=True)
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            )

        root = begin(root_name, root_key.public_key()).sign(root_key, hashes.SHA256())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        signer = (
            begin(signer_name, key.public_key())
            .add_extension(usage, critical=False)
            .add_extension(issuer, critical=False)
            .sign(root_key, hashes.SHA256())
        )
        own, roots = (c.public_bytes(serialization.Encoding.PEM).decode() for c in (signer, root))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return cls(own + roots, private.decode(), roots)

    def sign(
        self, data: bytes, kind: str, manifest: Mapping[str, Any], *, remote_url: str = "", **more: Any
    ) -> bytes:
        """Return a file with Content Credentials of this signer.

        Parameters
        ----------
        data
            The file.
        kind
            Its format: ``"JPEG"``, ``"PNG"``, ``"MP4"`` or another one of c2pa-python.
        manifest
            Manifest definition of c2pa-python.
        remote_url
            Where the manifest is said to be; the file then holds the address alone.
        more
            ``ingredients``: pairs of an ingredient's definition and its bytes as hexadecimal text.

        Raises
        ------
        RedeepfakeError
            The library cannot sign it.
        """
        request = {
            "task": "sign",
            "certificates": self.chain,
            "private_key": self.private_key,
            "manifest": dict(manifest),
            "settings": _SETTINGS,
            "remote_url": remote_url,
            **more,
        }
        _, signed = ask(request, data, None, kind, len(data))
        return signed


def _key_usage(*, signs: bool) -> Any:
    from cryptography import x509

    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
              "encipher_only", "decipher_only")  # fmt: skip
    return x509.KeyUsage(
        digital_signature=signs, key_cert_sign=not signs, crl_sign=not signs, **dict.fromkeys(others, False)
    )


def make_manifest(title: str, generator: str, *actions: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition of a manifest with a title, the program that writes it, and actions."""
    return {
        "title": title,
        "claim_generator_info": [{"name": generator, "version": "1.0"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}],
    }


def make_signed_samples(folder: str | os.PathLike) -> SignedSamples:
    """Write four pictures and a trust list, signed with a test certificate that is made for the purpose.

    Existing files of these names are replaced.

    Parameters
    ----------
    folder
        Created if needed.

    Raises
    ------
    OutputError
        The folder cannot be written to, or c2pa-python cannot sign.
    """
    folder = Path(folder)
    made = SignedSamples(
        photo=folder / "photo.jpg",
        generated=folder / "generated.jpg",
        tampered=folder / "tampered.jpg",
        claimed=folder / "claimed.png",
        trust_list=folder / "trust_list.pem",
    )
    photo, other = _jpeg(sample_image().image), _jpeg(sample_manipulated().image)
    signer = TestSigner.make()
    captured = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + "digitalCapture"}
    generated = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPES + "trainedAlgorithmicMedia",
        "softwareAgent": {"name": "Example image generator"},
    }
    try:
        honest = signer.sign(
            photo, "JPEG", make_manifest("photo.jpg", "Example camera", captured, {"action": "c2pa.cropped"})
        )
        declared = signer.sign(
            other, "JPEG", make_manifest("generated.jpg", "Example image generator", generated)
        )
    except RedeepfakeError as error:
        raise OutputError(
            f"the samples cannot be signed ({error.cause})",
            subject=folder,
            next_step="Run `redeepfake-nb doctor`.",
        ) from error
    contents = {
        made.photo: honest,
        made.generated: declared,
        made.tampered: move_credentials(honest, other),
        made.claimed: _png(sample_manipulated().image),
        made.trust_list: signer.root.encode("ascii"),
    }
    for path, content in contents.items():
        with atomic_file(path) as file:
            file.write_bytes(content)
    return made


def move_credentials(signed: bytes, other: bytes) -> bytes:
    """Return the JPEG ``other`` with the credentials of the JPEG ``signed``, which do not hold for it."""
    segments, place = [], 2
    while signed[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(signed[place + 2 : place + 4], "big")
        if signed[place + 1] == 0xEB:
            segments.append(signed[place:end])
        place = end
    first = 4 + int.from_bytes(other[4:6], "big")  # behind the JFIF segment, where the signer has put them
    return other[:first] + b"".join(segments) + other[first:]


def _jpeg(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def _png(image: np.ndarray) -> bytes:
    from PIL import Image, PngImagePlugin

    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", _PARAMETERS)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=texts)
    return buffer.getvalue()
