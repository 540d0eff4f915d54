"""Signed images say who made them, verified by the library's own reader with a certificate authority of the test."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import NotAnImagemillDataset, RecipeError
from imagemill.data.export.export import export
from imagemill.data.images.codec import Encoding
from tests.data.export.made import png, publish, row, schema

c2pa = pytest.importorskip("c2pa")
x509 = pytest.importorskip("cryptography.x509")

from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID  # noqa: E402

SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def certificate(name: str, key: Any, issuer: str, issuer_key: Any, is_authority: bool) -> bytes:
    names = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, one)]) for one in (name, issuer)]
    usage = [not is_authority, False, False, False, False, is_authority, is_authority, False, False]
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Signing:
    """A certificate authority, and a certificate that it made, as files."""

    def __init__(self, folder: Path) -> None:
        authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        self.root = certificate("Authority", authority, "Authority", authority, is_authority=True)
        self.certificates, self.key = folder / "certificates.pem", folder / "key.pem"
        leaf = certificate("Studio", key, "Authority", authority, is_authority=False)
        self.certificates.write_bytes(leaf + self.root)
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))

    @property
    def files(self) -> tuple[Path, Path]:
        return self.certificates, self.key

    def read(self, path: Path) -> dict[str, Any]:
        """The report of the library's reader, which trusts this authority alone."""
        settings = {"trust": {"user_anchors": self.root.decode()}, "verify": {"verify_trust": True}}
        context = c2pa.Context(c2pa.Settings.from_dict(settings))
        report: dict[str, Any] = json.loads(
            c2pa.Reader("image/png", io.BytesIO(path.read_bytes()), context=context).json()
        )
        return report


@pytest.fixture
def signing(tmp_path: Path) -> Signing:
    return Signing(tmp_path)


def actions_of(report: dict[str, Any]) -> list[dict[str, Any]]:
    manifest = report["manifests"][report["active_manifest"]]
    (actions,) = [one["data"]["actions"] for one in manifest["assertions"] if one["label"].startswith("c2pa.actions")]
    found: list[dict[str, Any]] = actions
    return found


def test_a_generated_image_is_signed_and_trusted_with_its_model_and_kind(signing: Signing, tmp_path: Path):
    rows = [row("a", 1, edits=False, model="flux", model_revision="r1")]
    export(publish(tmp_path / "out", rows, schema(edits=False)), tmp_path / "to", "files", sign=signing.files)
    report = signing.read(tmp_path / "to" / "a.png")
    assert report["validation_state"] == "Trusted", report.get("validation_status")
    (created,) = actions_of(report)
    assert (created["action"], created["softwareAgent"]) == ("c2pa.created", {"name": "flux", "version": "r1"})
    assert created["digitalSourceType"] == SOURCE + "trainedAlgorithmicMedia"
    assert Image.open(tmp_path / "to" / "a.png").tobytes() == Image.open(io.BytesIO(png(1))).tobytes()


def test_an_edit_of_a_given_image_is_composite_and_names_its_input_which_stays_as_it_was(
    signing: Signing, tmp_path: Path
):
    output = publish(tmp_path / "out", [row("a", 1, model="kontext")], schema())
    export(output, tmp_path / "to", "files", sign=signing.files)
    report = signing.read(tmp_path / "to" / "a.output.png")
    assert report["validation_state"] == "Trusted", report.get("validation_status")
    opened, edited = actions_of(report)
    assert (opened["action"], edited["action"]) == ("c2pa.opened", "c2pa.edited")
    assert edited["digitalSourceType"] == SOURCE + "compositeWithTrainedAlgorithmicMedia"
    assert (tmp_path / "to" / "a.input.png").read_bytes() == png(2)


def test_a_chain_is_signed_at_each_step_with_the_model_that_made_it(signing: Signing, tmp_path: Path):
    made = DatasetSchema(True, True, Encoding("png"), {"caption": "str", "style": "str"})
    rows = [row("a", 1, model="flux", edit_model="kontext", input_key="k")]
    export(publish(tmp_path / "out", rows, made), tmp_path / "to", "files", sign=signing.files)
    (created,) = actions_of(signing.read(tmp_path / "to" / "a.input.png"))
    _, edited = actions_of(signing.read(tmp_path / "to" / "a.output.png"))
    assert (created["softwareAgent"], edited["softwareAgent"]) == ({"name": "flux"}, {"name": "kontext"})
    assert edited["digitalSourceType"] == SOURCE + "trainedAlgorithmicMedia"


def test_a_changed_pixel_breaks_the_signature(signing: Signing, tmp_path: Path):
    output = publish(tmp_path / "out", [row("a", 1, edits=False, model="flux")], schema(edits=False))
    export(output, tmp_path / "to", "imagefolder", sign=signing.files)
    (path,) = (tmp_path / "to").rglob("*.png")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"IDAT") + 12] ^= 1
    path.write_bytes(content)
    assert signing.read(path)["validation_state"] == "Invalid"


def test_a_signed_export_is_not_signed_again_and_no_other_export(signing: Signing, tmp_path: Path):
    output = publish(tmp_path / "out", [row("a", 1, edits=False, model="flux")], schema(edits=False))
    export(output, tmp_path / "to", "files", sign=signing.files)
    publish(output, [row("a", 1, edits=False, model="flux"), row("b", 2, edits=False)], schema(edits=False))
    assert export(output, tmp_path / "to", "files", sign=signing.files)["written"] == 1
    with pytest.raises(NotAnImagemillDataset, match="holds another export: sign"):
        export(output, tmp_path / "to", "files")


def test_files_that_are_no_certificate_are_refused_without_their_content(signing: Signing, tmp_path: Path):
    output = publish(tmp_path / "out", [row("a", 1)], schema())
    (tmp_path / "bad.pem").write_text("secret")
    (tmp_path / "other").mkdir()
    bad, other = tmp_path / "bad.pem", Signing(tmp_path / "other")
    for files in ((bad, signing.key), (signing.certificates, bad), (signing.certificates, other.key)):
        with pytest.raises(RecipeError, match="are no certificate and its key") as caught:
            export(output, tmp_path / "to", "files", sign=files)
        assert "secret" not in str(caught.value)
    assert not (tmp_path / "to").exists()
