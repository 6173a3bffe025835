"""Notifiers, one adapter a file."""
