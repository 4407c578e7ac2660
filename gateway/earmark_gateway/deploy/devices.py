"""A device's identity: what its firmware is told at provisioning, as text and as a QR code."""

from __future__ import annotations

import base64
import io
import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark_gateway.clock import SystemClock
from earmark_gateway.config import load_config
from earmark_gateway.deploy.house import check_host, write_new
from earmark_gateway.errors import GatewayError
from earmark_gateway.service import approve_device
from earmark_gateway.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from earmark_gateway.deploy.house import House
    from earmark_gateway.deploy.pki import Issued

# The firmware's limits (EM_PROVISIONING_BYTES, EM_DER_BYTES).
_MAX_BYTES = 6144
_MAX_DER_BYTES = 1400


@dataclass(frozen=True)
class NewDevice:
    """A registered device.

    Attributes
    ----------
    id : str
        12 random hex digits: no MAC, no room, no name in any topic.
    provisioning : str
        What the firmware's endpoint `earmark` takes. It contains the device's private key.
    folder : Path
        Where `provisioning.json` and the QR codes are.
    """

    id: str
    provisioning: str
    folder: Path


def add_device(
    house: House, *, host: str = "", name: str = "", room: str = "", resident: str = ""
) -> NewDevice:
    """Register a device and make its certificate.

    Parameters
    ----------
    house : House
    host : str
        Where the device finds the broker; empty: the name in the server's certificate.
    name, room, resident : str
        As the page shows them.
    """
    device_id = secrets.token_hex(6)
    host = check_host(host or server_host(house))
    text = provisioning_data(
        device_id,
        host=host,
        port=broker_port(house),
        authority=house.authority(),
        issued=house.issue(device_id),
    )
    folder = house.root / "devices" / device_id
    write_new(folder / "provisioning.json", text.encode())
    code = qr_code(text)
    for kind in ("png", "svg"):
        image = io.BytesIO()
        code.save(image, kind=kind, scale=4)
        write_new(folder / f"qr.{kind}", image.getvalue())
    # Last: until then the gateway would put the device into quarantine, and lose nothing.
    store = open_store(load_config(house.config_path).store.url.get_secret_value())
    try:
        with store.write() as tx:
            approve_device(
                tx,
                device_id,
                now_ms=SystemClock().now_ms(),
                name=name,
                room=room,
                resident=resident,
            )
    finally:
        store.close()
    return NewDevice(device_id, text, folder)


def provisioning_data(
    device_id: str, *, host: str, port: int, authority: Issued, issued: Issued
) -> str:
    """Identity, broker and keys in the form of firmware/components/provisioning.

    Returns
    -------
    str
        JSON without spaces; certificates and key are DER in base64.
    """
    ders = {
        "ca": authority.certificate_der,
        "cert": issued.certificate_der,
        "key": issued.key_der,
    }
    fields = {"device_id": device_id, "host": host, "port": port}
    fields |= {name: base64.b64encode(der).decode() for name, der in ders.items()}
    text = json.dumps(fields, separators=(",", ":"))
    if len(text) > _MAX_BYTES or any(len(der) > _MAX_DER_BYTES for der in ders.values()):
        raise GatewayError("the certificates are too large for a device", "use those of `init`")
    return text


def qr_code(text: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - segno is untyped
    """QR code with the least error correction: it is read from a screen, once."""
    import segno

    return segno.make_qr(text, error="l")


def broker_port(house: House) -> int:
    """Port of the house's broker."""
    return load_config(house.config_path).mqtt.port


def server_host(house: House) -> str:
    """Name in the certificate of the broker."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    pem = (house.root / "broker" / "server.crt").read_bytes()
    subject = x509.load_pem_x509_certificate(pem).subject
    return str(subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
