"""Sets up a house: broker, certificates, configuration, services, devices."""
