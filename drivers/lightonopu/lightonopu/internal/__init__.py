"""What lightonml 1.4.2 and later load."""
