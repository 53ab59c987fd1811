"""What a torch module of ours carries in its `state_dict` besides weights: plain values and arrays, as one tensor.

A tensor of bytes goes wherever weights go: through ``torch.load(..., weights_only=True)``, safetensors, and loops that
clone or move what is in a ``state_dict``. Nothing in it is ever unpickled. A check sum over all of it stands in front,
so that damage is told before anything is read. torch is imported where it is used.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .warn import warn_outside

if TYPE_CHECKING:
    import torch

__all__ = ["CarriesState", "NotPlainError", "packed", "unpacked"]

_MAGIC = b"opusim module state 1\n"
_KEY = "_extra_state"
# Modules whose lines a warning does not point at: ours, and those of the library that calls them.
_INSIDE = ("opusim.", "torch.")


class NotPlainError(TypeError):
    """A value that is neither plain nor an array, so that only a pickle could hold it."""


def packed(content: Mapping[str, Any]) -> np.ndarray:
    """Return plain values and arrays as bytes.

    Parameters
    ----------
    content : mapping of str to object
        Numbers, texts, flags, None, arrays of numpy, tensors on any device, and lists, tuples and dicts (by texts) of
        such. An array that occurs twice is kept once, and is one array again.

    Returns
    -------
    ndarray of uint8, shape (n_bytes,)
        The same content gives the same bytes.

    Raises
    ------
    NotPlainError
        If there is anything else in it.
    """
    writer = _Writer()
    text = json.dumps(writer.plain(dict(content)))
    members: dict[str, Any] = {"about": np.frombuffer(text.encode(), np.uint8), **writer.arrays}
    stream = io.BytesIO()
    np.savez(stream, **members)
    body = stream.getvalue()
    return np.frombuffer(_MAGIC + hashlib.sha256(body).digest() + body, np.uint8).copy()


def unpacked(data: Any, *, what: str) -> dict[str, Any]:
    """Return what `packed` was given.

    Parameters
    ----------
    data : torch.Tensor or ndarray of uint8, shape (n_bytes,)
        From `packed`.
    what : str
        Whose state it is, for the sentence of an error.

    Returns
    -------
    dict
        The content.

    Raises
    ------
    ValueError
        If it is no such thing, is damaged, or was written by a version with another form.
    """
    if hasattr(data, "detach"):
        data = data.detach().cpu()
        data = (data.float() if data.is_floating_point() else data).numpy()
    if isinstance(data, np.ndarray) and data.dtype.kind == "f":
        # Some tools cast all that a state_dict holds. Bytes survive that in every type of floats.
        with np.errstate(invalid="ignore"):
            whole = data.astype(np.uint8)
        data = whole if np.array_equal(whole, data) else data
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 1:
        kind = f"{data.dtype} of shape {data.shape}" if isinstance(data, np.ndarray) else f"a {type(data).__name__}"
        raise ValueError(f"The state of {what} is {kind}, but it must be the bytes that its state_dict holds.")
    raw = data.tobytes()
    head = len(_MAGIC)
    if not raw.startswith(_MAGIC):
        raise ValueError(
            f"The state of {what} does not begin as this version writes it: it belongs to another module, or to a "
            "newer version of opusim."
        )
    digest, body = raw[head : head + 32], raw[head + 32 :]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError(f"The state of {what} is damaged: its check sum does not fit. Save it anew, or use a backup.")
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    content: dict[str, Any] = _restored(json.loads(arrays.pop("about").tobytes().decode()), arrays)
    return content


class _Writer:
    """Makes JSON of values, and puts arrays aside by names."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []  # so that no number of `id` is given twice

    def plain(self, value: Any) -> Any:
        """Return a value as JSON has it; what is no list stands under the name of its kind."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is list:
            return [self.plain(item) for item in value]
        if kind is tuple:
            return {"tuple": [self.plain(item) for item in value]}
        if isinstance(value, Mapping) and all(type(key) is str for key in value):
            return {"dict": {key: self.plain(item) for key, item in value.items()}}
        if isinstance(value, np.generic):
            return {"scalar": self._aside(value, np.asarray(value))}
        if isinstance(value, np.ndarray):
            return {"array": self._aside(value, np.asarray(value))}
        if hasattr(value, "detach") and hasattr(value, "cpu"):
            try:
                return {"tensor": self._aside(value, value.detach().cpu().numpy())}
            except (TypeError, RuntimeError) as error:
                raise NotPlainError(f"{value.dtype} is a type that arrays do not have ({error})") from None
        raise NotPlainError(f"{value!r} is a {kind.__name__}, which is no plain value")

    def _aside(self, value: Any, array: np.ndarray) -> str:
        if array.dtype.kind not in "biufcSU":
            raise NotPlainError(f"an array of {array.dtype} holds no plain values")
        name = self._names.get(id(value))
        if name is None:
            self._names[id(value)] = name = f"a{len(self.arrays)}"
            self.arrays[name] = array
            self._kept.append(value)
        return name


def _restored(value: Any, arrays: dict[str, Any]) -> Any:
    """Return the value that `_Writer.plain` made JSON of."""
    if isinstance(value, list):
        return [_restored(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "dict":
        return {key: _restored(item, arrays) for key, item in content.items()}
    if kind == "tuple":
        return tuple(_restored(item, arrays) for item in content)
    if kind == "scalar":
        return arrays[content][()]
    if kind == "tensor" and isinstance(arrays[content], np.ndarray):
        import torch

        arrays[content] = torch.from_numpy(arrays[content])  # one tensor, however often it occurs
    return arrays[content]


class CarriesState:
    """Base, before `torch.nn.Module`, of a module whose `state_dict` carries more than weights.

    A subclass says what, by `_state`, and takes it by `_take_state`. Where that refuses, with a TypeError or a
    ValueError, `load_state_dict` tells it as it tells weights of another size.
    """

    def _state(self) -> dict[str, Any]:
        """Return what is carried: plain values and arrays."""
        raise NotImplementedError

    def _take_state(self, content: dict[str, Any]) -> None:
        """Take what `_state` of another module, or of this one, returned; nothing is changed if it is refused."""
        raise NotImplementedError

    @property
    def _without_state(self) -> str:
        """What is so where a `state_dict` has nothing of this module, for a warning."""
        raise NotImplementedError

    def get_extra_state(self) -> torch.Tensor:
        """Return what the `state_dict` carries besides weights.

        Returns
        -------
        torch.Tensor
            Bytes, uint8, in the memory of the machine.
        """
        import torch

        return torch.from_numpy(packed(self._state()))

    def set_extra_state(self, state: Any) -> None:
        """Take what `get_extra_state` returned.

        Parameters
        ----------
        state : torch.Tensor
            Bytes.

        Raises
        ------
        TypeError, ValueError
            If it is damaged, or does not go with this module. Nothing is changed then.
        """
        self._take_state(unpacked(state, what=type(self).__name__))

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, missing_keys: list[str],
        unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Load as torch does; what 0.1 saved, which has weights alone, too."""
        key = prefix + _KEY
        load = super()._load_from_state_dict  # type: ignore[misc]
        try:
            load(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        except (TypeError, ValueError) as error:
            if key not in state_dict:
                raise
            error_msgs.append(f"{prefix.rstrip('.') or type(self).__name__}: {error}")
        if key not in state_dict:
            if key in missing_keys:
                missing_keys.remove(key)
            who = " ".join(filter(None, (f"the {type(self).__name__}", prefix.rstrip("."))))
            warn_outside(
                f"The state_dict says nothing of {who}, as those of opusim 0.1: {self._without_state}", inside=_INSIDE
            )
