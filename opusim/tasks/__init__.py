"""An application on a data set, which returns numbers: what sweeps, trainers and examples run."""
