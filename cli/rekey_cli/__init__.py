"""The command line: it talks to people, and never goes into the layer."""
