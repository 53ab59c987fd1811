"""Ways from vectors to outputs: how many frames, in which order, and what they become."""
