"""Parts of one piece of work: what a text names, which rows are whose, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opusim.base.parts import Part, check_parts


def slurm(number: int, first: int, last: int, step: int = 1, count: int | None = None) -> dict[str, str]:
    values = {"ID": number, "MIN": first, "MAX": last, "STEP": step}
    values["COUNT"] = (last - first) // step + 1 if count is None else count
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("1/4", {}, Part(1, 4)),
        (" 4 / 4 ", {}, Part(4, 4)),
        ("2/4", slurm(2, 1, 4), Part(2, 4)),
        ("slurm", slurm(0, 0, 3), Part(1, 4)),
        ("slurm", slurm(3, 0, 3), Part(4, 4)),
        (" SLURM ", slurm(2, 1, 4), Part(2, 4)),
        # Not what the variables give: counted from 1, as anywhere.
        ("2/8", slurm(2, 0, 3), Part(2, 8)),
        ("4/4", slurm(0, 0, 3), Part(4, 4)),
        # One part sent again: written out, or by the number of the task.
        ("3/4", slurm(2, 2, 2), Part(3, 4)),
        ("3/4", slurm(3, 3, 3), Part(3, 4)),
        ("4/4", slurm(3, 2, 3), Part(4, 4)),
    ],
)
def test_a_text_names_a_part_or_the_place_in_an_array(text, environment, expected):
    assert Part.parse(text, environment) == expected


@pytest.mark.parametrize(
    ("text", "environment", "sentence"),
    [
        ("0/4", {}, "part is '0/4', but parts count from 1: it must be from 1/4 to 4/4."),
        ("5/4", {}, "parts count from 1"),
        ("1/0", {}, "parts count from 1"),
        ("2", {}, "must be a number and a count, as 2/4"),
        ("-1/4", {}, "must be a number and a count"),
        ("a/b", {}, "must be a number and a count"),
        ("/", {}, "must be a number and a count"),
        ("0/4", slurm(1, 0, 3), "begins at 0 use --part slurm"),
        ("slurm", {}, "is no task of a SLURM job array: SLURM_ARRAY_TASK_ID, SLURM_ARRAY_TASK_COUNT"),
        # Of four tasks some are sent again.
        ("slurm", slurm(2, 2, 2), "array of this task is one of 1 task from 2 to 2: which part is meant cannot be"),
        ("slurm", slurm(0, 0, 0), "write number and count out, as in --part 3/4"),
        ("slurm", slurm(1, 1, 1), "one of 1 task from 1 to 1"),
        ("slurm", slurm(3, 2, 3), "one of 2 tasks from 2 to 3"),
        ("slurm", slurm(3, 1, 3, count=2), "one of 2 tasks from 1 to 3"),
        ("slurm", slurm(7, 1, 7, 2), "one of 4 tasks from 1 to 7"),
        ("slurm", slurm(2, 0, 2, 2), "one of 2 tasks from 0 to 2"),
        # What the variables give, where they do not count parts from 1.
        ("0/4", slurm(0, 0, 3), "--part slurm is for an array of all parts"),
        ("1/4", slurm(1, 0, 3), "as SLURM_ARRAY_TASK_ID/SLURM_ARRAY_TASK_COUNT of this task is"),
        ("1/1", slurm(1, 1, 1), "which part is meant cannot be told"),
        ("2/1", slurm(2, 2, 2), "which part is meant cannot be told"),
        ("2/2", slurm(2, 2, 3), "which part is meant cannot be told"),
        ("9/3", slurm(9, 1, 9, 1, 3), "which part is meant cannot be told"),
    ],
)
def test_what_names_no_part_is_told(text, environment, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Part.parse(text, environment)


def test_other_kinds_are_told():
    with pytest.raises(TypeError, match="must be a text as '2/4'"):
        Part.parse(2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="number is 5"):
        Part(5, 4)


@pytest.mark.parametrize(("n", "count"), [(10, 4), (3, 5), (1, 1), (1000, 7), (0, 3)])
def test_every_row_is_in_one_part(n, count):
    slices = [Part(k + 1, count).rows(n) for k in range(count)]
    assert [i for rows in slices for i in range(n)[rows]] == list(range(n))
    sizes = [rows.stop - rows.start for rows in slices]
    assert max(sizes) - min(sizes) <= 1


def test_a_part_has_a_file_of_its_own():
    assert Part(2, 4).beside("out/y.npy") == Path("out/y.part2of4.npy")


def test_sets_that_are_not_whole_are_told():
    def of(*parts: Part | None) -> None:
        check_parts([(part, Path(f"f{i}")) for i, part in enumerate(parts)], "a sweep")

    of(Part(2, 2), Part(1, 2))
    with pytest.raises(ValueError, match="Parts 1, 3 of 4 are missing"):
        of(Part(2, 4), Part(4, 4))
    with pytest.raises(ValueError, match="Part 2 of 2 is missing"):
        of(Part(1, 2))
    with pytest.raises(ValueError, match="f0 and f2 are both part 1/2: each"):
        of(Part(1, 2), Part(2, 2), Part(1, 2))
    with pytest.raises(ValueError, match="f0 is a part of 2 and f1 one of 3"):
        of(Part(1, 2), Part(2, 3))
    with pytest.raises(ValueError, match="f1 is no part of a sweep"):
        of(Part(1, 2), None)
