"""What passes between the rooms, as types. No I/O."""
