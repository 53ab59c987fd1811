"""How features lie on the mirrors, and how they are read from packed bits."""
