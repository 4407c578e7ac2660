"""What Prometheus reads."""

from __future__ import annotations

import contextlib

import pytest
from earmark_gateway import config as config_module
from earmark_gateway import service
from earmark_gateway.web.app import create_app
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient


@pytest.mark.parametrize("login", [True, False])
def test_metrics_need_the_login_and_name_nobody(tmp_path, login):
    values = {
        "store": {"url": f"sqlite:///{tmp_path / 'db.sqlite'}"},
        "web": {"login": login},
        "devices": [{"id": "demo", "room": "kitchen", "resident": "Marta"}],
    }
    gateway = service.Gateway(config_module.Config.model_validate(values))
    with contextlib.closing(gateway.store):
        with gateway.store.write() as tx:
            gateway._register_configured(tx)
        gateway.counts["stored"] = 7
        client = TestClient(create_app(gateway), base_url="http://127.0.0.1")
        answer = client.get("/metrics", follow_redirects=False)
        assert answer.status_code == (303 if login else 200)
        if login:
            return
        samples = {
            (s.name, *s.labels.values()): s.value
            for family in text_string_to_metric_families(answer.text)
            for s in family.samples
        }
        assert samples["earmark_messages_total", "stored"] == 7
        assert samples["earmark_rows", "devices"] == 2  # and the gateway's own
        assert samples["earmark_broker_connected",] == 0
        assert samples["earmark_store_ok",] == 1
        assert "Marta" not in answer.text
        assert "kitchen" not in answer.text
