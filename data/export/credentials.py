"""Content credentials (C2PA) for exported images: a signed manifest of origin in each generated image.

The extra ``c2pa`` installs the library. The certificate is the user's: an end-entity certificate of an authority, and
the chain below its root, as PEM, with its key. Nothing is fetched and no timestamp is requested.
https://spec.c2pa.org/specifications/specifications/2.2/specs/C2PA_Specification.html
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from imagemill import __version__
from imagemill.data.errors import OutputError, RecipeError, one_line
from imagemill.data.export.entry import Row
from imagemill.data.messages import shown_path

DIGITAL_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary, of which the actions take their digitalSourceType."""

SETTINGS = {"verify": {"remote_manifest_fetch": False}, "builder": {"thumbnail": {"enabled": False}}}
"""Of the library: a given image may name a manifest elsewhere, which is not fetched."""

_MIME = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}
_CURVES = {256: "es256", 384: "es384", 521: "es512"}


class Credentials:
    """The certificate and key that sign an export. Raises RecipeError for files that are none."""

    def __init__(self, certificates: Path, key: Path) -> None:
        try:
            self._chain, self._key = certificates.read_bytes(), key.read_bytes()
        except OSError as error:
            raise RecipeError(f"--sign: {shown_path(error.filename)} cannot be read ({error.strerror}).") from error
        self.fingerprint = hashlib.sha256(self._chain).hexdigest()[:16]
        """Stands for the certificate."""
        self._signer, self._context = self._open(certificates, key)

    def _open(self, certificates: Path, key: Path) -> tuple[Any, Any]:
        """The library's signer, and its settings."""
        try:
            import c2pa
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
            from cryptography.x509 import load_pem_x509_certificates
        except ImportError as error:
            raise RecipeError("--sign needs the extra c2pa: pip install 'imagemill[c2pa]'.") from error
        try:
            chain, private = load_pem_x509_certificates(self._chain), load_pem_private_key(self._key, password=None)
            if chain[0].public_key() != private.public_key():
                raise ValueError("the key is of another certificate")
            info = c2pa.C2paSignerInfo(_algorithm_of(private), self._chain, self._key, None)
            return c2pa.Signer.from_info(info), c2pa.Context(c2pa.Settings.from_dict(SETTINGS))
        except (c2pa.C2paError, UnsupportedAlgorithm, ValueError, TypeError) as error:
            # The reason may repeat a part of the key.
            raise RecipeError(
                f"--sign: {shown_path(certificates)} and {shown_path(key)} are no certificate and its key: give PEM "
                "files, the signing certificate first, and the key without a password, of an elliptic curve, Ed25519 "
                "or RSA."
            ) from error

    def sign(self, content: bytes, row: Row, image: str) -> bytes:
        """The image with a manifest; an image that was given, a mask or a control image as it is.

        Raises OutputError if the library refuses it.
        """
        import c2pa

        mime = next((mime for magic, mime in _MIME.items() if content.startswith(magic)), None)
        actions = _actions(row, image)
        if not actions or mime is None:
            return content
        manifest = {
            "claim_generator_info": [{"name": "imagemill", "version": __version__}],
            "title": str(row.get("id") or image),
            "format": mime,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": actions}}],
        }
        signed = io.BytesIO()
        try:
            builder = c2pa.Builder(manifest, self._context)
            if image == "edited_image":
                source = row["input_image"]["bytes"]
                kind = next((mime for magic, mime in _MIME.items() if source.startswith(magic)), "image/png")
                parent = {"title": "input", "relationship": "parentOf", "label": "input"}
                builder.add_ingredient(parent, kind, io.BytesIO(source))
            builder.sign(self._signer, mime, io.BytesIO(content), signed)
        except c2pa.C2paError as error:
            raise OutputError(f"--sign: the image cannot be signed ({one_line(error)}).") from error
        return signed.getvalue()


def _algorithm_of(key: Any) -> str:
    """C2PA's name of the algorithm for a private key."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.key_size, "es256")
    return "ed25519" if isinstance(key, ed25519.Ed25519PrivateKey) else "ps256"


def _actions(row: Row, image: str) -> list[dict[str, Any]]:
    """C2PA actions that made an image of the row; none for one that was given."""
    if image == "edited_image":
        # Later turns of a given image's edit have a generated input, and are composites too.
        is_chain = bool(row.get("edit_model"))
        kind = "trainedAlgorithmicMedia" if is_chain else "compositeWithTrainedAlgorithmicMedia"
        prefix = "edit_" if is_chain else ""
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["input"]}}
        return [opened, _action("c2pa.edited", kind, row, prefix)]
    if image == "image" or (image == "input_image" and row.get("input_key") is not None and row.get("edit_model")):
        return [_action("c2pa.created", "trainedAlgorithmicMedia", row, "")] if row.get("model") else []
    return []


def _action(name: str, kind: str, row: Row, prefix: str) -> dict[str, Any]:
    model, revision = row.get(f"{prefix}model"), row.get(f"{prefix}model_revision")
    agent = {"name": str(model), **({"version": str(revision)} if revision else {})}
    return {"action": name, "digitalSourceType": DIGITAL_SOURCE_TYPES + kind, "softwareAgent": agent}
