"""An exhaustive search over `rekey.protocol.next_act` with a model of everything around it. See `__main__`."""
