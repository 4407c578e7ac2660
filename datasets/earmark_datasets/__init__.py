"""Recordings in: manifests, importers, signal synthesis from standards, scene mixing."""
