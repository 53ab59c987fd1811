"""Maps: an OPU as a step of a scikit-learn pipeline, or as a layer of a PyTorch network.

`opusim.drivers.projections.sklearn.OPUMap` needs scikit-learn, `opusim.drivers.projections.torch.OPUMap` needs PyTorch.
Importing this package loads neither.
"""
