"""Labels in by MQTT, durable and deduplicated; notifications out to caregivers."""
