-- One lane of delivery per channel: the next due row of a channel without looking at the others.
CREATE INDEX outbox_lane ON outbox
  (channel, (CASE severity WHEN 'critical' THEN 0 ELSE 1 END), next_ms, id)
  WHERE state IN ('pending', 'leased', 'failed');
-- A leased row is due again when its lease ends.
UPDATE outbox SET next_ms = lease_until_ms WHERE state = 'leased';
