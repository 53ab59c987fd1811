"""What knows no optics: arrays and threads, random numbers, checks of arguments, files."""
