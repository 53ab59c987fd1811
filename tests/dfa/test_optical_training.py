"""Light in the loop: a network that learns by the simulated device, beside its digital twin and a baseline."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from opusim import OPU
from opusim.dfa.error_encoding import NearestTernaryEncoding
from opusim.dfa.feedback import GaussianFeedback
from opusim.dfa.network import MLP
from opusim.dfa.optical_feedback import OpticalFeedback
from opusim.dfa.optimisers import Adam
from opusim.dfa.trainer import DFATrainer, ShallowTrainer
from opusim.tasks.image_sets import load_task

HIDDEN = (32, 32)
OPTIONS = {"batch_size": 32, "epochs": 4, "seed": 0}


@pytest.mark.slow
def test_light_teaches_the_hidden_layers():
    """Above what the last layer learns alone, with updates on the side of backpropagation, and as by the twin.

    Updates without relation lie within 90 +- 6 degrees (four standard deviations for 32 x 32 weights: 57.3 / 32 = 1.8
    degrees): 75 is far outside. The twin has the measured matrix and no noise. Five points are two standard deviations
    of the difference of two accuracies near 0.9 on 449 samples each, sqrt(2 * 0.9 * 0.1 / 449) = 2.0 points, and more;
    these two have the same samples and the same start.
    """
    data = load_task("digits")
    width, encoding = sum(HIDDEN), NearestTernaryEncoding()

    def trained(kind, *feedback):
        network = MLP([64, *HIDDEN, data.n_classes], seed=0)
        trainer = kind(network, *feedback, optimiser=Adam(0.01), **OPTIONS)
        return trainer.fit(data.x_train, data.y_train, validation=(data.x_test, data.y_test))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with OPU(n_components=width, device="aurora", seed=0, disable_pbar=True) as opu:
            feedback = OpticalFeedback(opu, width, n_classes=data.n_classes, encoding=encoding)
            matrix = feedback.measured_matrix()
            light = trained(DFATrainer, feedback)
    twin = trained(DFATrainer, GaussianFeedback(data.n_classes, width, matrix=matrix, encoding=encoding))
    shallow = trained(ShallowTrainer)
    assert light.validation_accuracy[-1] > shallow.validation_accuracy[-1]
    assert np.all(light.alignment_deg[-1] < 75)
    assert abs(light.validation_accuracy[-1] - twin.validation_accuracy[-1]) < 0.05
