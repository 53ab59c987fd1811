"""What all ways of training a network have in common: batches, loss, optimiser, history, checkpoints."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from opusim.base import validation as checks

from .batch import Batch
from .checkpoint import RunFile, check_same_run, check_target, read_run, write_run
from .error_encoding import LARGEST_ERROR
from .history import History
from .losses import LOSSES
from .network import MLP
from .optimisers import Adam, Optimiser
from .progress import Bar, Progress
from .training_data import Samples, checked_samples, shuffled

if TYPE_CHECKING:
    from .feedback import Feedback

__all__ = ["Trainer", "TrainingDivergedError"]


class TrainingDivergedError(RuntimeError):
    """The loss or a parameter is no longer a finite number, or an error is too large for any feedback.

    Parameters
    ----------
    message : str
        The sentence.
    epoch, step : int
        Where, both from 1.
    checkpoint : pathlib.Path or None
        The last checkpoint of this run, which stays as it was.
    """

    def __init__(self, message: str, epoch: int, step: int, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.checkpoint = checkpoint


class Trainer(ABC):
    """Base of `DFATrainer`, `BackpropTrainer` and `ShallowTrainer`.

    Parameters
    ----------
    network : MLP
        It is changed in place.
    optimiser : Optimiser, optional
        `SGD` or `Adam`, one for each trainer; ``Adam()`` by default.
    batch_size : int, optional
        Samples in a batch; the last one of an epoch may have fewer. 128 by default, as in the published MNIST example
        of DFA (TinyDFA, the code of arXiv 2006.12878).
    epochs : int, optional
        How many there will be, those before a resume included.
    seed : int, optional
        Seed of the order of the samples.
    loss : {"cross_entropy", "squared_error"}, optional
        The error of a sample is softmax(logits) - onehot, or logits - onehot.
    learning_rate_decay : float, optional
        Factor on the learning rate from epoch to epoch.
    alignment_samples : int, optional
        The angle to backpropagation is measured after each epoch on so many samples, the first ones (all if there are
        fewer); 0 for not at all. In a `DFATrainer` their errors are projected like any others: they are shown on the
        device, count as frames, and move its noise on.
    checkpoint : str or path-like, optional
        File to keep the run in. A file that is there is replaced, unless the run is resumed from it.
    checkpoint_every : int, optional
        It is written after so many epochs, and after the last.
    progress : bool, optional
        Whether to show a progress bar.
    callback : callable, optional
        Called with a `Progress` after each batch, and once more after each epoch.
    label : str, optional
        What is learnt, for the reader of the checkpoint: the name of a data set.

    Attributes
    ----------
    history : History
        The epochs that are done.
    checkpoint_epoch : int
        The last epoch that the checkpoint holds; 0 if this run has none.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kind named.
    """

    method: ClassVar[str] = ""

    def __init__(
        self,
        network: MLP,
        *,
        optimiser: Optimiser | None = None,
        batch_size: int = 128,
        epochs: int = 10,
        seed: int = 0,
        loss: str = "cross_entropy",
        learning_rate_decay: float = 1.0,
        alignment_samples: int = 512,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int = 1,
        progress: bool = False,
        callback: Callable[[Progress], object] | None = None,
        label: str = "",
    ) -> None:
        if not isinstance(network, MLP):
            raise TypeError(f"network is {network!r} ({type(network).__name__}), but it must be an opusim.dfa.MLP.")
        if optimiser is not None and not isinstance(optimiser, Optimiser):
            raise TypeError(f"optimiser is {optimiser!r} ({type(optimiser).__name__}), but it must be an SGD or Adam.")
        if callback is not None and not callable(callback):
            raise TypeError(f"callback is {callback!r} ({type(callback).__name__}), but it must be callable.")
        self.network = network
        self.optimiser = Adam() if optimiser is None else optimiser
        self.batch_size = checks.integer("batch_size", batch_size, low=1)
        self.epochs = checks.integer("epochs", epochs, low=1)
        self.seed = checks.integer("seed", seed, low=0)
        self.loss = checks.choice("loss", loss, LOSSES)
        self.learning_rate_decay = checks.number(
            "learning_rate_decay", learning_rate_decay, low=0, low_open=True, high=1
        )
        self.alignment_samples = checks.integer("alignment_samples", alignment_samples, low=0)
        if checkpoint is not None and not isinstance(checkpoint, (str, os.PathLike)):
            raise TypeError(
                f"checkpoint is {checkpoint!r} ({type(checkpoint).__name__}), but it must be the path of a file."
            )
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.checkpoint_every = checks.integer("checkpoint_every", checkpoint_every, low=1)
        self.progress = checks.flag("progress", progress)
        self.callback = callback
        if not isinstance(label, str):
            raise TypeError(f"label is {label!r} ({type(label).__name__}), but it must be a text.")
        self.label = label
        self.history = History.empty(len(network.hidden_sizes))
        self.checkpoint_epoch = 0

    # ------------------------------------------------------------------------------------ what a method of training is

    first_layer = 0  # the first layer that is trained
    feedback: Feedback | None = None
    feedback_wall_s = 0.0  # time spent in calls of the feedback so far

    @abstractmethod
    def _fill_hidden_deltas(self, batch: Batch) -> None:
        """Write the hidden deltas of a batch that was run forward."""

    @abstractmethod
    def _angles_deg(self, batch: Batch) -> np.ndarray:
        """Return the alignment of each hidden layer on a batch that was run forward."""

    def settings(self) -> dict[str, Any]:
        """Return what, besides network, optimiser, feedback and data, makes the run what it is.

        Returns
        -------
        dict
            Values by name.
        """
        names = ("label", "method", "batch_size", "epochs", "seed", "loss", "learning_rate_decay", "alignment_samples")
        return {name: getattr(self, name) for name in names}

    # ------------------------------------------------------------------------------------------------------- one batch

    def gradients(self, X: ArrayLike, y: ArrayLike) -> list[np.ndarray]:
        """Return what the optimiser is given for one batch; nothing is trained.

        Parameters
        ----------
        X : array_like of real numbers, shape (batch, n_inputs)
            Samples.
        y : array_like of int, shape (batch,)
            Labels from 0.

        Returns
        -------
        list of ndarray
            For the weights and biases of each layer that is trained, in the order of
            ``network.parameters(first_layer)``: gradients of the mean loss, or what takes their place.

        Raises
        ------
        TypeError, ValueError
            If `X` or `y` is not what it may be.
        """
        batch = self._forward(self._checked("X", X, "y", y))
        self._fill_hidden_deltas(batch)
        batch.find_gradients()
        return batch.gradients

    def alignment_deg(self, X: ArrayLike, y: ArrayLike) -> np.ndarray:
        """Return the angle between each hidden layer's weight update and that of backpropagation, on one batch.

        Parameters
        ----------
        X : array_like of real numbers, shape (batch, n_inputs)
            Samples.
        y : array_like of int, shape (batch,)
            Labels from 0.

        Returns
        -------
        ndarray of float64, shape (hidden layers,)
            In degrees, from 0 to 180. 90 means that they have nothing in common; NaN where an update is zero or there
            is none.

        Raises
        ------
        TypeError, ValueError
            If `X` or `y` is not what it may be.
        """
        return self._angles_deg(self._forward(self._checked("X", X, "y", y)))

    def _forward(self, samples: Samples) -> Batch:
        """Return a batch of all of the samples, run forward."""
        batch = Batch(self.network, len(samples), self.first_layer)
        samples.take(np.arange(len(samples)), batch.activations.inputs, batch.labels)
        batch.run_forward(self.loss)
        return batch

    def _checked(self, name: str, X: Any, label_name: str, y: Any) -> Samples:
        self.network.check()
        sizes = self.network.sizes
        return checked_samples(
            X, y, n_inputs=sizes[0], n_classes=sizes[-1], dtype=self.network.dtype, names=(name, label_name)
        )

    # ---------------------------------------------------------------------------------------------------- the whole run

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        validation: Sequence[ArrayLike] | None = None,
        resume: bool = False,
    ) -> History:
        """Train the network.

        It starts from the parameters that the network has, with a fresh optimiser and history. A run that is resumed
        starts from its checkpoint, and then does what an uninterrupted one would have done, bit for bit (on one
        machine, with the same number of threads).

        Parameters
        ----------
        X : array_like of real numbers, shape (samples, n_inputs)
            Taken as they are, and converted to the network's dtype batch by batch: scale images yourself.
        y : array_like of int, shape (samples,)
            Labels from 0.
        validation : tuple or list of two arrays, optional
            Samples and labels to measure the accuracy on after each epoch.
        resume : bool, optional
            Whether to go on from the checkpoint. All must be as it was, but for `epochs`, `checkpoint_every`,
            `progress` and `callback`.

        Returns
        -------
        History
            The epochs that are done, those before a resume included.

        Raises
        ------
        TypeError, ValueError
            If the data are not what they may be; or if the checkpoint is not one, is damaged, has more than `epochs`
            epochs, or is of other settings, data, network, optimiser or feedback. Nothing has been trained then.
        TrainingDivergedError
            If the loss or a parameter is no longer finite, or an error is beyond what a feedback takes (1e30). The last
            checkpoint stays as it was.
        OSError
            If the checkpoint cannot be read or written, for instance on a full disk. The last one stays as it was. That
            nothing can be written beside it, or that it is a folder, is told before anything is done.
        """
        samples = self._checked("X", X, "y", y)
        held_out = None
        if validation is not None:
            if not isinstance(validation, (tuple, list)) or len(validation) != 2:
                given = f"{len(validation)} in it" if isinstance(validation, (tuple, list)) else "it"
                raise TypeError(
                    f"validation is a {type(validation).__name__} with {given}, but it must be None or two arrays: "
                    "(samples, labels)."
                )
            held_out = self._checked("validation[0]", validation[0], "validation[1]", validation[1])
        self.optimiser.prepare(self.network.parameters(self.first_layer))
        self.history = History.empty(len(self.network.hidden_sizes))
        self.checkpoint_epoch = 0
        described: dict[str, dict[str, Any]] = {}
        if self.checkpoint is not None:
            check_target(self.checkpoint)
            described = self._describe(samples, held_out)
        if resume:
            self._resume(described)
        batch = Batch(self.network, min(self.batch_size, len(samples)), self.first_layer)
        bar = Bar() if self.progress else None
        listeners = [listener for listener in (bar, self.callback) if listener is not None]
        try:
            while len(self.history) < self.epochs:
                # Overflow is what diverging looks like; it is told as such.
                with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                    last = self._epoch(samples, held_out, batch, listeners)
                done = len(self.history)
                if self.checkpoint is not None and (done % self.checkpoint_every == 0 or done == self.epochs):
                    self._write(described)
                for listener in listeners:
                    listener(last)
        finally:
            if bar is not None:
                bar.close()
        return self.history

    def _epoch(
        self,
        samples: Samples,
        held_out: Samples | None,
        space: Batch,
        listeners: list[Callable[[Progress], object]],
    ) -> Progress:
        """Train for one epoch and add it to the history; return where the run stands."""
        start = time.perf_counter()
        costs, n, epoch = self._costs(), len(samples), len(self.history) + 1
        steps = -(-n // self.batch_size)
        rate = self.learning_rate_decay ** (epoch - 1)
        parameters = self.network.parameters(self.first_layer)
        order = shuffled(n, self.seed, epoch)
        loss, right, seen, network_s = 0.0, 0, 0, 0.0
        for step in range(1, steps + 1):
            chosen = order[seen : seen + self.batch_size]
            batch = space.rows(len(chosen))
            samples.take(chosen, batch.activations.inputs, batch.labels)
            began, waited = time.perf_counter(), self.feedback_wall_s
            batch_loss = batch.run_forward(self.loss)
            if not np.isfinite(batch_loss):
                raise self._diverged(f"the loss is {batch_loss}", epoch, step)
            self._check_errors(batch, epoch, step)
            self._fill_hidden_deltas(batch)
            batch.find_gradients()
            self.optimiser.step(parameters, batch.gradients, rate=rate)
            network_s += time.perf_counter() - began - (self.feedback_wall_s - waited)
            loss += batch_loss
            right += int(np.count_nonzero(batch.activations.logits.argmax(axis=1) == batch.labels))
            seen += len(chosen)
            for listener in listeners:
                listener(Progress(epoch, self.epochs, step, steps, loss / seen, right / seen, False, self.history))
        if not all(np.isfinite(array).all() for array in parameters):
            raise self._diverged("a weight or bias is no longer finite", epoch, steps)
        began, waited = time.perf_counter(), self.feedback_wall_s
        accuracy = np.nan if held_out is None else self.network.accuracy(held_out.X, held_out.y)
        angles = self._probe_angles_deg(samples)
        stopped = time.perf_counter()
        self.history = self.history.appended(
            epoch=epoch,
            loss=loss / n,
            train_accuracy=right / n,
            validation_accuracy=accuracy,
            alignment_deg=angles,
            network_s=network_s,
            evaluation_s=stopped - began - (self.feedback_wall_s - waited),
            total_s=stopped - start,
            **{name: value - costs[name] for name, value in self._costs().items()},
        )
        return Progress(epoch, self.epochs, steps, steps, loss / n, right / n, True, self.history)

    def _probe_angles_deg(self, samples: Samples) -> np.ndarray:
        n = min(self.alignment_samples, len(samples))
        if not n:
            return np.full(len(self.network.hidden_sizes), np.nan)
        batch = self._forward(Samples(samples.X[:n], samples.y[:n]))
        # At the end of the epoch, which the history does not have yet.
        self._check_errors(batch, len(self.history) + 1, -(-len(samples) // self.batch_size))
        return self._angles_deg(batch)

    def _check_errors(self, batch: Batch, epoch: int, step: int) -> None:
        """Raise a TrainingDivergedError if a feedback would refuse the errors; the loss may still be finite."""
        # The comparison is False for NaN.
        if self.feedback is not None and not (np.abs(batch.errors) <= LARGEST_ERROR).all():
            raise self._diverged(f"an error at the output is not finite, or beyond {LARGEST_ERROR:g}", epoch, step)

    def _costs(self) -> dict[str, float]:
        """Return what the feedback has cost so far, by the names of the history's fields."""
        if self.feedback is None:
            return {"encoding_s": 0.0, "projection_s": 0.0, "frames": np.nan, "clock_s": np.nan, "energy_j": np.nan}
        costs = self.feedback.costs
        device = {"frames": costs.frames, "clock_s": costs.device_s, "energy_j": costs.device_j}
        return {
            "encoding_s": costs.encoding_s,
            "projection_s": costs.projection_s,
            **{name: np.nan if value is None else float(value) for name, value in device.items()},
        }

    def _diverged(self, what: str, epoch: int, step: int) -> TrainingDivergedError:
        kept = self.checkpoint if self.checkpoint_epoch else None
        told = (
            f"The checkpoint {kept} of epoch {self.checkpoint_epoch} is kept."
            if kept
            else "There is no checkpoint yet."
        )
        return TrainingDivergedError(
            f"Training diverged in epoch {epoch}, step {step}: {what}. {told} A smaller learning rate may help.",
            epoch,
            step,
            kept,
        )

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def _describe(self, samples: Samples, held_out: Samples | None) -> dict[str, dict[str, Any]]:
        """Return all that must be the same when the run goes on."""
        data = {"samples": len(samples), "digest": samples.digest()}
        if held_out is not None:
            data |= {"validation_samples": len(held_out), "validation_digest": held_out.digest()}
        return {
            "settings": self.settings(),
            "network": self.network.describe(),
            "optimiser": self.optimiser.describe(),
            "feedback": {} if self.feedback is None else dict(self.feedback.describe()),
            "data": data,
        }

    def _write(self, described: dict[str, dict[str, Any]]) -> None:
        assert self.checkpoint is not None
        run = RunFile(
            settings=described["settings"],
            network=described["network"],
            optimiser=described["optimiser"],
            feedback=described["feedback"],
            data=described["data"],
            feedback_state={} if self.feedback is None else dict(self.feedback.state()),
            history=self.history,
            parameters=self.network.parameters(),
            optimiser_state=self.optimiser.state(),
        )
        write_run(self.checkpoint, run)
        self.checkpoint_epoch = len(self.history)

    def _resume(self, described: dict[str, dict[str, Any]]) -> None:
        """Take everything from the checkpoint, after checking that it is one of this run."""
        if self.checkpoint is None:
            raise ValueError("resume is True, but the trainer has no checkpoint to go on from.")
        run = read_run(self.checkpoint)
        check_same_run(self.checkpoint, run, device=getattr(self.feedback, "device", None), **described)
        if run.epochs_done > self.epochs:
            raise ValueError(
                f"epochs is {self.epochs}, but {self.checkpoint} has {run.epochs_done} epochs already: it must be at "
                "least that."
            )
        if self.feedback is not None:
            # First, because it may fail: the network and the history are then as they were.
            self.feedback.restore(run.feedback_state)
        self.network.load_parameters(run.parameters)
        self.optimiser.restore(run.optimiser_state)
        self.history = run.history
        self.checkpoint_epoch = run.epochs_done
