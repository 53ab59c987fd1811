"""The names, calls and devices of lightonml and lightonopu, for programs that were written for them."""
