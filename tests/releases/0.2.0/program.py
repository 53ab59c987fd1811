"""A program of a user of opusim 0.2.0: every name in it was public then, and must stay."""

import sys
import tempfile
from pathlib import Path

import numpy as np

import opusim
from opusim import OPU, Device, OpticalBench, Optics, datasets, dfa, theory
from opusim.base.elementary import sin
from opusim.calibration import TmRecord, read_record, record_names
from opusim.drivers import selftest
from opusim.drivers.projections.sklearn import OPUMap
from opusim.encoding import BinaryThresholdEncoder, SeparatedBitPlanDecoder, SeparatedBitPlanEncoder
from opusim.sweep import merge_sweeps, read_sweep
from opusim.testing import check_bench
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline

folder = Path(sys.argv[1])
digits = datasets.load("digits")
bits = digits.x_train[:200] > 7

with OPU(n_components=300, device="aurora@2", seed=0) as opu:
    opu.fit2d(bits)
    counts = opu.transform(bits)
    print("counts", counts.dtype, counts.shape, counts.context.n_ones)
    print("clock", opu.bench.clock.frames, opu.model.name, opu.current_fit is not None)
with OPU(n_components=100, device="aurora@2", seed=0) as opu:
    opu.fit1d(n_features=64)
    opu.calibrate()
    flat = bits.reshape(len(bits), -1)[:8]
    print("linear", opu.linear_transform(flat).dtype, opu.field_transform(flat).dtype)
    signed = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    print("planes", opu.linear_transform(signed, SeparatedBitPlanEncoder, SeparatedBitPlanDecoder).shape)
    print("error below a tenth", opu.calibration.relative_error < 0.1)

bench = OpticalBench("ideal@2", seed=0)
print("frames", bench.expose(np.ones((2, 912, 1140), np.uint8), exposure_s=1e-4, roi=(500, 0, 4, 8)).shape)
print("light", bench.explain(np.ones((2, 912, 1140), np.uint8), roi=(500, 0, 4, 8)).way)
device = Device.load(folder / "bench.toml")
print("device", device.name, device.camera.name, device.dmd.lattice, type(device.optics) is Optics, len(device.doubts))
print("fingerprints", *(Device.load(name).fingerprint()[:16] for name in ("aurora@1", "aurora@2")))
print("changes", *Device.load("aurora@2").evolve(**{"camera.bits": 10}).changes)
print("sine", round(float(sin(np.array([0.5]))[0]), 3), round(theory.pixel_modes(1.0), 2))
small = Device.from_dict(
    {
        "preset": "ideal@2",
        "dmd": {"shape": [60, 76]},
        "camera": {"shape": [64, 90]},
        "operation": {"ones_range": [200, 4000]},
    }
)
print("rules", len(check_bench(OpticalBench(small)).passed) > 5)
measured = OPU(n_components=6, device=str(folder / "measured.toml"))
with measured as opu:
    print("measured", opu.fit_transform1d(np.eye(8, dtype=np.uint8)).shape, opu.bench.input_layout.n_features)

model = make_pipeline(BinaryThresholdEncoder(threshold_enc=7), OPUMap(n_components=300), RidgeClassifier(1e4))
x = digits.x_train[:300].reshape(-1, 64)
print("fits", model.fit(x, digits.y_train[:300]).score(x, digits.y_train[:300]) > 0.9)

feedback = dfa.GaussianFeedback(10, 64, seed=0)
trainer = dfa.DFATrainer(dfa.MLP([64, 64, 10], seed=0), feedback, optimiser=dfa.Adam(0.01), epochs=2)
print("epochs", len(trainer.fit(x / 16, digits.y_train[:300])))

sweep = read_sweep(folder / "sweep.h5")
print("sweep", len(sweep.settings), sorted(sweep.metrics))
with tempfile.TemporaryDirectory() as here:
    whole = merge_sweeps(Path(here) / "whole.h5", [folder / f"parts.part{k}of2.h5" for k in (1, 2)])
    print("merged", len(whole.settings), np.array_equal(whole.values("accuracy"), sweep.values("accuracy")))
run = dfa.read_run(folder / "run.h5")
print("run", run.epochs_done, run.trained_network().sizes)
print("records", *record_names(folder / "cal.h5"))
print("off axis", read_record(folder / "off.tm.h5", "transmission", TmRecord).method)
table = selftest.read_table(selftest.PUBLISHED)
print("hashes", len(table["sha256"]) > 0)
print("version", bool(opusim.__version__))
