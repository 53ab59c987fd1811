"""What lightonml keeps to itself, as far as programs use it."""
