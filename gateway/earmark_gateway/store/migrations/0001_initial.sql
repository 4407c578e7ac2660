-- {{id}} becomes the dialect's own automatic key, {{blob}} its byte type.
CREATE TABLE devices (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  name TEXT NOT NULL DEFAULT '',
  room TEXT NOT NULL DEFAULT '',
  resident TEXT NOT NULL DEFAULT '',
  first_seen_ms BIGINT NOT NULL DEFAULT 0,
  last_seen_ms BIGINT NOT NULL DEFAULT 0,
  status TEXT NOT NULL DEFAULT '',
  status_ms BIGINT NOT NULL DEFAULT 0,
  offline_since_ms BIGINT,
  labels TEXT,
  thresholds TEXT NOT NULL DEFAULT '{}',
  firmware TEXT NOT NULL DEFAULT '',
  model TEXT NOT NULL DEFAULT '',
  frontend TEXT NOT NULL DEFAULT '',
  health TEXT,
  health_ms BIGINT NOT NULL DEFAULT 0,
  refused BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE boots (
  device_id TEXT NOT NULL,
  boot TEXT NOT NULL,
  boot_n BIGINT NOT NULL,
  first_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  upto BIGINT NOT NULL,
  max_seq BIGINT NOT NULL,
  stored BIGINT NOT NULL,
  seq_next BIGINT NOT NULL,
  offset_ms BIGINT,
  PRIMARY KEY (device_id, boot)
);
CREATE TABLE events (
  id {{id}},
  device_id TEXT NOT NULL,
  boot TEXT NOT NULL,
  boot_n BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  eid TEXT NOT NULL,
  label TEXT NOT NULL,
  phase TEXT NOT NULL,
  ts BIGINT,
  up_ms BIGINT NOT NULL,
  sync INTEGER NOT NULL,
  conf DOUBLE PRECISION NOT NULL,
  thr DOUBLE PRECISION NOT NULL,
  dur_ms BIGINT,
  model TEXT NOT NULL,
  late INTEGER NOT NULL,
  received_ms BIGINT NOT NULL,
  occurred_ms BIGINT NOT NULL,
  room TEXT NOT NULL,
  resident TEXT NOT NULL,
  alert_id BIGINT,
  UNIQUE (device_id, boot, seq)
);
CREATE INDEX events_occurred ON events (occurred_ms);
CREATE INDEX events_episode ON events (device_id, eid, boot);
CREATE TABLE alerts (
  id {{id}},
  group_key TEXT NOT NULL,
  label TEXT NOT NULL,
  severity TEXT NOT NULL,
  device_id TEXT NOT NULL,
  room TEXT NOT NULL,
  resident TEXT NOT NULL,
  rule TEXT NOT NULL,
  state TEXT NOT NULL,
  opened_ms BIGINT NOT NULL,
  occurred_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  count BIGINT NOT NULL,
  flushed BIGINT NOT NULL,
  dur_ms BIGINT,
  conf DOUBLE PRECISION,
  step BIGINT NOT NULL,
  round BIGINT NOT NULL,
  late INTEGER NOT NULL,
  acked_by TEXT NOT NULL DEFAULT '',
  acked_ms BIGINT,
  acked_how TEXT NOT NULL DEFAULT '',
  false_alarm INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX alerts_group ON alerts (group_key, last_ms);
CREATE INDEX alerts_opened ON alerts (opened_ms);
CREATE INDEX alerts_open ON alerts (id) WHERE state = 'open';
CREATE TABLE outbox (
  id {{id}},
  key TEXT NOT NULL UNIQUE,
  alert_id BIGINT,
  recipient TEXT NOT NULL,
  channel TEXT NOT NULL,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL,
  payload TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts BIGINT NOT NULL,
  next_ms BIGINT NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  owner TEXT NOT NULL,
  created_ms BIGINT NOT NULL,
  sent_ms BIGINT,
  error TEXT NOT NULL
);
CREATE INDEX outbox_due ON outbox (next_ms) WHERE state IN ('pending', 'leased', 'failed');
CREATE INDEX outbox_alert ON outbox (alert_id);
CREATE TABLE timers (
  id {{id}},
  key TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  due_ms BIGINT NOT NULL,
  delay_ms BIGINT,
  alert_id BIGINT,
  payload TEXT NOT NULL
);
CREATE INDEX timers_due ON timers (due_ms);
CREATE INDEX timers_alert ON timers (alert_id);
CREATE TABLE dead_letters (
  id {{id}},
  topic TEXT NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  head {{blob}} NOT NULL,
  n_bytes BIGINT NOT NULL,
  count BIGINT NOT NULL,
  first_ms BIGINT NOT NULL,
  last_ms BIGINT NOT NULL,
  UNIQUE (topic, sha256)
);
CREATE TABLE problems (
  device_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  since_ms BIGINT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (device_id, kind)
);
CREATE TABLE snoozes (
  id {{id}},
  label TEXT NOT NULL,
  device_id TEXT NOT NULL,
  room TEXT NOT NULL,
  until_ms BIGINT NOT NULL,
  by_whom TEXT NOT NULL
);
CREATE TABLE digests (
  day TEXT NOT NULL,
  resident TEXT NOT NULL,
  label TEXT NOT NULL,
  n BIGINT NOT NULL,
  PRIMARY KEY (day, resident, label)
);
CREATE TABLE used_links (
  token_id TEXT PRIMARY KEY,
  used_ms BIGINT NOT NULL
);
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
);
