"""What learns about a bench by showing patterns and reading frames; one file each."""
