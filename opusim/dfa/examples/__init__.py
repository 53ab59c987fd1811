"""Examples under the names that they had in 0.1.0; `opusim.tasks` has them."""
