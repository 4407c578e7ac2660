"""Inside Pyodide: what Home Assistant's MQTT integration says about discovery messages.

`MESSAGES` is a JSON list of [topic, payload]; the value of this script is JSON: the version, the
packages that were replaced by stubs, and per message the list of objections and of components.
The steps are those of `homeassistant.components.mqtt.discovery.async_start`.
"""

import glob
import importlib
import importlib.abc
import importlib.machinery
import json
import logging
import sys
import types
from unittest import mock

for wheel in glob.glob("/wheels/*.whl"):  # noqa: PTH207 - Pyodide's file system
    sys.path.insert(0, wheel)

stubbed = set()


class _Anything(type):
    """Stands for whatever an absent package would offer at import time."""

    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _anything(name)

    def __call__(cls, *arguments, **options):
        if cls.__dict__.get("_stub"):  # as a decorator, or as a constructor
            return arguments[0] if arguments and callable(arguments[0]) else cls
        return super().__call__(*arguments, **options)

    def __getitem__(cls, _):
        return cls

    def __or__(cls, _):
        return cls

    __ror__ = __or__

    def __iter__(cls):
        return iter(())


def _anything(name):
    return _Anything(name, (), {"_stub": True, "__init__": lambda *_, **__: None})


class _Stub(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _anything(name)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Last resort: compiled packages, of which validation needs none."""

    def find_spec(self, name, path, target=None):
        del path, target
        package = name.split(".")[0]
        if package == "homeassistant" or not isinstance(sys.modules.get(package, stub), _Stub):
            return None  # a real package without its compiled part falls back by itself
        stubbed.add(package)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = _Stub(spec.name)
        # The two absent packages that validation itself calls.
        if spec.name == "orjson":
            module.loads, module.JSONDecodeError = json.loads, json.JSONDecodeError
        if spec.name == "lru":
            module.LRU = type("LRU", (dict,), {"__init__": lambda *_: None})
        return module

    def exec_module(self, module):
        del module


stub = _Stub("stub")
sys.meta_path.append(_Finder())

import probatio  # noqa: E402
from homeassistant.components.mqtt import discovery  # noqa: E402
from homeassistant.const import CONF_PLATFORM, __version__  # noqa: E402
from homeassistant.helpers import config_validation as cv  # noqa: E402


class _Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def platform(name):
    return importlib.import_module(f"homeassistant.components.mqtt.{name}")


def objections(topic, payload):
    """Objections to one message, and the components it declares (None: to be removed)."""
    log = _Log()
    logging.getLogger("homeassistant").addHandler(log)
    try:
        match = discovery.TOPIC_MATCHER.fullmatch(topic.split("/", 1)[1])
        if match is None or match["component"] != "device":
            return [f"{topic} is no topic of device discovery"], {}
        message = discovery._parse_device_payload(
            None, payload, topic, match["object_id"], match["node_id"]
        )
        if not message:
            return [line[:300] for line in log.lines] or ["refused"], {}
        found, parts = [], {}
        for key, config in message["components"].items():
            kind = config.pop(CONF_PLATFORM)
            parts[key] = None
            if not config:
                continue
            part = discovery.MQTTDiscoveryPayload(config)
            part["device"], part["origin"] = message["device"], message["origin"]
            discovery._merge_common_device_options(part, message)
            parts[key] = kind
            # The modern schema refuses options that discovery would silently remove.
            for schema in ("DISCOVERY_SCHEMA", "PLATFORM_SCHEMA_MODERN"):
                try:
                    getattr(platform(kind), schema)(dict(part))
                except probatio.Invalid as exc:
                    found.append(f"{key}: {schema}: {exc}")
        return found + [f"log: {line[:300]}" for line in log.lines], parts
    finally:
        logging.getLogger("homeassistant").removeHandler(log)


# Templates are compiled in the environment of an instance: here an empty one.
hass = mock.MagicMock(data={})
with mock.patch.object(cv, "_async_get_hass_or_none", return_value=hass):
    verdicts = [objections(topic, payload) for topic, payload in json.loads(MESSAGES)]  # noqa: F821

json.dumps({"version": __version__, "stubbed": sorted(stubbed), "verdicts": verdicts})
