"""One step of the state machine a module: what that function does, on the contracts and records."""
