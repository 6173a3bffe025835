"""Registries, one adapter a file."""
