"""Stores, one adapter a file."""
