"""Rekey rotates the password of a container registry and gets the new one to everything that uses it."""
