"""Direct feedback alignment in PyTorch: the gradient at a block's output is the projected error of the network.

A network is a chain of blocks and an output. Each block's graph ends at its output ``h_l``: the next block gets
the values without the graph. At the output, an operator takes the logits and all ``h_l``, and hands the logits on.
Backward, it gives the logits their true gradient ``g``, and each ``h_l`` its slice of ``scale * B g``, where
``B g`` is one projection for all blocks by a `opusim.dfa.feedback.Feedback`. From there on autograd does what it
always does, so the error is projected between the blocks and back-propagated inside them, as in Launay, Poli,
Boniface and Krzakala, "Direct feedback alignment scales to modern deep learning tasks and architectures" (NeurIPS
2020). Optimiser, loss and loop stay the user's::

    feedback = GaussianFeedback(n_classes=10, width=512 + 256)
    mark(model, ["hidden1", "hidden2"], feedback)  # or DFA(feedback), with dfa.block and dfa.output in forward
    loss = cross_entropy(model(x), y)
    loss.backward()

The projection is a `torch.library` operator, so that `torch.compile` goes through it with no graph break; what the
feedback does is not compiled. PyTorch 2.4 or newer is needed.

What is not served: gradient scalers, because they change the errors that a threshold sees (bfloat16 needs none);
`torch.nn.DataParallel`, whose replicas see a part of the batch each, so that the errors of single rows are not known
(``DistributedDataParallel`` is); `torch.func`; double backward. What goes round a marked block, on a path that does not
lead through its output, keeps its true gradient.

A marked model may be pickled, saved whole, copied and sent to other processes: each copy has a `DFA` and a feedback of
its own, which go on from where the first one stood. A feedback on a device is then another driver of it: in this
process of the same device, whose frames go on being counted, in another one of a device that goes on from the same
frame. A ``state_dict`` holds weights alone: the feedback of a model that takes it is made anew, from its arguments, and
goes on by its `state` and `restore`.
"""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from opusim.base import validation
from opusim.base.errors import no_torch
from opusim.base.tensors import ordinary_tensor
from opusim.bench.protocol import lacking

try:
    import torch
    from torch import Tensor, nn
except ImportError as error:
    raise no_torch("opusim.dfa.torch", error) from error

from .feedback import ErrorProjection

__all__ = ["DFA", "Marks", "mark"]

if not hasattr(torch.library, "custom_op"):
    raise ImportError(f"opusim.dfa.torch needs PyTorch 2.4 or newer, but {torch.__version__} is installed.")

_numbers = itertools.count()
_living: WeakValueDictionary[int, DFA] = WeakValueDictionary()  # an operator takes numbers, not objects


class DFA(validation.Fixed):
    """Puts a feedback behind a network.

    Parameters
    ----------
    feedback : ErrorProjection
        What projects the errors. Its `n_classes` is the length of the logits, its `width` the sum of the widths of all
        blocks: the first block to run gets the first columns, and so on.
    scale : float, optional
        Factor of the projected errors. If None, 1/sqrt(width of the widest block): the entries of B have variance 1,
        and TinyDFA, the code of Launay et al. (2020), divides by this root.
    error_scale : {"mean", "sum"} or float
        How the gradient at the logits becomes the errors of single rows, on which the threshold of an
        encoding is defined. "mean": the loss is a mean over the rows whose gradient is not zero, so the errors are
        that number times the gradient; "sum": the loss is a sum, and they are the gradient. A float is the factor
        itself, for instance batch times steps when a loss is divided once more to accumulate gradients. The factor is
        divided out after the projection: with a linear feedback nothing depends on it. ``BCEWithLogitsLoss``
        and ``MSELoss`` take the mean over the classes too: the factor is then rows times n_classes, and half of that
        for ``MSELoss``, whose gradient is twice the error.

    Raises
    ------
    TypeError
        If `feedback` has no `project`, `n_classes` or `width`.
    ValueError
        If another argument is not of the kind named.

    Notes
    -----
    A row of the error is an element of all axes of the logits but the last; a block's output has the same leading axes,
    and the rest of it, flattened, is the block's width. Logits (batch, classes) go with outputs (batch, channels,
    rows, columns); logits (batch, steps, classes) with outputs (batch, steps, model). Rows with a gradient of zero
    (labels that a loss ignores, nodes without a label) are not projected: their teaching signal is zero.

    Without gradients (`torch.no_grad`) `block` and `output` return what they get. A graph keeps the object that it went
    through; a compiled one does not, so that the object must live until its backward pass is done. Several threads may
    run forward passes at a time.

    A copy, deep or by a pickle, has a feedback of its own; a shallow one has the same feedback. A deep copy of a feedback
    on a device is another driver of that device: what the copy projects takes frames, and with them noise, that the
    first one would have had. A pickle goes on by itself.

    Examples
    --------
    >>> import torch
    >>> from opusim.dfa.feedback import GaussianFeedback
    >>> dfa = DFA(GaussianFeedback(n_classes=3, width=8))
    >>> first, last = torch.nn.Linear(5, 8), torch.nn.Linear(8, 3)
    >>> h = dfa.block(torch.tanh(first(torch.ones(2, 5))))
    >>> logits = dfa.output(last(h))
    >>> torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    >>> first.weight.grad.shape
    torch.Size([8, 5])
    """

    _fixed = dict.fromkeys(("feedback", "n_classes", "width"), "Make another DFA.")

    def __init__(
        self, feedback: ErrorProjection, *, scale: float | None = None, error_scale: str | float = "mean"
    ) -> None:
        missing = lacking(feedback, ErrorProjection)
        if missing:
            raise TypeError(
                f"feedback is a {type(feedback).__name__} without {' and '.join(missing)}, but it must project errors: "
                "see opusim.dfa.feedback.ErrorProjection."
            )
        if isinstance(error_scale, str):
            validation.choice("error_scale", error_scale, ("mean", "sum"))
        else:
            error_scale = validation.number("error_scale", error_scale, low=0, high=math.inf, low_open=True)
        self.feedback = feedback
        self.error_scale = error_scale
        self.scale = None if scale is None else validation.number("scale", scale, low=0, high=math.inf, low_open=True)
        self.n_classes = validation.integer("feedback.n_classes", feedback.n_classes, low=1)
        self.width = validation.integer("feedback.width", feedback.width, low=1)
        self._begin()

    def _begin(self) -> None:
        # Of the forward passes on their way, by thread.
        self._blocks: dict[int, list[Tensor]] = {}
        self._number = next(_numbers)
        _living[self._number] = self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the forward pass that is on its way, and the number under which a graph finds this object."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_blocks", "_number")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the feedback; graphs find it under a number of its own."""
        self.__dict__.update(state)
        self._begin()

    def block(self, h: Tensor) -> Tensor:
        """End a block: keep its output for `output`, and return it without its graph.

        Parameters
        ----------
        h : torch.Tensor, shape (rows..., features...)
            The block's output, of a floating type.

        Returns
        -------
        torch.Tensor
            The same values, cut from the graph; `h` itself where gradients are off.
        """
        if not torch.is_grad_enabled():
            return h
        self._blocks.setdefault(_thread(), []).append(h)
        return h.detach()

    def output(self, logits: Tensor) -> Tensor:
        """End the network: tie all blocks since the last call to the gradient of the logits.

        Parameters
        ----------
        logits : torch.Tensor, shape (rows..., n_classes)
            The network's output before softmax or sigmoid: the errors are the gradient there. Behind a softmax they
            would be no errors of the classes.

        Returns
        -------
        torch.Tensor
            The same values; `logits` itself where gradients are off.

        Raises
        ------
        ValueError
            If the shapes of the logits, the blocks and the feedback do not go together. The blocks are forgotten.
        """
        if not torch.is_grad_enabled():
            return logits
        return self._tie(logits, self._blocks.pop(_thread(), []))

    def reset(self) -> None:
        """Forget the blocks of a forward pass of this thread that did not come to its output."""
        self._blocks.pop(_thread(), None)

    def mark(self, model: nn.Module, blocks: Iterable[str | nn.Module], output: str | nn.Module | None = None) -> Marks:
        """Train the blocks of a model by feedback, without a change of its code.

        Parameters
        ----------
        model : torch.nn.Module
            The model. Marks act while it is in training mode and gradients are on.
        blocks : iterable of str or torch.nn.Module
            The modules at whose outputs the graph ends, as names or as the modules. Each returns one tensor. One that
            runs several times in a forward pass has a slice of its own for each run.
        output : str or torch.nn.Module, optional
            The module that returns the logits (not their softmax); the model itself if None.

        Returns
        -------
        Marks
            The marks; their `remove` makes the model what it was.

        Raises
        ------
        TypeError
            If an argument is not of the kind named; in a forward pass, if a block or the output returns no tensor.
        ValueError
            If a module is not in the model, named twice, or marked already; in a forward pass, if a block has not run
            when the output does, or the widths do not add up.

        Notes
        -----
        `torch.compile` must come after the marks: what was compiled before may have no place for them.
        """
        return Marks(self, model, blocks, output)

    def _tie(self, logits: Tensor, blocks: list[Tensor]) -> Tensor:
        """Check the shapes; return the logits, tied to the blocks."""
        if not isinstance(logits, Tensor):
            raise TypeError(f"The output is a {type(logits).__name__}, but it must be a tensor of logits.")
        ordinary_tensor("The output", logits)
        if not logits.is_floating_point():
            raise TypeError(f"The output is a tensor of {logits.dtype}, but logits must be of a floating type.")
        rows = logits.shape[:-1]
        if not blocks:
            raise ValueError("No block came before the output, but there must be at least one to train by feedback.")
        if logits.dim() < 2 or logits.shape[-1] != self.n_classes:
            raise ValueError(
                f"The logits have shape {tuple(logits.shape)}, but the feedback takes errors of {self.n_classes} "
                f"classes: their shape must be (rows, {self.n_classes}), with any number of axes for the rows."
            )
        for place, h in enumerate(blocks):
            ordinary_tensor(f"The output of block {place}", h)
            if h.shape[: len(rows)] != rows or not h.is_floating_point():
                raise ValueError(
                    f"The output of block {place} is {h.dtype} of shape {tuple(h.shape)}, but it must be of a floating "
                    f"type, and its first axes must be those of the logits, {tuple(rows)}."
                )
        widths = [math.prod(h.shape[len(rows) :]) for h in blocks]
        if sum(widths) != self.width:
            raise ValueError(
                f"The feedback has width {self.width}, but the blocks have {' + '.join(map(str, widths))} = "
                f"{sum(widths)} outputs a row. Make a feedback of that width."
            )
        scale = 1 / math.sqrt(max(widths)) if self.scale is None else self.scale
        return _tie_operator(logits, blocks, self._number, self.width, scale)

    def _project(self, gradient: np.ndarray, scale: float) -> np.ndarray:
        """Return scale * B g of each row, float32 (rows, width), from gradients float32 (rows, n_classes)."""
        shown = gradient.any(axis=1)  # NaN counts as shown
        n_shown = int(np.count_nonzero(shown))
        result = np.zeros((len(gradient), self.width), np.float32)
        if not n_shown:
            return result
        if not np.isfinite(gradient).all():
            raise ValueError(
                "The gradient at the network's output holds NaN or infinity: the loss or the weights are no longer "
                "finite. No error was projected."
            )
        if self.error_scale == "mean":
            factor = float(n_shown)
        else:
            factor = 1.0 if self.error_scale == "sum" else float(self.error_scale)
        projected = self.feedback.project(gradient[shown] * np.float32(factor))
        if projected.shape != (n_shown, self.width):
            raise ValueError(
                f"The feedback returned an array of shape {projected.shape} for {n_shown} errors, but its width is "
                f"{self.width}."
            )
        result[shown] = projected * np.float32(scale / factor)
        return result


class Marks(validation.Fixed):
    """Blocks and output of one model, marked by `DFA.mark`.

    Parameters
    ----------
    dfa : DFA
        Whose feedback it is.
    model : torch.nn.Module
        The model that carries the marks.
    blocks : iterable of str or torch.nn.Module
        The modules at whose outputs the graph ends, by name or themselves.
    output : str or torch.nn.Module, optional
        The module that returns the logits; the model itself if None.
    """

    _fixed = {"dfa": "Call remove, then mark the model anew.", "model": "Mark the other model, by DFA.mark."}

    def __init__(
        self,
        dfa: DFA,
        model: nn.Module,
        blocks: Iterable[str | nn.Module],
        output: str | nn.Module | None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model is a {type(model).__name__}, but it must be a torch.nn.Module.")
        if isinstance(blocks, (str, nn.Module)):
            raise TypeError(f"blocks is a {type(blocks).__name__}, but it must be a list of names or modules.")
        names = {module: name for name, module in model.named_modules()}
        found = [_find("blocks", block, names) for block in blocks]
        last = model if output is None else _find("output", output, names)
        if not found:
            raise ValueError("blocks is empty, but it must name at least one module.")
        for place, module in enumerate(found):
            if module in found[:place]:
                raise ValueError(f"blocks names {names[module]!r} twice, but each block is marked once.")
            if module in (last, model):
                raise ValueError(f"blocks names {names[module] or 'the model'!r}, which is the output or the model.")
        for module in (*found, last):
            if _is_marked(module):
                what = repr(names[module]) if names[module] else "The model"
                raise ValueError(
                    f"{what} carries a mark already, but a module is marked once: call `remove` of its marks first."
                )
        self.dfa = dfa
        self.model = model
        self._names = [names[module] for module in found]
        self._ran: dict[int, list[tuple[int, Tensor]]] = {}  # of the forward passes on their way, by thread
        self._handles = [model.register_forward_pre_hook(self._begin)]
        for place, module in enumerate(found):
            self._handles.append(module.register_forward_hook(_AfterBlock(self, place)))
        self._handles.append(last.register_forward_hook(self._after_output))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the forward passes that are on their way: their tensors belong to graphs of this process."""
        return {**self.__dict__, "_ran": {}}

    def remove(self) -> None:
        """Take the marks away: from the next forward pass on, the model is trained by backpropagation."""
        for handle in self._handles:
            handle.remove()

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        """Forget what a forward pass of this thread left that did not come to its output."""
        if self.model.training and torch.is_grad_enabled() and getattr(module, "_is_replica", False):
            raise RuntimeError(
                "A marked model runs as a replica of torch.nn.DataParallel, which hands each a part of the batch, so "
                "that the errors of single rows are not known: use torch.nn.parallel.DistributedDataParallel."
            )
        self._ran[_thread()] = []

    def _after_block(self, place: int, h: Any) -> Tensor | None:
        if not (self.model.training and torch.is_grad_enabled()):
            return None
        if not isinstance(h, Tensor):
            raise TypeError(
                f"The block {self._names[place]!r} returns a {type(h).__name__}, but a marked block must return one "
                "tensor. Call DFA.block in the model's forward instead, on the tensor that is handed on."
            )
        self._ran.setdefault(_thread(), []).append((place, h))
        return h.detach()

    def _after_output(self, module: nn.Module, inputs: Any, logits: Any) -> Tensor | None:
        if not (self.model.training and torch.is_grad_enabled()):
            return None
        ran = self._ran.pop(_thread(), [])
        places = [place for place, _ in ran]
        missing = [name for place, name in enumerate(self._names) if place not in places]
        if missing:
            raise ValueError(
                f"The output came before the marked {'blocks' if len(missing) > 1 else 'block'} {', '.join(missing)}, "
                "but in training mode each block must run before it."
            )
        return self.dfa._tie(logits, [h for _, h in ran])


class _AfterBlock:
    """The hook of one block: an object, so that a copy of the model gets hooks of its own."""

    def __init__(self, marks: Marks, place: int) -> None:
        self.marks = marks
        self.place = place

    def __call__(self, module: nn.Module, inputs: Any, h: Any) -> Tensor | None:
        return self.marks._after_block(self.place, h)


def mark(
    model: nn.Module,
    blocks: Iterable[str | nn.Module],
    feedback: ErrorProjection,
    *,
    output: str | nn.Module | None = None,
    scale: float | None = None,
    error_scale: str | float = "mean",
) -> Marks:
    """Train the blocks of a model by feedback: ``DFA(feedback, ...).mark(model, blocks, output)``.

    Parameters
    ----------
    model : torch.nn.Module
        The model; more on this, on `blocks` and on `output` at `DFA.mark`.
    blocks : iterable of str or torch.nn.Module
        The modules at whose outputs the graph ends, by name or themselves.
    feedback : ErrorProjection
        Projects errors to the width of all blocks; more on this and on the scales at `DFA`.
    output : str or torch.nn.Module, optional
        The module that returns the logits; the model itself if None.
    scale : float, optional
        Factor of the teaching signal.
    error_scale : {"mean", "sum"} or float
        How the gradient at the logits becomes the errors of single rows.

    Returns
    -------
    Marks
        The marks; their `remove` makes the model what it was.

    Raises
    ------
    TypeError, ValueError
        As for `DFA` and `DFA.mark`.
    """
    return DFA(feedback, scale=scale, error_scale=error_scale).mark(model, blocks, output)


def _thread() -> int:
    """Return the number of this thread; 0 where torch compiles, as what is compiled runs in any thread."""
    return 0 if torch.compiler.is_compiling() else threading.get_ident()


def _is_marked(module: nn.Module) -> bool:
    """Whether a module is a block or an output of marks that are not removed."""
    hooks = module._forward_hooks.values()
    return any(
        isinstance(hook, _AfterBlock) or getattr(hook, "__func__", None) is Marks._after_output for hook in hooks
    )


def _find(argument: str, wanted: Any, names: dict[nn.Module, str]) -> nn.Module:
    """Return the module that is meant, after checking that the model has it."""
    if isinstance(wanted, nn.Module):
        if wanted in names:
            return wanted
        what = f"a {type(wanted).__name__} that is not in the model"
    elif isinstance(wanted, str):
        for module, name in names.items():
            if name == wanted:
                return module
        what = f"{wanted!r}"
    else:
        raise TypeError(f"{argument} holds a {type(wanted).__name__}, but a module is given by its name or itself.")
    raise ValueError(f"{argument} holds {what}, but the model's modules are {', '.join(filter(None, names.values()))}.")


# Both operators are functional for torch: they change no tensor. What changes is counted by the feedback alone.
# The projection leaves the device, so CUDA graphs may not hold it; older versions of torch have no such tag.
_TAGS: dict[str, Any] = {"tags": (torch.Tag.cudagraph_unsafe,)} if hasattr(torch.Tag, "cudagraph_unsafe") else {}


@torch.library.custom_op(
    "opusim_dfa::project",
    mutates_args=(),
    schema="(Tensor gradient, int number, int width, float scale) -> Tensor",
    **_TAGS,
)
def _project_operator(gradient: Tensor, number: int, width: int, scale: float) -> Tensor:
    """Return the teaching signals, float32 (rows, width), of the gradients (rows, n_classes)."""
    dfa = _living.get(number)
    if dfa is None:
        raise RuntimeError(
            "The DFA object of this compiled graph is gone, but it must live until the backward pass is done: keep the "
            "model that was compiled."
        )
    errors = gradient.detach().to("cpu", torch.float32).numpy()
    return torch.from_numpy(dfa._project(errors, scale)).to(gradient.device)


@_project_operator.register_fake
def _(gradient: Tensor, number: int, width: int, scale: float) -> Tensor:
    return gradient.new_empty((gradient.shape[0], width), dtype=torch.float32)


def _refuse_second_order(ctx: Any, gradient: Tensor) -> tuple[None, ...]:
    raise NotImplementedError(
        "The teaching signal of direct feedback alignment was differentiated, but it is no gradient of the loss: "
        "double backward is not defined for it."
    )


_project_operator.register_autograd(_refuse_second_order)


@torch.library.custom_op(
    "opusim_dfa::tie",
    mutates_args=(),
    schema="(Tensor logits, Tensor[] blocks, int number, int width, float scale) -> Tensor",
)
def _tie_operator(logits: Tensor, blocks: list[Tensor], number: int, width: int, scale: float) -> Tensor:
    """Return the logits: a copy, because an operator's result may not share memory with what it got."""
    return logits.clone()


@_tie_operator.register_fake
def _(logits: Tensor, blocks: list[Tensor], number: int, width: int, scale: float) -> Tensor:
    return torch.empty_like(logits)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, blocks, ctx.number, ctx.width, ctx.scale = inputs
    ctx.dfa = _living.get(ctx.number)  # the graph keeps what its backward pass asks
    ctx.blocks = [(h.shape, h.dtype, h.device) for h in blocks]
    ctx.widths = [math.prod(h.shape[logits.dim() - 1 :]) for h in blocks]


def _teach(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    rows = gradient.reshape(-1, gradient.shape[-1])
    projected = _project_operator(rows, ctx.number, ctx.width, ctx.scale)
    parts = zip(projected.split(ctx.widths, dim=1), ctx.blocks, strict=True)
    signals = [part.reshape(shape).to(device, dtype) for part, (shape, dtype, device) in parts]
    return gradient, signals, None, None, None


_tie_operator.register_autograd(_teach, setup_context=_remember)
