"""The command ``opusim train``."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opusim.base.errors import TooManyComponentsError
from opusim.base.parameters import near_matches

from .app import (
    EXIT_INTERRUPTED,
    ForceOption,
    _end,
    _folder_of,
    _load_device,
    command,
    err,
    out,
    refuse_foreign,
    telling,
)
from .report import angles, print_run

if TYPE_CHECKING:
    from rich.status import Status

    from opusim.dfa.base_trainer import Trainer
    from opusim.dfa.feedback import Feedback
    from opusim.dfa.optimisers import Optimiser
    from opusim.dfa.progress import Progress

FEEDBACKS = ("optical", "gaussian", "noisy", "backprop", "shallow")
PROJECTED = ("optical", "gaussian", "noisy")

# Network and optimiser of the published optical run on MNIST (arXiv 2006.01475: 784-1024-1024-10, tanh), Adam with the
# values of its paper.
_HIDDEN, _ACTIVATION, _EPOCHS, _BATCH_SIZE, _OPTIMISER, _DECAY = "1024,1024", "tanh", 20, 128, "adam", 0.85
_LOSS = "cross_entropy"
_DEVICE, _MODE, _AVERAGES, _NOISE = "aurora", "auto", 1, 0.1
# Errors of digital feedback, and of light.
_ENCODING, _OPTICAL_ENCODING = "float", "ternary"

# Options that not every feedback has, and whose they are.
_OWNERS = {
    **dict.fromkeys(("--device", "--mode", "--averages"), ("optical",)),
    "--encoding": PROJECTED,
    "--exposure-us": ("optical",),
    **dict.fromkeys(("--noise", "--bits"), ("noisy",)),
}


@dataclass(frozen=True)
class _Errors:
    """What brings errors to the hidden layers, and how, as the options of the command say."""

    feedback: str
    encoding: str | None
    device: str | None
    mode: str | None
    averages: int | None
    exposure_us: float | None
    noise: float | None
    bits: int | None

    def check(self) -> None:
        """Refuse options that this feedback does not have."""
        given = {
            "--device": self.device, "--mode": self.mode, "--averages": self.averages, "--encoding": self.encoding,
            "--exposure-us": self.exposure_us, "--noise": self.noise, "--bits": self.bits,
        }  # fmt: skip
        refuse_foreign(given, _OWNERS, self.feedback, what="the feedback ", join=" or ")

    def make(self, n_classes: int, width: int, seed: int) -> Feedback:
        """Return the feedback; that of a device is not prepared yet."""
        from opusim import dfa

        encoding = dfa.parse_encoding(self.encoding or (_OPTICAL_ENCODING if self.feedback == "optical" else _ENCODING))
        if self.feedback == "gaussian":
            return dfa.GaussianFeedback(n_classes, width, seed=seed, encoding=encoding)
        if self.feedback == "noisy":
            sigma = _NOISE if self.noise is None else self.noise
            return dfa.NoisyFeedback(n_classes, width, noise=sigma, bits=self.bits, seed=seed, encoding=encoding)
        if encoding is None:
            raise ValueError(
                f"--encoding is {self.encoding!r}, but mirrors show bits only: ternary, sign or bits:NUMBER."
            )
        from opusim.device.record import Device
        from opusim.drivers import OPU

        model = _load_device(Device, self.device or _DEVICE)
        try:
            opu = OPU(n_components=width, device=model, seed=seed, linear_mode=self.mode or _MODE, disable_pbar=True)
        except TooManyComponentsError as error:
            raise ValueError(
                f"{error} Its outputs are the neurons of all hidden layers: give smaller --hidden."
            ) from None
        return dfa.OpticalFeedback(
            opu, width, n_classes=n_classes, encoding=encoding,
            averages=_AVERAGES if self.averages is None else self.averages,
            exposure_s=None if self.exposure_us is None else 1e-6 * self.exposure_us,
        )  # fmt: skip


def _modes() -> tuple[str, ...]:
    from opusim.bench.linear_modes import names

    return names()


def _complete(parameters: list[Any]) -> list[Any]:
    """Name what there is to learn."""
    from opusim.tasks.image_sets import TASKS

    for parameter in parameters:
        if parameter.name == "task":
            parameter.help = f"What to learn: {', '.join(TASKS)}."
        if parameter.name == "mode":
            parameter.help = f"{parameter.help} One of {', '.join(_modes())}."
    return []


@command("train", order=26, late=_complete)
def train(
    task: Annotated[
        str, typer.Option("--task", "-t", metavar="<name>", help="What to learn.")
    ] = "mnist",
    feedback: Annotated[
        str,
        typer.Option(
            "--feedback", metavar="<name>",
            help="What brings errors to the hidden layers: optical (light), gaussian (a matrix), noisy (a matrix and "
            "noise); or a baseline: backprop, shallow (only the last layer learns).",
        ),
    ] = "optical",
    target: Annotated[Path, typer.Option("--out", "-o", help="HDF5 file to keep the run in, epoch by epoch.")] = Path(
        "run.h5"
    ),
    seed: Annotated[
        int, typer.Option("--seed", "-s", help="Seed of the network, the order of samples, the feedback, the device.")
    ] = 0,
    epochs: Annotated[int, typer.Option("--epochs", "-e", help="How many, those before a resume included.")] = _EPOCHS,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Training samples; all by default.", show_default=False)
    ] = None,
    hidden: Annotated[str, typer.Option("--hidden", help="Sizes of the hidden layers.")] = _HIDDEN,
    activation: Annotated[str, typer.Option("--activation", help="tanh or relu.")] = _ACTIVATION,
    optimiser: Annotated[str, typer.Option("--optimiser", help="adam or sgd.")] = _OPTIMISER,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="0.001 for adam, 0.01 for sgd by default.", show_default=False),
    ] = None,
    momentum: Annotated[
        float | None, typer.Option("--momentum", help="sgd: 0.9 by default.", show_default=False)
    ] = None,
    decay: Annotated[float, typer.Option("--decay", help="Factor on the learning rate from epoch to epoch.")] = _DECAY,
    loss: Annotated[str, typer.Option("--loss", help="cross_entropy or squared_error.")] = _LOSS,
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", help="Samples in a batch.")] = _BATCH_SIZE,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            help="How errors are shown: ternary (nearest), ternary:nearest:0.1 (and least norm), ternary:0.2 "
            "(fixed threshold), sign, bits:4, or for digital feedback float; "
            f"{_OPTICAL_ENCODING} for optical, {_ENCODING} for others by default.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", "-d", help=f"optical: preset or path of a TOML file; {_DEVICE} by default.", show_default=False
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode", metavar="<name>",
            help="optical: how the device is made linear; auto takes holographic, by its reference arm, where there is "
            "one, else intensity.",
            show_default=False,
        ),
    ] = None,
    averages: Annotated[
        int | None,
        typer.Option(
            "--averages", help=f"optical: frames averaged for a pattern; {_AVERAGES} by default.", show_default=False
        ),
    ] = None,
    exposure_us: Annotated[
        float | None,
        typer.Option(
            "--exposure-us", help="optical: exposure in microseconds; the device finds one by default.",
            show_default=False,
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            "--noise", help=f"noisy: sigma over the rms of the signal; {_NOISE} by default.", show_default=False
        ),
    ] = None,
    bits: Annotated[
        int | None,
        typer.Option(
            "--bits", help="noisy: bits that outputs are rounded to, 1 to 16; not rounded by default.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the file, with the same options.")] = False,
    force: ForceOption = False,
) -> None:  # fmt: skip
    """Train a network by direct feedback alignment, its errors projected by the device, or by a baseline.

    The defaults train the network of the published optical experiment, on MNIST.
    The run is kept after each epoch: one that was stopped goes on with --resume,
    and ends with the same numbers.
    """
    from opusim.tasks.image_sets import TASKS

    for option, value, allowed in (
        ("--task", task, TASKS), ("--feedback", feedback, FEEDBACKS), ("--optimiser", optimiser, ("adam", "sgd")),
        ("--mode", mode or _MODE, _modes() if mode else (_MODE,)),
    ):  # fmt: skip
        if value not in allowed:
            near = near_matches(value, allowed)
            raise ValueError(f"{option} is {value!r}, but it must be one of {', '.join(allowed)}{near}.")
    errors = _Errors(feedback, encoding, device, mode, averages, exposure_us, noise, bits)
    errors.check()
    if momentum is not None and optimiser != "sgd":
        raise ValueError(f"--momentum is given, but it is for the optimiser sgd, not for {optimiser}.")
    sizes = _sizes(hidden)
    _check_target(target, resume, force)

    with ExitStack() as stack:
        status = stack.enter_context(err.status("Loading …"))
        stack.enter_context(telling(status))
        from opusim import dfa
        from opusim.dfa.checkpoint import check_target, read_run
        from opusim.tasks.image_sets import load_task

        check_target(target)
        if resume:
            # A file that cannot be read is told before anything is done.
            read_run(target)
        rule = _optimiser(optimiser, learning_rate, momentum)
        data = load_task(task, limit=limit)
        network = dfa.MLP([data.x_train.shape[1], *sizes, data.n_classes], activation=activation, seed=seed)
        bar = stack.enter_context(_TrainingBar(status))
        options: dict[str, Any] = {
            "optimiser": rule, "batch_size": batch_size, "epochs": epochs, "seed": seed, "loss": loss,
            "learning_rate_decay": decay, "label": task, "checkpoint": target, "callback": bar,
        }  # fmt: skip
        trainer: Trainer
        if feedback == "backprop":
            trainer = dfa.BackpropTrainer(network, **options)
        elif feedback == "shallow":
            trainer = dfa.ShallowTrainer(network, **options)
        else:
            projection = errors.make(data.n_classes, sum(sizes), seed)
            trainer = dfa.DFATrainer(network, projection, **options)
            if isinstance(projection, dfa.OpticalFeedback):
                stack.enter_context(projection.opu)
                status.update("Calibrating the device …")
                # A run that goes on prepares the device itself, once it is known to be the same run.
                if not resume:
                    projection.prepare()
        before = _stamp(target)
        try:
            trainer.fit(data.x_train, data.y_train, validation=(data.x_test, data.y_test), resume=resume)
        except KeyboardInterrupt:
            bar.stop()
            # It may come after a file was whole and before the trainer knew.
            done = read_run(target).epochs_done if _stamp(target) != before else 0
            _end(_interrupted(target, trainer, done, resume), EXIT_INTERRUPTED)
    print_run(target, read_run(target), epochs=False)
    out.print(f"File: {target} (opusim report {target} --figure run.png draws it)", markup=False, soft_wrap=True)


def _sizes(text: str) -> list[int]:
    if re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text.replace(" ", "")) is None:
        raise ValueError(f"--hidden is {text!r}, but it must be sizes of layers as in {_HIDDEN}.")
    return [int(size) for size in text.split(",")]


def _check_target(target: Path, resume: bool, force: bool) -> None:
    _folder_of(target)
    if resume and force:
        raise ValueError("--resume and --force are both given, but a file is either continued or replaced.")
    if resume and not target.exists():
        raise FileNotFoundError(f"There is no training run {target} to go on with.")
    if target.exists() and not (resume or force):
        raise FileExistsError(f"{target} is there already; --resume goes on with it, --force replaces it.")


def _optimiser(name: str, learning_rate: float | None, momentum: float | None) -> Optimiser:
    from opusim import dfa

    chosen = {"learning_rate": learning_rate, "momentum": momentum}
    return (dfa.Adam if name == "adam" else dfa.SGD)(**{key: x for key, x in chosen.items() if x is not None})


def _stamp(target: Path) -> tuple[int, int] | None:
    """Return what is another number when another file is there."""
    try:
        stat = target.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _interrupted(target: Path, trainer: Trainer, done: int, resume: bool) -> str:
    done = done or trainer.checkpoint_epoch
    if not done and resume:
        return f"Interrupted before training went on; {target} is as it was."
    if not done:
        return "Interrupted before an epoch was whole; nothing was written."
    return (
        f"Interrupted; {target} holds {done} of {trainer.epochs} epochs. The same command with --resume goes on from "
        "there."
    )


class _TrainingBar:
    """A bar on stderr for a whole run, with the time left, and a line above it for each epoch that is done.

    It shows the angles of the last epoch that is done.
    """

    def __init__(self, status: Status) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            TextColumn("left"), console=err,
        )  # fmt: skip
        self._task = self._bar.add_task("Training", total=None)
        self._status = status
        self._done = 0

    def __enter__(self) -> _TrainingBar:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Leave it as it stands."""
        self._status.stop()
        self._bar.stop()

    def __call__(self, at: Progress) -> None:
        """Follow a run; with its first batch the bar takes the place of the status."""
        if at.epoch_done:
            self._bar.console.print(_epoch_line(at), markup=False, soft_wrap=True)
            return
        if not self._done:
            self._status.stop()
            self._bar.start()
        self._done += 1
        known = angles(at.history.alignment_deg[-1]) if len(at.history) else "-"
        # What was done before a resume is no part of the bar: the time left follows from the speed of now.
        self._bar.update(
            self._task, completed=self._done, total=self._done + (at.epochs - at.epoch + 1) * at.steps - at.step,
            description=f"epoch {at.epoch} of {at.epochs}, {100 * at.accuracy:.1f} % right"
            + (f", angles {known}" if known != "-" else ""),
        )  # fmt: skip


def _epoch_line(at: Progress) -> str:
    from opusim.dfa.losses import loss_text

    history = at.history
    parts = [
        f"epoch {at.epoch:{len(str(at.epochs))}} of {at.epochs}",
        f"loss {loss_text(history.loss[-1])}",
        f"accuracy {100 * history.validation_accuracy[-1]:.2f} %",
        f"angles {angles(history.alignment_deg[-1])}",
        f"{history.total_s[-1]:.1f} s",
    ]
    return "   ".join(parts)
