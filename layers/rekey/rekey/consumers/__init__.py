"""Consumers, one adapter a file, and what the consumers of one shard share."""
