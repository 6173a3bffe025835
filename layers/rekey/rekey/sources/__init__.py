"""Sources of webhook requests, one adapter a file."""
