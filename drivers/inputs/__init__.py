"""Data of the user's, in host memory, on a GPU or lazy: what is known of them, and how they become bits."""
