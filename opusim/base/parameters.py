"""Parameters as data: a field says once what it may be, its unit, what switches it off and whether it is learnt.

From this follow the checks and their sentences, ideal devices, the ranges of gradients, what a sweep may vary, the
sources of a noise budget, and a table in the documentation. Names that are nearly right are found here too.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, get_type_hints

from . import validation
from .plugins import GROUP, Registry, code_of, named

__all__ = [
    "Parameter",
    "Part",
    "Stage",
    "before_of",
    "near_matches",
    "near_names",
    "parameter",
    "parameters_of",
    "part",
    "parts_of",
    "paths_in",
    "paths_of",
    "plain_text",
    "stage_name",
]

Kind = Literal["number", "integer", "flag", "choice", "text", "name", "label", "shape", "integers", "numbers", "list"]
_KINDS: dict[Any, Kind] = {float: "number", int: "integer", bool: "flag", str: "text"}
_PARAMETER, _PART = "parameter", "part"
# How many of the unit that is shown make one of the parameter's own.
_SHOWN = {"nm": 1e9, "µm": 1e6, "mm": 1e3, "mW": 1e3, "kHz": 1e-3, "GHz": 1e-9, "%": 100}


@dataclass(frozen=True)
class Parameter:
    """What a field of a stage may be, and what it is for.

    Parameters
    ----------
    kind : str, optional
        "number", "integer", "flag", "choice", "text" (any), "name" (a text that is not empty), "label" (the same, of
        something in a file), "shape" (rows and columns), "integers" or "numbers" (two of them), "list" (any number of
        numbers, none of them at all included). By default the annotation of the field tells.
    low, high : float, or a tuple of float for each of two values
        The range, ends included; a `high` of ``inf`` may be reached, a `high` of None is none.
    low_open : bool
        Whether `low` itself is excluded.
    below : str
        Name of a property of the stage below which the value must lie, beside `high`.
    choices : tuple of str
        Values of a choice.
    unit : str
        Unit of the value; empty for a number without one.
    shown : str
        Unit in which people read it, where that is another one: its first word is one of nm, µm, mm, mW, kHz, GHz, %.
    off : object
        Value that switches an imperfection off; None for a parameter that is none.
    imperfection : str
        Name of that imperfection; several fields may share one.
    source : str
        The source of an output's error that it is, or that it is a part of; empty if it is none.
    learnable : {"", "scale", "odds"}
        Whether outputs have a gradient with respect to it, and how it is learnt: "scale" by factors, from `low` on
        without an upper end, "odds" between both ends.
    before : object
        Value at which a device does what it did before there was the parameter, where there was none once: a device
        with it has the fingerprint of then, and a stored one that does not name the parameter means this. None for a
        parameter that has always been.
    """

    kind: Kind | None = None
    low: Any = None
    high: float | None = None
    low_open: bool = False
    below: str = ""
    choices: tuple[str, ...] = ()
    unit: str = ""
    shown: str = ""
    off: Any = None
    imperfection: str = ""
    source: str = ""
    learnable: Literal["", "scale", "odds"] = ""
    before: Any = None

    def __post_init__(self) -> None:
        """Check that a source of error can be switched off."""
        if self.source and not self.imperfection:
            raise ValueError(
                f"source is {self.source!r}, but imperfection is empty: what switches it off needs a name."
            )

    @property
    def is_number(self) -> bool:
        """Whether it is one number, whole or not."""
        return self.kind in ("number", "integer")

    @property
    def learnt_range(self) -> tuple[float, float | None]:
        """Range within which it is learnt, ends excluded; None stands for what `below` names."""
        return self.low, math.inf if self.learnable == "scale" else None if self.below else self.high

    def allowed(self) -> str:
        """Return what it may be, in few words.

        Returns
        -------
        str
            Such as "(0, 1]", "2 to 16" or "True or False".
        """
        match self.kind:
            case "flag":
                return "True or False"
            case "choice":
                return ", ".join(map(repr, self.choices))
            case "text":
                return "a text"
            case "name" | "label":
                return "a text that is not empty"
            case "shape":
                return "two whole numbers (rows, columns)"
            case "integers":
                return "two whole numbers"
            case "integer" if self.low is None:
                return "a whole number"
            case "integer":
                return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"
        if self.low == self.high and self.low is not None:
            return f"{self.low:g}"
        ends = f"{'(' if self.low_open else '['}{self.low:g}, {'inf)' if self.high is None else f'{self.high:g}]'}"
        many = {"numbers": "two numbers in ", "list": "any number of numbers in "}
        return many.get(self.kind or "", "") + ends

    def text(self, value: Any) -> str:
        """Return a value with its unit, as people read it.

        Parameters
        ----------
        value : object
            The value, in the parameter's own unit.

        Returns
        -------
        str
            Such as "532 nm", "912 x 1140", "0 to 1039680 mirrors" or "True".
        """
        if self.kind == "integer" and not self.shown:
            words = str(value)
        elif self.is_number:
            factor = _SHOWN[self.shown.split()[0]] if self.shown else 1
            words = f"{factor * value:g}"
        elif self.kind == "list" and not value:
            return "none"
        elif self.kind == "list":
            words = ", ".join(map(plain_text, value))
        elif isinstance(value, tuple):
            words = {"shape": " x ", "integers": " to "}.get(self.kind or "", " and ").join(map(plain_text, value))
        else:
            words = plain_text(value)
        return f"{words} {self.shown or self.unit}".rstrip()

    def check(self, name: str, value: Any) -> Any:
        """Return a value as the stage keeps it, after checking it.

        Parameters
        ----------
        name : str
            What the sentence of an error calls it.
        value : object
            What was given.

        Returns
        -------
        object
            The value itself; pairs and lists of numbers as tuples.

        Raises
        ------
        TypeError, ValueError
            If it is not what it may be.
        """
        return _CHECKS[self.kind or "text"](self, name, value)


def plain_text(value: Any) -> str:
    """Return a value as people read it where nothing is known of it: a float with six digits at most."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def parameter(
    default: Any = dataclasses.MISSING,
    *,
    kind: Kind | None = None,
    low: Any = None,
    high: float | None = None,
    low_open: bool = False,
    below: str = "",
    choices: tuple[str, ...] = (),
    unit: str = "",
    shown: str = "",
    off: Any = None,
    imperfection: str = "",
    source: str = "",
    learnable: Literal["", "scale", "odds"] = "",
    before: Any = None,
) -> Any:
    """Return a field of a stage that is described by data.

    Parameters
    ----------
    default : object, optional
        Its default; without one the field must be given.
    kind, low, high, low_open, below, choices, unit, shown, off, imperfection, source, learnable, before : optional
        As for `Parameter`.

    Returns
    -------
    dataclasses.Field
        For the body of a dataclass.
    """
    about = Parameter(
        kind=kind, low=low, high=high, low_open=low_open, below=below, choices=choices, unit=unit, shown=shown, off=off,
        imperfection=imperfection, source=source, learnable=learnable, before=before,
    )  # fmt: skip
    return dataclasses.field(default=default, metadata={_PARAMETER: about})


@dataclass(frozen=True)
class Part:
    """A field that holds a stage.

    Parameters
    ----------
    kinds : type or mapping of str to type
        Class of the stage, or several by the names that tables call them by.
    shelf : str
        Folder of the presets that its table may name; empty if there are none.
    others : tuple of str
        More such folders, where kinds have one each.
    base : type, optional
        Class of which all kinds are, where there are several.
    usual : str
        Of several kinds the one that a table means which names none; empty if it must name one.
    """

    kinds: type | Mapping[str, type]
    shelf: str = ""
    base: type | None = None
    usual: str = ""
    others: tuple[str, ...] = ()

    @property
    def shelves(self) -> tuple[str, ...]:
        """All folders of the presets that its table may name."""
        return (self.shelf, *self.others) if self.shelf else ()

    @property
    def classes(self) -> tuple[type, ...]:
        """What the stage may be."""
        return (self.kinds,) if isinstance(self.kinds, type) else tuple(self.kinds.values())

    @property
    def known(self) -> tuple[type, ...]:
        """What it may be, but for what other packages bring and nobody has asked for yet."""
        if isinstance(self.kinds, Registry):
            return tuple(self.kinds[name] for name in self.kinds.own())
        return self.classes

    def of_kind(self, label: str, kind: Any, folder: Path | None = None) -> type:
        """Return the class of a kind.

        Parameters
        ----------
        label : str
            What the sentence of an error calls it.
        kind : object
            Its name, as a table has it; or "module:Class" or "file.py:Class", to import one (`plugins.named`).
        folder : Path, optional
            Where a file is named from; the working folder by default.

        Returns
        -------
        type
            The class.

        Raises
        ------
        ValueError
            If none has that name; near names are named.
        """
        assert not isinstance(self.kinds, type)
        if isinstance(kind, str) and ":" in kind:
            return self._imported(label, kind, folder)
        if not isinstance(kind, str) or kind not in self.kinds:
            near = near_matches(kind, self.kinds) if isinstance(kind, str) else ""
            names = ", ".join(map(repr, self.kinds))
            raise ValueError(
                f"{label} is {kind!r}{near}, but it must be one of {names}, or file.py:Class; "
                "a kind becomes known when the file that defines it is imported, or through an entry point of the "
                f"group {GROUP!r} of an installed package."
            )
        return self.kinds[kind]

    def _imported(self, label: str, spec: str, folder: Path | None) -> type:
        try:
            found = named(spec, folder)
        except ValueError as error:
            raise ValueError(f"{label} is {spec!r}, but {error}.") from error
        base = self.base or object
        if not isinstance(found, type) or not issubclass(found, base):
            raise ValueError(f"{label} is {spec!r}, but that is {found!r}: it must be a class of type {base.__name__}.")
        return found

    def check(self, name: str, value: Any) -> Any:
        """Return a stage after checking its class.

        Parameters
        ----------
        name : str
            What the sentence of an error calls it.
        value : object
            What was given.

        Returns
        -------
        object
            The stage.

        Raises
        ------
        TypeError
            If it is no such stage.
        """
        allowed = self.known if self.base is None else (self.base,)
        if not isinstance(value, allowed):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise TypeError(f"{name} is {value!r}, but it must be of type {names}.")
        return value


def part(
    kinds: type | Mapping[str, type],
    *,
    shelf: str = "",
    base: type | None = None,
    usual: str = "",
    others: tuple[str, ...] = (),
    given: bool = True,
) -> Any:
    """Return a field that holds a stage.

    Parameters
    ----------
    kinds : type or mapping of str to type
        As for `Part`.
    shelf, base, usual, others : optional
        As for `Part`.
    given : bool, optional
        Whether it must be given. If not, it is the stage with its defaults.

    Returns
    -------
    dataclasses.Field
        For the body of a dataclass.
    """
    metadata = {_PART: Part(kinds, shelf, base, usual, others)}
    if given or not isinstance(kinds, type):
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default_factory=kinds, metadata=metadata)


_T = TypeVar("_T")


def _kept(function: Callable[[type], _T]) -> Callable[[type], _T]:
    """Keep what a function says of a class: a stage is made many times."""
    return cache(function)


class Stage:
    """Base of frozen dataclasses whose fields are parameters or parts: checks them, and says what they are.

    Attributes
    ----------
    stage : str
        Of the class: the name of its table, which stands before the names of its fields.
    described : mapping of str to dataclasses.Field
        Of the class: what fields of these names are in every class that derives from it, however that declares them.
    meant : mapping of str to str
        Of the class: names that are no fields, but that people give, and the words on what to set in their place.

    Notes
    -----
    A plain field, as in ``width: float = 0.1``, is a parameter too: a finite number (``inf`` as well where that is the
    default), a whole number, True or False, or a text, without a range. One of another type needs `parameter` or
    `part`.
    """

    stage: ClassVar[str] = ""
    described: ClassVar[Mapping[str, dataclasses.Field[Any]]] = {}
    meant: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        """Keep which code a class from elsewhere has: its file may be edited while the program runs."""
        super().__init_subclass__(**options)
        code_of(cls)

    def __post_init__(self) -> None:
        """Check every field, then what holds between them."""
        for name, path, check in _checks_of(type(self)):
            value = getattr(self, name)
            kept = check(path, value)
            if kept is not value:
                object.__setattr__(self, name, kept)
        self._check_together()

    def _check_together(self) -> None:
        """Check what holds between fields."""

    def without_effect(self) -> tuple[str, ...]:
        """Return the fields that change nothing with the others as they are: a fingerprint leaves them out.

        Returns
        -------
        tuple of str
            Their names; none unless a class says so.
        """
        return ()

    def text(self, name: str) -> str:
        """Return a field with its unit, as people read it.

        Parameters
        ----------
        name : str
            Name of the field.

        Returns
        -------
        str
            Such as "532 nm".
        """
        about, value = parameters_of(type(self)).get(name), getattr(self, name)
        return plain_text(value) if about is None else about.text(value)

    def switches(self) -> dict[str, dict[str, Any]]:
        """Return, for each imperfection by name, the fields that switch it off alone.

        Returns
        -------
        dict of dict
            For each name, values by field; those of parts by dotted path.
        """
        result: dict[str, dict[str, Any]] = {}
        for name, about in parameters_of(type(self)).items():
            if about.imperfection:
                result.setdefault(about.imperfection, {})[name] = about.off
        for part_name in parts_of(type(self)):
            own: Stage = getattr(self, part_name)
            stage = stage_name(type(own), part_name)
            for imperfection, fields in own.switches().items():
                result.setdefault(imperfection, {}).update({f"{stage}.{name}": off for name, off in fields.items()})
        return result

    def ideal(self) -> Self:
        """Return the same with every imperfection switched off.

        Returns
        -------
        Stage
            Of the same class; this one stays as it is.
        """
        off = {name: about.off for name, about in parameters_of(type(self)).items() if about.imperfection}
        off |= {name: getattr(self, name).ideal() for name in parts_of(type(self))}
        return dataclasses.replace(self, **off)  # type: ignore[type-var]


@_kept
def parameters_of(cls: type) -> Mapping[str, Parameter]:
    """Return what the fields of a stage are, by name.

    Parameters
    ----------
    cls : type
        A `Stage`, or any class: of that one, other fields than parameters are left out.

    Returns
    -------
    mapping of str to Parameter
        In the order of the fields.

    Raises
    ------
    TypeError
        If a field of a stage is of a type that cannot be checked.
    """
    is_stage = issubclass(cls, Stage)
    described = cls.described if issubclass(cls, Stage) else {}
    result = {}
    for f in dataclasses.fields(cls):
        about: Parameter | None = f.metadata.get(_PARAMETER)
        if about is None and not (is_stage and f.init and _PART not in f.metadata):
            continue
        if f.name in described:
            always: Parameter = described[f.name].metadata[_PARAMETER]
            # Its own range may be narrower; what the field is for stays.
            own = about or always
            about = dataclasses.replace(
                always, kind=own.kind, low=own.low, high=own.high, low_open=own.low_open, below=own.below
            )
        result[f.name] = _with_kind(cls, f, about)
    return result


def _with_kind(cls: type, field: dataclasses.Field[Any], about: Parameter | None) -> Parameter:
    """Return a parameter whose kind is known, from the annotation of its field if need be."""
    if about is not None and (about.kind or about.choices):
        return dataclasses.replace(about, kind=about.kind or "choice")
    annotation: Any = field.type
    if isinstance(annotation, str):
        # By name where that is enough: other annotations of the class may not be known while it runs.
        annotation = (
            next((one for one in _KINDS if one.__name__ == annotation), None) or get_type_hints(cls)[field.name]
        )
    if annotation not in _KINDS:
        raise TypeError(
            f"{cls.__name__}.{field.name} is declared as {field.type!r}, but a plain field of a {_word(cls)} must be a "
            "float, an int, a bool or a str: declare another one with opusim.base.parameters.parameter(kind=...)."
        )
    kind = _KINDS[annotation]
    if about is not None:
        return dataclasses.replace(about, kind=kind)
    if kind != "number":
        return Parameter(kind)
    return Parameter(kind, low=-math.inf, low_open=True, high=math.inf if field.default == math.inf else None)


def _word(cls: type) -> str:
    return (cls.stage if issubclass(cls, Stage) else "") or "stage"


def before_of(stage: type) -> dict[str, Any]:
    """Return, for each field of a stage that came later, the value of what was done before, as tables have it.

    Parameters
    ----------
    stage : type
        Class of the stage.

    Returns
    -------
    dict
        Values by field, see `Parameter.before`; lists for tuples.
    """
    before = {name: about.before for name, about in parameters_of(stage).items() if about.before is not None}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in before.items()}


@_kept
def parts_of(cls: type) -> Mapping[str, Part]:
    """Return the stages of a record of stages, by name.

    Parameters
    ----------
    cls : type
        A dataclass.

    Returns
    -------
    mapping of str to Part
        In the order of the fields.
    """
    return {f.name: f.metadata[_PART] for f in dataclasses.fields(cls) if _PART in f.metadata}


def stage_name(kind: type, field: str) -> str:
    """Return what paths call a stage.

    Parameters
    ----------
    kind : type
        Class of the stage.
    field : str
        The field of the record that holds it.

    Returns
    -------
    str
        `Stage.stage` of the class; the name of the field where that is empty.
    """
    return getattr(kind, "stage", "") or field


def paths_of(cls: type, *, shipped: bool = False) -> Iterator[tuple[type, str, str, Parameter]]:
    """Go through all parameters of the stages of a record, whose classes are known so far.

    Parameters
    ----------
    cls : type
        A dataclass with parts.
    shipped : bool, optional
        Whether to leave out classes that do not come with opusim, which a program may have defined already.

    Yields
    ------
    kind : type
        Class of the stage; those of one part follow each other.
    name : str
        Name of the field.
    path : str
        The same with the stage before it, as in "camera.bits".
    about : Parameter
        What it is.
    """
    for stage, one in parts_of(cls).items():
        for kind in one.known:
            if shipped and not kind.__module__.startswith("opusim."):
                continue
            for name, about in parameters_of(kind).items():
                yield kind, name, f"{stage_name(kind, stage)}.{name}", about


def paths_in(record: Any) -> dict[str, Parameter]:
    """Return all parameters of the stages that a record has, by path.

    Parameters
    ----------
    record : object
        A dataclass with parts, such as a device.

    Returns
    -------
    dict of str to Parameter
        In the order of the parts and of their fields.
    """
    return {
        f"{stage_name(type(getattr(record, stage)), stage)}.{name}": about
        for stage in parts_of(type(record))
        for name, about in parameters_of(type(getattr(record, stage))).items()
    }


Check = Callable[[str, Any], Any]


@_kept
def _checks_of(cls: type) -> tuple[tuple[str, str, Check], ...]:
    """Return name, path and check of each field, ready for the many times that a stage is made."""
    before = f"{cls.stage}." if issubclass(cls, Stage) and cls.stage else ""
    checks: dict[str, Check] = {name: _ready(about) for name, about in parameters_of(cls).items()}
    checks |= {name: one.check for name, one in parts_of(cls).items()}
    return tuple((f.name, before + f.name, checks[f.name]) for f in dataclasses.fields(cls) if f.name in checks)


def _ready(about: Parameter) -> Check:
    """Return the check of a parameter; for a number it looks at once whether all is well, as nearly always."""
    if about.kind != "number" or about.high is None:
        return about.check
    low, high, low_open, full = about.low, about.high, about.low_open, about.check

    def check(name: str, value: Any) -> Any:
        if type(value) is float and (low < value or value == low and not low_open) and value <= high:
            return value
        return full(name, value)

    return check


# ---------------------------------------------------------------- one check a kind


def _number(about: Parameter, name: str, value: Any) -> Any:
    high = math.inf if about.high is None else about.high
    found = validation.number(
        name, value, low=about.low, high=high, low_open=about.low_open, allow_inf=about.high == math.inf
    )
    # A whole number stays one, as files have it. What is of another type, as numpy's, could not be written as JSON.
    return value if type(value) in (int, float) else found


def _integer(about: Parameter, name: str, value: Any) -> Any:
    return validation.integer(name, value, low=about.low, high=None if about.high is None else int(about.high))


def _text(about: Parameter, name: str, value: Any) -> str:
    if not isinstance(value, str) or (about.kind == "name" and not value):
        raise TypeError(f"{name} is {value!r}, but it must be {about.allowed()}.")
    return value


def _label(about: Parameter, name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is {value!r}, but it must be a name that is not empty.")
    return value


def _shape(about: Parameter, name: str, value: Any) -> tuple[int, int]:
    return validation.shape2(name, value)


def _integers(about: Parameter, name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise TypeError(f"{name} is {value!r}, but it must be two whole numbers.")
    lows = about.low if isinstance(about.low, tuple) else (about.low, about.low)
    return tuple(validation.integer(f"{name}[{i}]", value[i], low=low) for i, low in enumerate(lows))


def _numbers(about: Parameter, name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise TypeError(f"{name} is {value!r}, but it must be two numbers.")
    return tuple(float(_number(about, name, one)) for one in value)


def _list(about: Parameter, name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} is {value!r}, but it must be a list of numbers, which may be empty.")
    return tuple(float(_number(about, f"{name}[{i}]", one)) for i, one in enumerate(value))


_CHECKS: dict[Kind, Callable[[Parameter, str, Any], Any]] = {
    "number": _number,
    "integer": _integer,
    "flag": lambda about, name, value: validation.flag(name, value),
    "choice": lambda about, name, value: validation.choice(name, value, about.choices),
    "text": _text,
    "name": _text,
    "label": _label,
    "shape": _shape,
    "integers": _integers,
    "numbers": _numbers,
    "list": _list,
}


# ---------------------------------------------------------------- names that are nearly right

# How alike a name and a word of a longer one must be.
_WORD = 0.7


def near_names(
    name: str, names: Iterable[str], *, n: int = 3, cutoff: float = 0.5, parts: Literal["", "first", "last"] = ""
) -> list[str]:
    """Return the names that somebody may have meant.

    Parameters
    ----------
    name : str
        What was given.
    names : iterable of str
        What there is.
    n : int, optional
        How many at most.
    cutoff : float, optional
        How alike they must be, from 0 to 1.
    parts : {"", "first", "last"}, optional
        Whether names that `name` is a part of count too, however long they are, and where they stand.

    Returns
    -------
    list of str
        The nearest first.
    """
    names = list(names)
    close = difflib.get_close_matches(name, names, n=n, cutoff=cutoff)
    # What two paths begin with alike says nothing; a word of a long name is near enough.
    begin, dot, end = name.rpartition(".")
    ends = {one.removeprefix(begin + dot): one for one in names if one.startswith(begin + dot)}
    words = [one for short, one in ends.items() if difflib.get_close_matches(end, short.split("_"), cutoff=_WORD)]
    if dot:
        words = [*(ends[one] for one in difflib.get_close_matches(end, ends, n=n, cutoff=cutoff)), *words]
        close = [one for one in close if not one.startswith(begin + dot) or one in words]
    close = [*words, *close] if dot else [*close, *words]
    inside = [one for one in names if name in one] if parts else []
    return list(dict.fromkeys([*inside, *close] if parts == "first" else [*close, *inside]))[:n]


def near_matches(
    name: str,
    names: Iterable[str],
    *,
    cutoff: float = 0.5,
    parts: Literal["", "first", "last"] = "",
    before: str = "; ",
    after: str = "",
) -> str:
    """Return the piece of a sentence that tells the near names, or nothing if there are none.

    Parameters
    ----------
    name : str
        What was given.
    names : iterable of str
        What there is.
    cutoff, parts : float and str, optional
        As for `near_names`.
    before, after : str, optional
        What stands around the piece.

    Returns
    -------
    str
        Such as "; near matches are 'bits'".
    """
    near = near_names(name, names, cutoff=cutoff, parts=parts)
    return f"{before}near matches are {', '.join(map(repr, near))}{after}" if near else ""
