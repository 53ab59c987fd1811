"""A program of a user of opusim 0.1.0: every name in it was public then, and must stay."""

import sys

import numpy as np

import opusim
from opusim import OPU, Device, OpticalBench, datasets, dfa
from opusim.drivers.encoding import BinaryThresholdEncoder, SeparatedBitPlanDecoder, SeparatedBitPlanEncoder
from opusim.drivers.projections.sklearn import OPUMap
from opusim.sweep import read_sweep
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline

folder = sys.argv[1]
digits = datasets.load("digits")
bits = digits.x_train[:200] > 7

with OPU(n_components=300, device="aurora@1", seed=0) as opu:
    opu.fit2d(bits)
    counts = opu.transform(bits)
    print("counts", counts.dtype, counts.shape, counts.context.n_ones)
    print("clock", opu.device.bench.clock.frames)
with OPU(n_components=100, seed=0) as opu:
    opu.fit1d(n_features=64)
    opu.calibrate()
    flat = bits.reshape(len(bits), -1)[:8]
    print("linear", opu.linear_transform(flat).dtype, opu.field_transform(flat).dtype)
    signed = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    print("planes", opu.linear_transform(signed, SeparatedBitPlanEncoder, SeparatedBitPlanDecoder).shape)
    print("error below a tenth", opu.calibration.relative_error < 0.1)

bench = OpticalBench("ideal@1", seed=0)
print("frames", bench.expose(np.ones((2, 912, 1140), np.uint8), exposure_s=1e-4, roi=(500, 0, 4, 8)).shape)
print("fingerprint", len(Device.load("aurora@1").fingerprint()))

model = make_pipeline(BinaryThresholdEncoder(threshold_enc=7), OPUMap(n_components=300), RidgeClassifier(1e4))
x = digits.x_train[:300].reshape(-1, 64)
print("fits", model.fit(x, digits.y_train[:300]).score(x, digits.y_train[:300]) > 0.9)

feedback = dfa.GaussianFeedback(10, 64, seed=0)
trainer = dfa.DFATrainer(dfa.MLP([64, 64, 10], seed=0), feedback, optimiser=dfa.Adam(0.01), epochs=2)
print("epochs", len(trainer.fit(x / 16, digits.y_train[:300])))

sweep = read_sweep(f"{folder}/sweep.h5")
print("sweep", len(sweep.settings), sorted(sweep.metrics))
run = dfa.read_run(f"{folder}/run.h5")
print("run", run.epochs_done, run.trained_network().sizes)
print("version", bool(opusim.__version__))
