"""Training by direct feedback alignment: what the device's projection gives, beside digital ones.

    OPUSIM_DATA=FOLDER python benchmarks/dfa.py mnist [--methods backprop,float,...] [--epochs 20] [--seeds 1]
    OPUSIM_DATA=FOLDER python benchmarks/dfa.py imperfections | noise | graphs | transformer | time

- mnist: 784-1024-1024-10, tanh. Published: 95.8 % optical, 97.7 % digital (Launay et al., arXiv:2006.01475 and the
  poster at Hot Chips 32).
- imperfections: each of the device's imperfections turned off alone, on a smaller network.
- noise: alignment and accuracy against the noise of a digital feedback.
- graphs: graph convolution on Cora, CiteSeer and PubMed (Kipf and Welling, arXiv:1609.02907; DFA as in
  arXiv:2006.12878).
- transformer: validation loss on Shakespeare's characters after equal steps.
- time: where an epoch's time goes.

Settings and seeds are printed with the results. A seed is that of the network, the order of samples and the device. A
spread is the standard deviation over seeds. "ternary" is the nearest ternary vector of each error, with a threshold and
a factor of its own (`opusim.dfa.NearestTernaryEncoding`); "ternary:0.2" has one threshold for all, as published work.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from opusim import OPU, dfa
from opusim.device.record import Device
from opusim.tasks.image_sets import load_task

DEVICE = "aurora"


@contextmanager
def optical(
    n_classes: int, width: int, seed: int, *, device: str | Device = DEVICE, mode: str = "auto", **options: Any
) -> Iterator[dfa.OpticalFeedback]:
    with OPU(n_components=width, device=device, seed=seed, linear_mode=mode, disable_pbar=True) as opu:
        yield dfa.OpticalFeedback(opu, width, n_classes=n_classes, **options)


@contextmanager
def feedback_of(method: str, n_classes: int, width: int, seed: int, device: str | Device = DEVICE) -> Iterator[Any]:
    """Feedback of a method: KIND[/ENCODING[/MODE[/AVERAGES]]] as in optical/ternary/holographic/2."""
    kind, encoding_text, mode, averages = (*method.split("/"), *("", "", "")[method.count("/") :])
    encoding = dfa.parse_encoding(encoding_text or "ternary")
    if kind == "optical":
        with optical(
            n_classes, width, seed, device=device, mode=mode or "auto", encoding=encoding, averages=int(averages or 1)
        ) as feedback:
            yield feedback
    elif kind == "digital":
        yield dfa.GaussianFeedback(n_classes, width, seed=seed, encoding=encoding)
    elif kind.startswith("noisy="):
        noise = float(kind.removeprefix("noisy="))
        yield dfa.NoisyFeedback(n_classes, width, noise=noise, seed=seed, encoding=encoding)
    else:
        yield None


def train(
    task: Any, method: str, seed: int, *, hidden: list[int], epochs: int, device: str | Device = DEVICE, **options: Any
) -> tuple[dfa.History, Any]:
    """Train one network; return its history and the feedback's costs."""
    network = dfa.MLP([task.x_train.shape[1], *hidden, task.n_classes], activation="tanh", seed=seed)
    settings = {
        "optimiser": dfa.Adam(learning_rate=1e-3), "batch_size": 128, "epochs": epochs, "seed": seed,
        "learning_rate_decay": 0.85, **options,
    }  # fmt: skip
    with feedback_of(method, task.n_classes, sum(hidden), seed, device) as feedback:
        if method == "backprop":
            trainer: Any = dfa.BackpropTrainer(network, **settings)
        elif method == "shallow":
            trainer = dfa.ShallowTrainer(network, **settings)
        else:
            trainer = dfa.DFATrainer(network, feedback, **settings)
        history = trainer.fit(task.x_train, task.y_train, validation=(task.x_test, task.y_test))
        return history, feedback


def accuracies(values: list[float]) -> str:
    spread = f" +- {100 * np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.2f}{spread} %"


def mnist(arguments: argparse.Namespace) -> None:
    task = load_task("mnist", limit=arguments.limit)
    hidden = [1024, 1024]
    print(
        f"MNIST, {len(task.x_train)} digits, 784-1024-1024-10, tanh, {arguments.epochs} epochs, Adam 1e-3 times "
        f"{arguments.decay} an epoch, batch 128, {arguments.seeds} seed(s) from {arguments.first_seed}; test "
        "accuracy after the last epoch\n"
    )
    for method in arguments.methods.split(","):
        results, angles = [], None
        start = time.perf_counter()
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            history, feedback = train(
                task, method, seed, hidden=hidden, epochs=arguments.epochs, learning_rate_decay=arguments.decay
            )
            results.append(float(history.validation_accuracy[-1]))
            angles = history.alignment_deg[-1]
        wall = (time.perf_counter() - start) / arguments.seeds
        line = f"{method:<34} {accuracies(results):<18} angles {np.round(angles, 1)} deg, {wall:.0f} s a run"
        noise = getattr(feedback, "relative_noise", None)
        if noise is not None:
            costs = feedback.costs
            line += (
                f"; noise of a class {noise:.3f}, {costs.frames:,} frames, {costs.device_s:.0f} s and "
                f"{costs.device_j / 1e3:.1f} kJ of the device"
            )
        print(line, "\n   each epoch:", *(f"{100 * a:.2f}" for a in history.validation_accuracy), flush=True)


def imperfections(arguments: argparse.Namespace) -> None:
    """Each switch alone, on a network small enough for three seeds."""
    device = Device.load(DEVICE)
    task = load_task("mnist", limit=arguments.limit or 10_000)
    hidden, epochs = [256, 256], arguments.epochs
    print(
        f"MNIST, first {len(task.x_train)} digits, 784-256-256-10, tanh, {epochs} epochs, Adam 1e-3, batch 128, "
        f"optical, {arguments.encoding}, mode {arguments.mode}, {arguments.seeds} seed(s). Columns: accuracy; noise "
        "of one class over its signal; angles of the last epoch.\n"
    )
    cases: dict[str, Device | None] = {"all on": device, "all off (ideal)": device.ideal()}
    cases |= {f"without {name}": device.evolve(**switch) for name, switch in device.imperfections().items()}
    for name, model in {"digital": None, **cases}.items():
        results, noises, angles = [], [], []
        for seed in range(arguments.seeds):
            method = (
                "digital/" + arguments.encoding if model is None else f"optical/{arguments.encoding}/{arguments.mode}"
            )
            history, feedback = train(task, method, seed, hidden=hidden, epochs=epochs, device=model or device)
            results.append(float(history.validation_accuracy[-1]))
            angles.append(history.alignment_deg[-1])
            noises.append(getattr(feedback, "relative_noise", 0.0))
        print(
            f"{name:<34} {accuracies(results):<18} noise {np.mean(noises):.4f}   angles "
            f"{np.round(np.mean(angles, axis=0), 1)}",
            flush=True,
        )


def noise(arguments: argparse.Namespace) -> None:
    task = load_task("mnist", limit=arguments.limit)
    hidden, epochs = [1024, 1024], arguments.epochs
    print(
        f"MNIST, first {len(task.x_train)} digits, 784-1024-1024-10, tanh, {epochs} epochs, Adam 1e-3 times "
        f"0.85 an epoch, batch 128, digital feedback with float errors and normal noise, {arguments.seeds} seed(s)\n"
    )
    for level in (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        results, angles = [], []
        for seed in range(arguments.seeds):
            history, _ = train(task, f"noisy={level}/float", seed, hidden=hidden, epochs=epochs)
            results.append(float(history.validation_accuracy[-1]))
            angles.append(history.alignment_deg[-1])
        print(
            f"sigma / signal {level:<5} {accuracies(results):<18} angles {np.round(np.mean(angles, 0), 1)}", flush=True
        )


def graphs(arguments: argparse.Namespace) -> None:
    from opusim import datasets
    from opusim.tasks.graph import train_gcn

    print(
        f"GCN, 16 hidden units, 250 epochs, seeds 0-{arguments.seeds - 1}, test accuracy at the best validation one\n"
    )
    for name in arguments.datasets.split(","):
        graph = datasets.load(name)
        for method in arguments.methods.split(","):
            results, start = [], time.perf_counter()
            for seed in range(arguments.seeds):
                made: list[Any] = []

                def factory(
                    n_classes: int, width: int, method: str = method, seed: int = seed, made: Any = made
                ) -> Any:
                    made.append(feedback_of(method, n_classes, width, seed))
                    return made[-1].__enter__()

                plain = method in ("backprop", "shallow")
                result = train_gcn(graph, method if plain else "dfa", None if plain else factory, seed=seed)
                for manager in made:
                    manager.__exit__(None, None, None)
                results.append(result.test_accuracy)
            seconds = (time.perf_counter() - start) / arguments.seeds
            each = " ".join(f"{100 * r:.1f}" for r in results)
            print(f"{name:<9} {method:<16} {accuracies(results):<18} {seconds:.1f} s a run   each: {each}", flush=True)


def transformer(arguments: argparse.Namespace) -> None:
    from opusim import datasets
    from opusim.tasks.text import train_language_model

    text = datasets.load_text("tinyshakespeare")
    steps, sizes = arguments.steps, {"blocks": 4, "heads": 4, "d_model": 128, "context": 64, "batch_size": 16}
    print(
        f"Characters of Shakespeare, {sizes}, {steps} steps, seed {arguments.first_seed}; DFA between the blocks, "
        "backpropagation inside. Validation loss in nats a character\n"
    )
    for method in arguments.methods.split(","):
        opened: list[Any] = []

        def factory(n_classes: int, width: int, method: str = method, opened: list[Any] = opened) -> Any:
            opened.append(feedback_of(method, n_classes, width, arguments.first_seed))
            return opened[-1].__enter__()

        plain = method in ("backprop", "shallow")
        result = train_language_model(
            text, method if plain else "dfa", None if plain else factory, seed=arguments.first_seed, steps=steps,
            evaluate_every=max(1, steps // 5), **sizes,
        )  # fmt: skip
        for manager in opened:
            manager.__exit__(None, None, None)
        curve = " ".join(f"{loss:.3f}" for loss in result.validation_loss)
        print(f"{method:<16} {result.final_loss:.3f}   at steps {result.steps}: {curve}   {result.time.total_s:.0f} s")
        if result.costs is not None and result.costs.frames is not None:
            costs = result.costs
            print(f"   device: {costs.frames:,} frames, {costs.device_s:.0f} s, {(costs.device_j or 0) / 1e3:.1f} kJ")
        if method == "backprop":
            print(f"   (frequencies of characters alone: {result.unigram_loss:.3f})")


def bare_epoch(task: Any, method: str, seed: int) -> float:
    """Seconds of an epoch that does only what must be done: products, tanh, softmax, Adam and projections.

    A plain loop without checks, history, alignment or time keeping, with the library's own optimiser step.
    """
    rng = np.random.default_rng(seed)
    sizes = [784, 1024, 1024, 10]
    network = dfa.MLP(sizes, seed=seed)
    weights, biases = network.weights, network.biases
    rule = dfa.Adam(learning_rate=1e-3)
    parameters = network.parameters()
    rule.prepare(parameters)
    onehot = np.eye(10, dtype=np.float32)
    with feedback_of(method, 10, 2048, seed) as feedback:
        feedback.project(onehot)
        start = time.perf_counter()
        order = rng.permutation(len(task.x_train))
        for first in range(0, len(order), 128):
            index = order[first : first + 128]
            x = task.x_train[index]
            h1 = np.tanh(x @ weights[0].T + biases[0])
            h2 = np.tanh(h1 @ weights[1].T + biases[1])
            logits = h2 @ weights[2].T + biases[2]
            e = np.exp(logits - logits.max(axis=1, keepdims=True))
            e = e / e.sum(axis=1, keepdims=True) - onehot[task.y_train[index]]
            projected = feedback.project(e) / np.float32(32 * len(index))
            e /= np.float32(len(index))
            d1, d2 = projected[:, :1024] * (1 - h1 * h1), projected[:, 1024:] * (1 - h2 * h2)
            gradients = [d1.T @ x, d1.sum(0), d2.T @ h1, d2.sum(0), e.T @ h2, e.sum(0)]
            rule.step(parameters, gradients)
        return time.perf_counter() - start


def split(arguments: argparse.Namespace) -> None:
    task = load_task("mnist", limit=arguments.limit)
    print(
        f"MNIST, {len(task.x_train)} digits, 784-1024-1024-10, batch 128, seed {arguments.first_seed}; wall time of "
        "the second epoch in seconds"
    )
    print("'over bare': the epoch without evaluation, over a plain loop of the same products, steps and projections\n")
    print(f"{'method':<24} network  encoding  projection  evaluation  total   bare loop  over bare")
    for method in arguments.methods.split(","):
        history, _ = train(task, method, arguments.first_seed, hidden=[1024, 1024], epochs=2)
        names = ("network", "encoding", "projection", "evaluation", "total")
        network, encoding, projection, evaluation, total = (float(getattr(history, f"{n}_s")[1]) for n in names)
        line = f"{method:<24} {network:7.2f}  {encoding:8.2f}  {projection:10.2f}  {evaluation:10.2f}  {total:5.2f}"
        if method not in ("backprop", "shallow"):
            bare = bare_epoch(task, method, arguments.first_seed)
            line += f"   {bare:9.2f}  {(total - evaluation) / bare - 1:+.1%}"
        print(line, flush=True)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "mnist": mnist,
    "imperfections": imperfections,
    "noise": noise,
    "graphs": graphs,
    "transformer": transformer,
    "time": split,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--decay", type=float, default=0.85)
    parser.add_argument("--limit", type=int, help="training digits")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", default="backprop,digital/float,digital/ternary,optical/ternary,shallow")
    parser.add_argument("--datasets", default="cora,citeseer,pubmed")
    parser.add_argument("--encoding", default="ternary")
    parser.add_argument("--mode", default="auto")
    arguments = parser.parse_args()
    seeds, epochs = {"graphs": (10, 250), "imperfections": (3, 10), "noise": (3, 5)}.get(arguments.what, (1, 20))
    arguments.seeds = seeds if arguments.seeds is None else arguments.seeds
    arguments.epochs = epochs if arguments.epochs is None else arguments.epochs
    COMMANDS[arguments.what](arguments)


if __name__ == "__main__":
    main()
