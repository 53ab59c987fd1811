"""The OPU as a part of scikit-learn and PyTorch programs."""
