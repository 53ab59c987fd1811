"""The field from frames with stepped phases."""
