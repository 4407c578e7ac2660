"""A house: one directory with everything that its broker and its gateway need."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jinja2

from earmark_gateway.deploy import pki
from earmark_gateway.errors import GatewayError

# Neither is a valid device id of `devices add`; the gateway refuses "gateway" as one.
GATEWAY_USER = "gateway"
HOME_ASSISTANT_USER = "homeassistant"
# They see what the gateway has checked and stored. One certificate each: the broker makes the
# client id of it, and two clients of one id would throw each other out.
VIEWERS = (HOME_ASSISTANT_USER, "nodered")
DISCOVERY_PREFIX = "homeassistant"
_CLIENT_NAME = re.compile(r"[a-z][a-z0-9_-]{2,31}")
_DEVICE_ID = re.compile(r"[0-9a-f]{12}")
CONFIG_NAME = "earmark-gateway.toml"
# The firmware's limit (EM_HOST_CHARS).
_MAX_HOST_CHARS = 63
_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
# systemd gives meaning to % and to spaces, compose to $.
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._+@-]*")
_PRIVATE = 0o600
_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Plan:
    """What an operator decides about a new house.

    Attributes
    ----------
    host : str
        Name or address by which devices find the broker.
    port : int
        TLS port of the broker.
    timezone : str
        The residents' time zone.
    password_hash : str
        argon2id hash for the page; empty: no page yet.
    gateway_id : str
    user : str
        Who runs the services and owns the files; empty: the present user.
    home_assistant : bool
        Mirror to Home Assistant.
    """

    host: str
    port: int = 8883
    timezone: str = "UTC"
    password_hash: str = ""
    gateway_id: str = "home"
    user: str = ""
    home_assistant: bool = False


class House:
    """A directory written by `create`.

    Parameters
    ----------
    root : Path

    Raises
    ------
    GatewayError
        If `root` is not one.
    """

    def __init__(self, root: Path) -> None:
        # Operators stand in the house or in its gateway/ directory.
        candidates = [root, root.parent] if root.name == "gateway" else [root]
        found = [path for path in candidates if (path / "ca" / "ca.crt").is_file()]
        if not found:
            raise GatewayError(
                f"{root} is not a house: no ca/ca.crt in it",
                "make one with `earmark-gateway init DIR`, or point --house at it",
            )
        self.root = found[0].resolve()

    @property
    def config_path(self) -> Path:
        """The gateway's configuration."""
        return self.root / "gateway" / CONFIG_NAME

    def authority(self) -> pki.Issued:
        """Read the certificate authority; raises GatewayError if its key has been moved away."""
        folder = self.root / "ca"
        try:
            return pki.load_authority(
                (folder / "ca.crt").read_bytes(), (folder / "ca.key").read_bytes()
            )
        except (OSError, ValueError) as exc:
            raise GatewayError(
                f"cannot read the certificate authority in {folder}: {exc}",
                "put ca.key back for this command if you keep it elsewhere",
            ) from exc

    def revoke(self, client: str) -> bool:
        """Put a client's certificate on the revocation list; False if the house has none."""
        file = self.root / "ca" / "issued" / f"{client}.crt"
        if not file.is_file():
            return False
        target = self.root / "broker" / "revoked.pem"
        serials = set(pki.revoked_serials(target.read_bytes()))
        serials.add(pki.serial_number(file.read_bytes()))
        fresh = target.with_suffix(".new")
        write_new(fresh, pki.revocation_list(self.authority(), sorted(serials)))
        fresh.replace(target)  # the broker may read it at any moment
        return True

    def add_client(self, name: str, *, gateway: bool) -> Path:
        """Make a certificate and access rights for a program; returns the directory of its files.

        Parameters
        ----------
        name : str
            Its user name at the broker.
        gateway : bool
            Another replica of the gateway; otherwise it sees what Home Assistant sees.
        """
        if not _CLIENT_NAME.fullmatch(name) or _DEVICE_ID.fullmatch(name):
            raise GatewayError(
                f"{name!r} cannot be a client's name",
                "3 to 32 lower-case letters, digits, - and _, and not the form of a device's id",
            )
        folder = self.root / "clients" / name
        issued = self.issue(name)
        files = {
            "ca.crt": self.authority().certificate_pem,
            "client.crt": issued.certificate_pem,
            "client.key": issued.key_pem,
        }
        for file, data in files.items():
            write_new(folder / file, data)
        kind = "gateway" if gateway else "viewer"
        text = (
            environment()
            .get_template("client_acl.j2")
            .render(name=name, kind=kind, discovery_prefix=DISCOVERY_PREFIX, home_assistant=False)
        )
        with (self.root / "broker" / "acl").open("a", encoding="utf-8") as acl:
            acl.write(f"\n{text}")
        return folder

    def issue(self, client: str) -> pki.Issued:
        """Issue a client certificate and keep a copy of it (not of the key) for `revoke`."""
        issued = pki.issue(self.authority(), client)
        write_new(self.root / "ca" / "issued" / f"{client}.crt", issued.certificate_pem)
        return issued


def create(root: Path, plan: Plan) -> House:
    """Write a new house.

    Parameters
    ----------
    root : Path
        Must not exist, or be an empty directory.
    plan : Plan

    Raises
    ------
    GatewayError
        If something is there already or the plan cannot be.
    """
    root = root.absolute()
    _check(root, plan)
    root.parent.mkdir(parents=True, exist_ok=True)
    # Complete or not at all.
    draft = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        _write_certificates(draft, plan)
        _write_texts(draft, root, plan)
        draft.chmod(0o700)
        _give_to(draft, _account(plan))
        if root.exists():
            root.rmdir()
        draft.rename(root)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return House(root)


def write_new(path: Path, data: bytes, *, mode: int = _PRIVATE) -> None:
    """Write a file that must not exist, never readable by others in between."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as exc:
        raise GatewayError(f"{path} exists", "move it away first") from exc
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def environment() -> jinja2.Environment:
    """Templates of the files of a house."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - no HTML; every value has been checked
    )


def check_host(host: str) -> str:
    """Return `host` if a device can use it; raises GatewayError otherwise."""
    labels = host.split(".")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not all(map(_HOST_LABEL.fullmatch, labels)) or labels[-1].isdecimal():
            raise GatewayError(
                f"--host {host!r} is neither a host name nor an address",
                "use what devices can reach, for instance gateway.local or 192.168.1.5",
            ) from None
    if len(host) > _MAX_HOST_CHARS:
        raise GatewayError(
            f"--host {host!r} is longer than {_MAX_HOST_CHARS} characters",
            "devices have no room for it; use an address",
        )
    return host


def _check(root: Path, plan: Plan) -> None:
    check_host(plan.host)
    _account(plan)
    if not _PLAIN_PATH.fullmatch(str(root)):
        raise GatewayError(
            f"{root} has characters that service files give a meaning to",
            "choose a path of letters, digits and . _ + @ -",
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise GatewayError(
            f"{root} exists and is not empty", "choose another directory; nothing is overwritten"
        )
    try:
        ZoneInfo(plan.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise GatewayError(
            f"--timezone {plan.timezone!r} is not a time zone", "write it as Europe/Berlin"
        ) from exc


def _account(plan: Plan) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(plan.user) if plan.user else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise GatewayError(
            f"--user {plan.user!r}: no such user",
            "sudo useradd --system --no-create-home earmark",
        ) from None


def _give_to(root: Path, account: pwd.struct_passwd) -> None:
    if account.pw_uid == os.geteuid():
        return
    try:
        for path in (root, *root.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid)
    except PermissionError:
        raise GatewayError(
            f"only root can give files to {account.pw_name}", "repeat with sudo"
        ) from None


def _write_certificates(draft: Path, plan: Plan) -> None:
    authority = pki.make_authority("Earmark house")
    # "localhost" and 127.0.0.1 are for the gateway on the same machine.
    hosts = list(dict.fromkeys([plan.host, "localhost", "127.0.0.1"]))
    server = pki.issue(authority, plan.host, hosts=hosts)
    clients = {name: pki.issue(authority, name) for name in (GATEWAY_USER, *VIEWERS)}
    files = {
        "ca/ca.crt": authority.certificate_pem,
        "ca/ca.key": authority.key_pem,
        "broker/ca.crt": authority.certificate_pem,
        "broker/server.crt": server.certificate_pem,
        "broker/server.key": server.key_pem,
        "broker/revoked.pem": pki.revocation_list(authority, []),
        "gateway/ca.crt": authority.certificate_pem,
        "gateway/gateway.crt": clients[GATEWAY_USER].certificate_pem,
        "gateway/gateway.key": clients[GATEWAY_USER].key_pem,
    }
    for name in VIEWERS:
        files |= {
            f"clients/{name}/ca.crt": authority.certificate_pem,
            f"clients/{name}/client.crt": clients[name].certificate_pem,
            f"clients/{name}/client.key": clients[name].key_pem,
        }
    files |= {f"ca/issued/{n}.crt": issued.certificate_pem for n, issued in clients.items()}
    for name, data in files.items():
        write_new(draft / name, data)
    (draft / "broker" / "data").mkdir(mode=0o700)
    (draft / "devices").mkdir(mode=0o700)


def _write_texts(draft: Path, root: Path, plan: Plan) -> None:
    account = _account(plan)
    values: dict[str, Any] = {
        **vars(plan),
        "house": root,
        "user": account.pw_name,
        "uid": account.pw_uid,
        "gid": account.pw_gid,
        "version": version("earmark"),
        "program": Path(sys.prefix) / "bin" / "earmark-gateway",
        "mosquitto": "/usr/sbin/mosquitto",
        "gateway_user": GATEWAY_USER,
        "home_assistant_user": HOME_ASSISTANT_USER,
        "viewers": VIEWERS,
        "discovery_prefix": DISCOVERY_PREFIX,
    }
    for target, template in {
        "broker/mosquitto.conf": "mosquitto.conf.j2",
        "broker/acl": "acl.j2",
        f"gateway/{CONFIG_NAME}": "earmark-gateway.toml.j2",
        "compose.yaml": "compose.yaml.j2",
        "node-red.json": "node-red.json.j2",
        "earmark-broker.service": "earmark-broker.service.j2",
        "earmark-gateway.service": "earmark-gateway.service.j2",
    }.items():
        text = environment().get_template(template).render(values)
        write_new(draft / target, text.encode())
