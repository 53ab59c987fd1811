"""What a device is: frozen records of parameters with pure methods, in light's order."""
